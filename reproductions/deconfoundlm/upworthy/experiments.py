"""What experiments add to the log on Upworthy, what the log is worth, and how wrong it is.

python experiments.py --smoke | --cpu  [--data FILE] [--out FOLDER] [--mpnet FOLDER]

Each encoder leaves one file; one that is there is not fitted again. Folds are of stories: tests
that share a headline. `--mpnet` names the folder of all-mpnet-base-v2; without one that is
installed, its lines are left out.
"""

import argparse
import json
import os
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

HERE = Path(__file__).parent
TESTS = Roles("headline", "clicks", trials="impressions", group="clickability_test_id")


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
        path = out / f"{unit['encoder']}-{unit['seed']}.json"
        if not path.exists():
            try:
                shown = _study(archive, unit, given.mpnet)
            except CausalignError as reason:
                if "mpnet" not in unit["encoder"]:
                    raise
                print(f"{unit['encoder']}: left out, since mpnet is not installed: {reason}")
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(shown, indent=1) + "\n", encoding="utf-8")
        label = unit["encoder"] + (", judged once more" if unit["seed"] else "")
        shown = json.loads(path.read_text(encoding="utf-8"))
        numbers |= {f"{label}: {line}": value for line, value in shown.items()}
    (out / "summary.json").write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    expected = json.loads((HERE / "expected.json").read_text(encoding="utf-8")).get(name, {})
    for line, value in numbers.items():
        known = expected.get(line)
        print(f"{line:72s} {value:9.4f}" + ("" if known is None else f"   expected {known:.4f}"))
    return numbers


def _study(archive: Archive, unit: dict, mpnet: str) -> dict[str, float]:
    """Return the AUC of every way of training, the worth and the bias, of one encoder."""
    numbered = archive.logs.data.append_column("row", [np.arange(len(archive.logs))])
    one_each = draw_one_per_group(Logs(numbered, archive.logs.roles), unit["seed"])
    rows = one_each.data["row"].to_numpy()
    log = archive.logs.take(rows, "one package of each test")
    encoder = load_encoder(unit["encoder"].replace("mpnet", mpnet), training_texts=log.texts)
    vectors = embed(archive.raw.completions, encoder, EmbeddingCache(), progress=True).vectors
    adjusted = Additive().fit(log, text_features=vectors[rows]).adjust(log)
    tests = Logs(archive.raw.data, TESTS)
    both = adjusted, vectors[rows], tests, vectors
    worth = worth_arrays(
        *both,
        naive=log,
        judges=archive.pairs,
        counts=unit["counts"],
        draws=unit["draws"],
        seed=unit["seed"],
    )
    found = {"pairs that judge": worth.pairs, "stories that judge": worth.stories}
    for line, curve in worth.auc.items():
        lower, upper = worth.interval(line)
        for place, count in enumerate(worth.counts):
            if line in ("tests", "both") or place == 0:
                name = f"AUC {line}" + (f", {_name(count, worth.counts)}" if place else "")
                found[name] = float(curve[place])
                found[f"{name}, lower"], found[f"{name}, upper"] = lower[place], upper[place]
    for line in ("log", "log as logged"):
        number = worth.in_tests(line)
        ends = {"": number.estimate, ", lower": number.lower, ", upper": number.upper}
        # No number of tests that was tried is enough: JSON knows no infinity.
        found |= {f"worth in tests, {line}{e}": min(v, 1e6) for e, v in ends.items()}
    study = align(*both, seed=unit["seed"])
    judging = choose_judges(study, tests, archive.pairs)
    found |= _significant_pairs(archive, vectors, judging)
    found["gap to oracle, log"] = _gap(study, adjusted, judging)
    bias = bias_arrays(*both, seed=unit["seed"])
    found |= {"bias: a": bias.bias.slope, "bias: omega": bias.omega}
    found["coverage, bias counted"] = bias.counting[-1].share
    found["coverage, bias counted, standard error"] = bias.counting[-1].standard_error
    found["coverage, bias ignored"] = bias.ignoring[-1].share
    return {name: round(float(value), 4) for name, value in found.items()}


def _name(count: int, counts: np.ndarray) -> str:
    return "all tests" if count == counts[-1] else f"{count} tests"


def _significant_pairs(archive: Archive, vectors: np.ndarray, judging: Judging) -> dict[str, float]:
    """Judge Bradley-Terry on significant pairs: what the paper calls experimental."""
    chosen, rejected = (vectors[side] for side in archive.pairs.rows.T)
    influence, estimate = np.zeros(len(judging.story)), 0.0
    for fold in np.unique(judging.fold):
        held = judging.fold == fold
        fit = Pairwise().fit_arrays(
            chosen[~held], rejected[~held], groups=archive.pairs.group[~held]
        )
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


if __name__ == "__main__":
    main()
