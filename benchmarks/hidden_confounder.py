"""A log with a hidden confounder beside few and many tests: is pooling as good as the better one?

python benchmarks/hidden_confounder.py [--draws 20]

Log-odds of 40 features; the log's slope is that of the truth plus ``bias`` times a confounder's of
equal size. Prints the correlation of rewards of new texts with their true effects (for the log,
the tests alone, both), what both lose against the better, and how often RM109 warns or fails.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from causalign.logs.arms import read_arms
from causalign.results import Verdict
from causalign.reward import Pooled, Ridge, WithinTests

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.reward.experiments import agreement_with_truth, simulate


def compare(seed: int, tests: int, bias: float) -> list[float]:
    """Return how well log, tests and both agree with the truth, and whether RM109 fires."""
    logs, of_log, experiments, of_tests, b = simulate(seed, tests, bias)
    log = Ridge().fit_arrays(of_log, logs.outcome)
    alone = WithinTests().fit_arms(read_arms(experiments, "this"), of_tests)
    both = Pooled().fit_both(logs, of_log, experiments, of_tests)
    agrees = next(f for f in both.findings if f.code == "RM109")
    heads = [agreement_with_truth(fit.head.coefficients, b) for fit in (log, alone, both)]
    return [*heads, float(agrees.verdict is not Verdict.PASS)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=20)
    draws = parser.parse_args().draws
    print("bias  tests    log  alone   both  both - better  found")
    for bias in (0.0, 0.25, 0.5, 1.0, 2.0):
        for tests in (5, 10, 25, 50, 100, 200, 400):
            mean = np.mean([compare(seed, tests, bias) for seed in range(draws)], axis=0)
            log, alone, both, found = mean
            print(
                f"{bias:4.2f}  {tests:5d}  {log:.3f}  {alone:.3f}  {both:.3f}"
                f"  {both - max(log, alone):+13.3f}  {found:5.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
