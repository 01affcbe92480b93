"""What experiments add to the log on Upworthy, what the log is worth, and how wrong it is.

python experiments.py --smoke | --cpu  [--data FILE] [--out FOLDER] [--mpnet FOLDER]

Each part of an encoder leaves one file; one that is there is not fitted again. Folds are of
stories: tests that share a headline. `--mpnet` names the folder of all-mpnet-base-v2; without one
that is installed, its lines are left out.
"""

import argparse
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import yaml
from study import Archive, read

from causalign import Logs, Roles
from causalign.deconfound import Additive
from causalign.errors import CausalignError
from causalign.evaluate import bias_arrays, worth_arrays
from causalign.evaluate.learning_curves import Judging, choose_judges
from causalign.evaluate.log_and_tests import LogAndTests, align
from causalign.lm import EmbeddingCache, embed, load_encoder
from causalign.logs.splits import draw_one_per_group
from causalign.reward import Pairwise
from causalign.stats.pair_metrics import auc_influence, clustered_metric, pair_auc

Part = Callable[["Prepared", dict], dict[str, float]]

HERE = Path(__file__).parent
TESTS = Roles("headline", "clicks", trials="impressions", group="clickability_test_id")


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """Hold the log as logged and deconfounded, the tests, and the vectors of both."""

    archive: Archive
    log: Logs
    adjusted: Logs
    of_log: np.ndarray
    tests: Logs
    vectors: np.ndarray

    @property
    def both(self) -> tuple[Logs, np.ndarray, Logs, np.ndarray]:
        """What `worth_arrays`, `bias_arrays` and `align` take first."""
        return self.adjusted, self.of_log, self.tests, self.vectors


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    modes = parser.add_mutually_exclusive_group(required=True)
    for mode in ("smoke", "cpu"):
        modes.add_argument(f"--{mode}", dest="mode", action="store_const", const=mode)
    parser.add_argument("--data", help="upworthy.parquet; default: in $CAUSALIGN_DATA")
    parser.add_argument("--out", type=Path, help="default: runs/upworthy-experiments-MODE")
    parser.add_argument("--mpnet", default="mpnet", help="folder of all-mpnet-base-v2")
    given = parser.parse_args(arguments)
    name = f"{given.mode} experiments"
    settings = yaml.safe_load((HERE / "config.yaml").read_text(encoding="utf-8"))[name]
    data = given.data or str(Path(os.environ["CAUSALIGN_DATA"]) / "upworthy.parquet")
    out = given.out or Path("runs") / f"upworthy-experiments-{given.mode}"
    archive = read(data, settings["tests"])
    numbers: dict[str, float] = {}
    for unit in settings["units"]:
        label = unit["encoder"] + (", judged once more" if unit["seed"] else "")
        try:
            for name_of_part, part in PARTS.items():
                path = out / f"{unit['encoder']}-{unit['seed']}-{name_of_part}.json"
                shown = _measure(path, part, archive, unit, given.mpnet)
                numbers |= {f"{label}: {line}": value for line, value in shown.items()}
        except CausalignError as reason:
            if "mpnet" not in unit["encoder"]:
                raise
            print(f"{unit['encoder']}: left out, since mpnet is not installed: {reason}")
    (out / "summary.json").write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    expected = json.loads((HERE / "expected.json").read_text(encoding="utf-8")).get(name, {})
    for line, value in numbers.items():
        known = expected.get(line)
        print(f"{line:72s} {value:9.4f}" + ("" if known is None else f"   expected {known:.4f}"))
    return numbers


def _measure(path: Path, part: Part, archive: Archive, unit: dict, mpnet: str) -> dict[str, float]:
    """Return what a part of a unit found, now or in an earlier run."""
    if not path.exists():
        found = part(_prepare(archive, unit["encoder"].replace("mpnet", mpnet), unit["seed"]), unit)
        rounded = {name: round(float(value), 4) for name, value in found.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))


@lru_cache(maxsize=1)
def _prepare(archive: Archive, encoder: str, seed: int) -> Prepared:
    """Draw one package of each test as the log, and deconfound it by week."""
    numbered = archive.logs.data.append_column("row", [np.arange(len(archive.logs))])
    one_each = draw_one_per_group(Logs(numbered, archive.logs.roles), seed)
    rows = one_each.data["row"].to_numpy()
    log = archive.logs.take(rows, "one package of each test")
    loaded = load_encoder(encoder, training_texts=log.texts)
    vectors = embed(archive.raw.completions, loaded, EmbeddingCache(), progress=True).vectors
    adjusted = Additive().fit(log, text_features=vectors[rows]).adjust(log)
    tests = Logs(archive.raw.data, TESTS)
    return Prepared(archive, log, adjusted, vectors[rows], tests, vectors)


