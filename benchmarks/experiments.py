"""What experiments add to a log on Upworthy: AUC on pairs of tests that no fit had seen.

python benchmarks/experiments.py [--encoder minilm+style] [--folds 5]

Five folds of stories (tests that share a headline are one story). For each: the log of one package
of every other test, as logged and deconfounded by week; significant pairs of the other tests; all
their arms, within tests; and the log with few or many of the tests.
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np

from causalign import Logs, Roles
from causalign.deconfound import Additive
from causalign.lm import EmbeddingCache, embed, load_encoder
from causalign.logs.arms import read_arms
from causalign.reward import Pairwise, Pooled, Ridge, WithinTests
from causalign.stats.pair_metrics import pair_auc

sys.path.insert(0, str(Path(__file__).parents[1] / "reproductions/deconfoundlm/upworthy"))
from study import Archive, read, split

TESTS = Roles("headline", "clicks", trials="impressions", group="clickability_test_id")
FEW = (25, 100, 400, 1600)


def judge(archive: Archive, fold: int, encoder: str) -> dict[str, float]:
    """Return the AUC of each reward on the pairs of one fold of stories."""
    held, texts = archive.fold == fold, archive.raw.completions
    taught = [text for text, away in zip(texts, held, strict=True) if not away]
    vectors = embed(texts, load_encoder(encoder, training_texts=taught), EmbeddingCache()).vectors
    one = split(archive, fold, 0)
    sides = (vectors[one.judge.rows[:, 0]] - vectors[one.judge.rows[:, 1]]).astype(float)
    logs, of_log = archive.logs.take(one.log, "one package of each test"), vectors[one.log]
    adjusted = Additive().fit(logs, text_features=of_log).adjust(logs)
    as_logs = {"groups": logs.codes_of("headline"), "weights": logs.weights}
    tests, of_tests = Logs(archive.raw.data.filter(~held), TESTS), vectors[~held]
    chosen, rejected = (vectors[side] for side in one.teach.rows.T)
    fits = {
        "log": Ridge().fit_arrays(of_log, logs.outcome, **as_logs),
        "deconfounded log": Ridge().fit_arrays(of_log, adjusted.outcome, **as_logs),
        "significant pairs": Pairwise().fit_arrays(chosen, rejected, groups=one.teach.group),
        "within tests": WithinTests().fit_arms(read_arms(tests, "this"), of_tests),
    }
    drawn = np.random.default_rng(0).permutation(np.unique(tests.groups))
    for count in FEW:
        rows = np.isin(tests.groups, drawn[:count])
        some, of_some = tests.take(rows, f"{count} tests"), of_tests[rows]
        fits[f"{count} tests"] = WithinTests().fit_arms(read_arms(some, "this"), of_some)
        fits[f"log and {count} tests"] = Pooled().fit_both(adjusted, of_log, some, of_some)
    return {name: pair_auc(sides @ f.head.coefficients).estimate for name, f in fits.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", default="minilm+style")
    parser.add_argument("--folds", type=int, default=5)
    given = parser.parse_args()
    archive = read(str(Path(os.environ["CAUSALIGN_DATA"]) / "upworthy.parquet"), None)
    found = [judge(archive, fold, given.encoder) for fold in range(given.folds)]
    print(f"{given.encoder}, {given.folds} folds of stories: mean AUC and its range")
    for name in found[0]:
        values = [one[name] for one in found]
        print(f"{name:24s} {np.mean(values):.3f}  ({min(values):.3f} to {max(values):.3f})")


if __name__ == "__main__":
    main()
