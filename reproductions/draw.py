"""Draw what ``expected.json`` of each reproduction holds, as the papers draw theirs.

python reproductions/draw.py     # writes figure.svg beside each expected.json
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from causalign import figures

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent / "scripts"))

from tutorial_figures import on_white  # noqa: E402

Found = dict[str, Any]


def hh_rlhf(found: Found) -> figures.Figure:
    """Draw accuracy on inconsistent pairs against rho (figure 6 of arXiv 2506.05967)."""
    table = found["cpu"]["minilm"]
    series, bands = {}, {}
    for model in ("base", "multihead", "adversarial"):
        cells = [table[rho]["inconsistent"][model] for rho in table]
        series[model], bands[model] = _line(cells)
    return figures.curve(
        "hh_rlhf",
        [float(rho) for rho in table],
        series,
        bands=bands,
        xlabel="ρ, share of consistent prompts",
        ylabel="accuracy on inconsistent pairs, %",
        caption="",
        alt="Accuracy on inconsistent pairs falls with rho; Multihead lies above Base.",
    ).figure()


def latent_positivity(found: Found) -> figures.Figure:
    """Draw what is lost out of distribution against rho (table 1 of arXiv 2506.05967)."""
    table = found["cpu"]["minilm"]["by rho"]
    lost, band = _line([cell["loss"] for cell in table.values()])
    published = [cell["ID"] - cell["OOD"] for cell in found["published"].values()]
    return figures.curve(
        "latent_positivity",
        [float(rho) for rho in table],
        {"here": lost, "published": published},
        bands={"here": band},
        xlabel="ρ, correlation of the two factors",
        ylabel="points of accuracy lost out of distribution",
        caption="",
        alt="More is lost out of distribution as the factors correlate, here and as published.",
    ).figure()


def exact_sums(found: Found) -> figures.Figure:
    """Draw what each method gains against the strength of the confounding (arXiv 2402.14979)."""
    table = found["cpu"]["simulated outcomes"]
    series, bands = {}, {}
    for method in ("fine-tuning", "OO-RLHF", "CPO", "DR-CPO"):
        series[method], bands[method] = _line([row[method] for row in table.values()])
    return figures.curve(
        "exact_sums",
        [float(strength) for strength in table],
        series,
        bands=bands,
        xlabel="β, strength of the confounder in the outcome model",
        ylabel="points above P_R",
        caption="",
        alt="Below beta 0 the outcome model alone falls under P_R; DR-CPO stays above it.",
    ).figure()


def upworthy(found: Found) -> figures.Figure:
    """Draw the AUC of each encoder (figure 3b of arXiv 2506.00152)."""
    table = found["cpu"]
    encoders = ("tfidf", "minilm", "smollm2-last", "smollm2-mean")
    lines = {
        "naive": "naive, validation error",
        "deconfounded": "deconfounded, our criterion",
        "experimental": "experimental",
    }
    return figures.bars(
        "upworthy",
        encoders,
        {name: [table[f"{e}: AUC {line}"] for e in encoders] for name, line in lines.items()},
        errors={
            name: [1.96 * table[f"{e}: AUC {line}, standard error"] for e in encoders]
            for name, line in lines.items()
        },
        xlabel="AUC on held-out pairs, with 95 % intervals",
        caption="",
        alt="For each encoder: naive lowest, deconfounded near experimental.",
    ).figure()


def upworthy_experiments(found: Found) -> figures.Figure:
    """Draw AUC by number of tests of log, tests and both."""
    table, encoder = found["cpu experiments"], "minilm+style: AUC"
    counts = (25, 50, 100, 200, 400, 800, 1600)

    def line(name: str) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
        keys = [f"{encoder} {name}, {count} tests" for count in counts]
        if name.startswith("log"):
            keys = [f"{encoder} {name}"] * len(counts)
        middle, low, high = (
            np.array([table[key + end] for key in keys]) for end in ("", ", lower", ", upper")
        )
        return middle, (low, high)

    names = ("tests", "both", "log", "log as logged")
    return figures.curve(
        "upworthy-experiments",
        counts,
        {name: line(name)[0] for name in names},
        bands={name: line(name)[1] for name in names},
        xlabel="number of tests learned from",
        ylabel="AUC on pairs of unseen tests",
        caption="",
        alt="Tests alone reach the log at some 750 tests; both follow the better of the two.",
        log_x=True,
    ).figure()


def mind(found: Found) -> figures.Figure:
    """Draw how each reward follows the sentiment of unseen titles (table 2 of arXiv 2506.00152)."""
    tables = {name: table["valid"] for name, table in found["cpu"]["minilm"].items()}
    models = tuple(tables["entangled"])
    return figures.bars(
        "mind",
        models,
        {name: [table[model]["mean"] for model in models] for name, table in tables.items()},
        errors={
            name: [1.96 * table[model]["error"] for model in models]
            for name, table in tables.items()
        },
        xlabel="correlation with the sentiment, unseen titles",
        caption="",
        alt="Entangled: observed, in text, in layer and ODIN lose the sentiment; IV keeps it.",
    ).figure()


def monday(found: Found) -> figures.Figure:
    """Draw by how much each policy opens with the marker more often than SFT."""
    arms = ("naive DPO", "DPO, weekday taken out", "DPO, as the audit advises")
    tables = {"small policy": found["cpu"], "SmolLM2": found["smollm2"]}
    excess = {
        f"{label}: {arm}": table[arm]["opens with it, exact"]["excess over SFT"]
        for label, table in tables.items()
        for arm in arms
    }
    return figures.forest(
        "monday",
        tuple(excess),
        [cell["mean"] for cell in excess.values()],
        [cell["low"] for cell in excess.values()],
        [cell["high"] for cell in excess.values()],
        xlabel="points of answers with the marker, above SFT",
        caption="",
        alt="Naive DPO opens more answers with the marker than SFT; deconfounded DPO does not.",
    ).figure()


DRAWN: dict[str, Callable[[Found], figures.Figure]] = {
    "causal_preference/hh_rlhf": hh_rlhf,
    "causal_preference/latent_positivity": latent_positivity,
    "cpo/hate_speech": exact_sums,
    "cpo/hongkong": exact_sums,
    "deconfoundlm/mind": mind,
    "deconfoundlm/monday": monday,
    "deconfoundlm/upworthy": upworthy,
}
MORE = {"deconfoundlm/upworthy/experiments.svg": upworthy_experiments}


def _line(cells: list[dict[str, float]]) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Return means and their 95 % intervals over seeds."""
    mean, error = (np.array([cell[name] for cell in cells]) for name in ("mean", "error"))
    return mean, (mean - 1.96 * error, mean + 1.96 * error)


def main() -> None:
    """Draw every reproduction that has figures."""
    for name, draw in DRAWN.items():
        found = json.loads((FOLDER / name / "expected.json").read_text(encoding="utf-8"))
        (FOLDER / name / "figure.svg").write_text(on_white(draw(found).svg), encoding="utf-8")
        print(FOLDER / name / "figure.svg")
    for place, draw in MORE.items():
        path = FOLDER / place
        found = json.loads((path.parent / "expected.json").read_text(encoding="utf-8"))
        path.write_text(on_white(draw(found).svg), encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