def curve(given: Prepared, unit: dict) -> dict[str, float]:
    """Measure log, tests and both by the number of tests, and the worth of the log."""
    worth = worth_arrays(
        *given.both,
        naive=given.log,
        judges=given.archive.pairs,
        counts=unit["counts"],
        draws=unit["draws"],
        seed=unit["seed"],
    )
    found = {"pairs that judge": worth.pairs, "stories that judge": worth.stories}
    for line, auc in worth.auc.items():
        lower, upper = worth.interval(line)
        places = range(1, len(worth.counts)) if line in ("tests", "both") else [0]
        for place in places:
            name = f"AUC {line}"
            if place:
                every = place == len(worth.counts) - 1
                name += ", all tests" if every else f", {worth.counts[place]} tests"
            found |= {name: auc[place], f"{name}, lower": lower[place]}
            found[f"{name}, upper"] = upper[place]
    for line in ("log", "log as logged"):
        number = worth.in_tests(line)
        ends = {"": number.estimate, ", lower": number.lower, ", upper": number.upper}
        # No number of tests that was tried is enough: JSON knows no infinity.
        found |= {f"worth in tests, {line}{end}": min(v, 1e6) for end, v in ends.items()}
    return found


def bias(given: Prepared, unit: dict) -> dict[str, float]:
    """Measure the bias of the log, the coverage of intervals, and what its λ loses."""
    result = bias_arrays(*given.both, seed=unit["seed"])
    study = align(*given.both, seed=unit["seed"])
    judging = choose_judges(study, given.tests, given.archive.pairs)
    counting, ignoring = result.counting[-1], result.ignoring[-1]
    return {
        "gap to oracle, log": _gap(study, given.adjusted, judging),
        "bias: a": result.bias.slope,
        "bias: omega": result.omega,
        "coverage, bias counted": counting.share,
        "coverage, bias counted, standard error": counting.standard_error,
        "coverage, bias ignored": ignoring.share,
    }


def significant_pairs(given: Prepared, unit: dict) -> dict[str, float]:
    """Judge Bradley-Terry on significant pairs: what the paper calls experimental."""
    study = align(*given.both, seed=unit["seed"])
    pairs = given.archive.pairs
    judging = choose_judges(study, given.tests, pairs)
    chosen, rejected = (given.vectors[side] for side in pairs.rows.T)
    influence, estimate = np.zeros(len(judging.story)), 0.0
    for fold in np.unique(judging.fold):
        held = judging.fold == fold
        fit = Pairwise().fit_arrays(chosen[~held], rejected[~held], groups=pairs.group[~held])
        auc, influence[held] = auc_influence(judging.sides[held] @ fit.head.coefficients)
        estimate += held.mean() * auc
    metric = clustered_metric("AUC", estimate, influence, judging.story, 0.95, 0.0)
    name = "AUC significant pairs, all tests"
    return {name: estimate, f"{name}, lower": metric.lower, f"{name}, upper": metric.upper}


def _gap(study: LogAndTests, log: Logs, judging: Judging) -> float:
    """Return by how much the best λ ranks better than that of the log, on the mean of folds."""
    gaps = []
    shown = study.shared.folds(study.arms, study.fold)
    for fold in study.folds:
        held, weighed = judging.fold == fold, study.weigh(log.outcome, shown != fold)
        gram, cross = weighed.deviations.products()
        spectrum, U = np.linalg.eigh(gram)
        path = weighed.penalty * np.geomspace(1e-2, 1e2, 33)  # the 17th is that of the log
        fits = U @ ((U.T @ cross)[:, None] / (np.clip(spectrum, 0, None)[:, None] + path))
        auc = [pair_auc(score).estimate for score in (judging.sides[held] @ fits).T]
        gaps.append(max(auc) - auc[16])
    return float(np.mean(gaps))


PARTS: dict[str, Part] = {"bias": bias, "curve": curve, "pairs": significant_pairs}

if __name__ == "__main__":
    main()
