"""From splits to the numbers, tables and figures of the reproduction."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from criteria import CRITERIA

from causalign import figures
from causalign.stats.pair_metrics import pair_auc, paired_difference

LINES = ("naive", "deconfounded")
BENCHMARKS = ("experimental", "experimental, as many packages", "deconfounded, every package")
PAPER = "error"  # how the paper picks the penalty


def summarise(units: list[dict], penalties: np.ndarray, out: Path) -> dict:
    """Return numbers by name; write them, tables and figures into ``out``."""
    encoders = list(dict.fromkeys(unit["encoder"] for unit in units))
    gaps = {line: _gaps(units, line) for line in LINES}
    winner = {line: _chosen(gaps[line], units) for line in LINES}
    numbers: dict[str, float] = {}
    for encoder in encoders:
        some = [unit for unit in units if unit["encoder"] == encoder]
        numbers |= {f"{encoder}: {name}": v for name, v in _lines(some, winner).items()}
    for line in LINES:
        for criterion in CRITERIA:
            numbers[f"gap to oracle, {line}: {criterion}"] = float(gaps[line][criterion].mean())
        if len(gaps[line][PAPER]) > 1:
            numbers[f"gap to oracle, {line}: chosen on other tests"] = _crossed(gaps[line], units)
    found = {"numbers": numbers, "criteria": winner}
    out.mkdir(parents=True, exist_ok=True)
    (out / "summary.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    for figure in _figures(units, encoders, penalties):
        (out / f"{figure.name}.svg").write_text(figure.svg, encoding="utf-8")
    return found


def _lines(units: list[dict], winner: dict[str, dict[int, str]]) -> dict[str, float]:
    """Return the AUC of each way of training and the differences that matter."""
    found: dict[str, float] = {}
    picks: dict[str, Callable[[dict, int], np.ndarray]] = {}
    for line in LINES:
        for name, criterion in _ways(units, winner[line]):
            picks[f"{line}, {name}"] = _picked(line, criterion)
        picks[f"{line}, oracle"] = _oracle(line)
    for name in BENCHMARKS:
        picks[name] = lambda unit, _, name=name: unit["scores"][name]
    for name, scores in picks.items():
        found[f"AUC {name}"], found[f"AUC {name}, standard error"] = _mean(
            units, lambda u, d, s=scores: pair_auc(s(u, d), clusters=u["scores"]["clusters"])
        )
    best = picks["deconfounded, our criterion"]
    for other in ("naive, validation error", *BENCHMARKS):
        label = f"deconfounded, our criterion - {other}"
        found[label], found[f"{label}, standard error"] = _mean(
            units,
            lambda u, d, o=picks[other]: paired_difference(
                best(u, d), o(u, d), clusters=u["scores"]["clusters"]
            ),
        )
    for line in LINES:
        for name, criterion in _ways(units, winner[line]):
            found[f"monthly correlation {line}, {name}"] = _average(units, line, "month", criterion)
        oracle = [fit["month"][int(np.argmax(fit["auc"]))] for fit in _fits(units, line)]
        found[f"monthly correlation {line}, oracle"] = float(np.mean(oracle))
    return found


Ways = tuple[tuple[str, dict[int, str]], ...]


def _ways(units: list[dict], chosen: dict[int, str]) -> Ways:
    """Return the criterion of each fold: the paper's, and the one chosen on the other folds."""
    return ("validation error", {u["judge"]: PAPER for u in units}), ("our criterion", chosen)


def _picked(line: str, criterion: dict[int, str]) -> Callable[[dict, int], np.ndarray]:
    return lambda unit, draw: unit["scores"][f"{line} {draw}"][
        :, unit["draws"][draw][line]["picks"][criterion[unit["judge"]]]
    ]


def _oracle(line: str) -> Callable[[dict, int], np.ndarray]:
    return lambda unit, draw: unit["scores"][f"{line} {draw}"][
        :, int(np.argmax(unit["draws"][draw][line]["auc"]))
    ]


def _mean(units: list[dict], measure: Callable) -> tuple[float, float]:
    """Average a metric over draws and folds; folds judge different tests, draws the same ones."""
    cells = [[measure(unit, d) for d in range(len(unit["draws"]))] for unit in units]
    estimate = np.mean([np.mean([m.estimate for m in cell]) for cell in cells])
    error = [np.mean([m.standard_error for m in cell]) for cell in cells]
    return float(estimate), float(np.sqrt(np.sum(np.square(error))) / len(cells))


def _fits(units: Iterable[dict], line: str) -> list[dict]:
    return [fits[line] for unit in units for fits in unit["draws"]]


def _average(units: list[dict], line: str, what: str, criterion: dict[int, str]) -> float:
    found = [
        fits[line][what][fits[line]["picks"][criterion[unit["judge"]]]]
        for unit in units
        for fits in unit["draws"]
    ]
    return float(np.mean(found))


def _gaps(units: list[dict], line: str) -> dict[str, np.ndarray]:
    """Return, for each criterion and unit, the oracle's AUC less that of its choice."""
    return {
        criterion: np.array(
            [
                np.mean(
                    [max(f["auc"]) - f["auc"][f["picks"][criterion]] for f in _fits([unit], line)]
                )
                for unit in units
            ]
        )
        for criterion in CRITERIA
    }


def _chosen(gaps: dict[str, np.ndarray], units: list[dict]) -> dict[int, str]:
    """Return, for each fold of tests, the criterion with the least mean gap on the other folds."""
    fold = np.array([unit["judge"] for unit in units])
    folds = np.unique(fold)
    if len(folds) < 2:
        return {int(folds[0]): PAPER}
    return {
        int(f): min(gaps, key=lambda criterion, f=f: float(gaps[criterion][fold != f].mean()))
        for f in folds
    }


def _crossed(gaps: dict[str, np.ndarray], units: list[dict]) -> float:
    """Return the mean gap on each fold of the criterion that was chosen on the others."""
    chosen = _chosen(gaps, units)
    return float(np.mean([gaps[chosen[u["judge"]]][i] for i, u in enumerate(units)]))


def _figures(units: list[dict], encoders: list[str], penalties: np.ndarray) -> list:
    drawn = []
    parts = {
        "auc": ("ROC AUC on judging pairs", "figure-4c"),
        "cv_error": ("squared error in unseen rows", "figure-4b"),
        "train_error": ("squared error in training rows", "figure-4a"),
        "month": ("correlation with the month's mean outcome", "figure-4d"),
    }
    for line in LINES:
        for what, (label, name) in parts.items():
            series = {
                encoder: np.mean([f[what] for f in _fits(_of(units, encoder), line)], axis=0)
                for encoder in encoders
            }
            drawn.append(
                figures.curve(
                    f"{name}-{line}",
                    penalties,
                    series,
                    xlabel="penalty λ",
                    ylabel=label,
                    caption=f"{label} along the path of penalties, {line} outcome.",
                    alt="; ".join(
                        f"{e}: from {v[0]:.3f} to {v[-1]:.3f}" for e, v in series.items()
                    ),
                    log_x=True,
                ).figure()
            )
    return drawn


def _of(units: list[dict], encoder: str) -> list[dict]:
    return [unit for unit in units if unit["encoder"] == encoder]
