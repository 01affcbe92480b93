"""Tell the curves of benchmarks/policy_curves.py as one picture and two tables on a page."""

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
from policy import PARTS

from causalign.results import file_stem

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
START, END = "<!-- measured -->", "<!-- end -->"
# name: what is measured, whether more is better, column of the curve
SHOWN = {
    "SFT": ("token loss", False, "token_loss"),
    "SFT, weighted": ("weighted token loss", False, "loss"),
    "DPO": ("DPO loss", False, "loss"),
    "DPO, doubly robust": ("doubly robust DPO loss", False, "loss"),
    "CausalPreference, weighted": ("weighted outcome", True, "value"),
    "CausalPreference, outcome model": ("predicted outcome", True, "value"),
    "CausalPreference, doubly robust": ("doubly robust outcome", True, "value"),
    "PPO": ("reward", True, "reward"),
    "GRPO": ("reward", True, "reward"),
    "RLOO": ("reward", True, "reward"),
}


def picture(name: str, result: dict[str, Any], runs: Path) -> str:
    """Draw the curve of training, and the objective on the judging texts at its two ends."""
    from causalign import figures
    from causalign.policy import PolicyFit

    what, _, column = SHOWN[name]
    curve = PolicyFit.load(runs / file_stem(name) / "run").curve
    steps = np.arange(curve.num_rows + 1)
    share = steps / steps[-1]
    line, low, high = (
        (1 - share) * (result["before"] + sign * 1.96 * result["before_error"])
        + share * (result["after"] + sign * 1.96 * result["after_error"])
        for sign in (0, -1, 1)
    )
    batches = np.concatenate([[np.nan], curve[column].to_numpy()])
    return (
        figures.curve(
            file_stem(name),
            steps,
            {"while training": batches, "judged, before to after": line},
            bands={"judged, before to after": (low, high)},
            xlabel="step",
            ylabel=what,
            caption=name,
            alt=name,
        )
        .figure()
        .svg
    )


def grid(results: dict[str, Any], runs: Path) -> str:
    """Lay the curves of all methods side by side in one picture."""
    from tutorial_figures import on_white

    wide, high, head, drawn = 400.0, 250.0, 20.0, []
    for place, (name, result) in enumerate(results.items()):
        svg = picture(name, result, runs).strip()
        svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
        svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
        x, y = place % 2 * wide, place // 2 * high
        at = f'<svg x="{x:g}" y="{y + head:g}" width="{wide - 20:g}" height="{high - head - 15:g}" '
        drawn.append(f'<text x="{x + 8:g}" y="{y + 12:g}" font-weight="bold">{name}</text>')
        drawn.append(svg.replace("<svg ", at, 1))
    height = high * -(-len(results) // 2)
    style = 'font-family="system-ui, sans-serif" font-size="12" fill="currentColor"'
    size = f'viewBox="0 0 {2 * wide:g} {height:g}" width="{2 * wide:g}" height="{height:g}"'
    return on_white(f"<svg {size} {style}>{''.join(drawn)}</svg>")


def quarters(name: str, runs: Path) -> str:
    """Tell the mean of the training curve over its first and over its last quarter."""
    from causalign.policy import PolicyFit

    curve = PolicyFit.load(runs / file_stem(name) / "run").curve[SHOWN[name][2]].to_numpy()
    part = max(1, len(curve) // 4)
    return f"{np.nanmean(curve[:part]):.3f} to {np.nanmean(curve[-part:]):.3f}"


def tables(results: dict[str, Any]) -> list[str]:
    lines = [
        "| method | steps | objective | while training, first to last quarter "
        "| before | after | difference | right way | nats gained by better texts | minutes |",
        "|" + " --- |" * 10,
    ]
    for name, r in results.items():
        what, more, _ = SHOWN[name]
        ratio = (r["difference"] if more else -r["difference"]) / r["error"]
        verdict = "yes" if ratio > 1.96 else "no" if ratio < -1.96 else "not told from 0"
        steps = r["numbers"]["steps"]
        lines.append(
            f"| {name} | {steps:.0f} | {what} | {r['training']} "
            f"| {r['before']:.3f} | {r['after']:.3f} | "
            f"{r['difference']:+.3f} ± {r['error']:.3f} | {verdict} "
            f"| {r['gain']} | {r['seconds'] / 60:.1f} |"
        )
    lines += [
        "",
        f"| method | {' | '.join(PARTS)} | seconds a step |",
        "| --- |" + " --- |" * (len(PARTS) + 1),
    ]
    for name, r in results.items():
        cells = " | ".join(f"{r['parts'][part]:.2f}" for part in PARTS)
        lines.append(f"| {name} | {cells} | {sum(r['parts'].values()):.2f} |")
    return lines


def write_page(page: Path, results: dict[str, Any], runs: Path) -> None:
    """Put the tables between the marks of the page, and the picture beside it."""
    page.with_suffix(".svg").write_text(grid(results, runs), encoding="utf-8")
    head, rest = page.read_text(encoding="utf-8").split(START)
    body = "\n".join([START, *tables(results), END])
    page.write_text(head + body + rest.split(END)[1], encoding="utf-8")
