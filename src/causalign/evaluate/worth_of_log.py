"""What is a log worth? How well log, tests and both rank unseen tests, by the number of tests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from causalign import figures
from causalign.errors import InputError
from causalign.evaluate.learning_curves import BOTH, COUNTS, LOG, TESTS, choose_judges, draw_curves
from causalign.evaluate.log_and_tests import LogAndTests, align, read_log_and_tests
from causalign.evaluate.measure import Measure
from causalign.lm.encoder import Encoder
from causalign.logs import Logs, Pairs
from causalign.results import Finding, Section, Verdict

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

NAIVE = "log as logged"
# Fewer stories judge nothing: an interval from so few clusters is not to be believed.
FEW_STORIES = 20


@dataclass(frozen=True, slots=True)
class InTests:
    """The number of tests that alone rank as well as a log, with a 95 % interval.

    0 where fewer than the smallest number tried do, infinite where all are not enough.
    """

    estimate: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Worth(Measure):
    """How well log, tests and both rank tests that no fit had seen, by the number of tests.

    Attributes
    ----------
    counts : (K,) integers
        Numbers of tests, the last all that there are to learn from in a fold.
    auc : mapping of str to (K,) floats
        By what was learned from: ``log``, ``tests``, ``both``, and ``log as logged`` if given.
    resampled : mapping of str to (B, K) floats
        The same where stories that judge, and draws of tests, were drawn anew.
    pairs, stories : int
        What judged.
    """

    question: ClassVar[str] = "What is the log worth, in tests?"
    assumption: ClassVar[str] = (
        "Texts were randomised within their test. Tests that share a text are one story; a fit is "
        "judged on stories of which neither it nor its rows of the log showed a text."
    )

    counts: Codes
    auc: Mapping[str, Floats]
    resampled: Mapping[str, Floats]
    pairs: int
    stories: int

    def interval(self, line: str) -> tuple[Floats, Floats]:
        """Return the ends ``(K,)`` of the 95 % intervals of a line."""
        lower, upper = np.quantile(self.resampled[line], (0.025, 0.975), axis=0)
        return lower, upper

    def difference(self, line: str, other: str) -> tuple[Floats, Floats, Floats]:
        """Return AUC of one line minus another ``(K,)``, and the ends of its 95 % intervals.

        Parameters
        ----------
        line, other : str
            Names of lines in ``auc``.
        """
        apart = self.resampled[line] - self.resampled[other]
        lower, upper = np.quantile(apart, (0.025, 0.975), axis=0)
        return self.auc[line] - self.auc[other], lower, upper

    def in_tests(self, line: str = LOG) -> InTests:
        """Return the number of tests that alone rank as well as a log.

        The curve of the tests is made to rise (isotonic regression) and read between its points
        along the logarithm of their number; the interval does so in each resample.

        Parameters
        ----------
        line : {"log", "log as logged"}
        """
        tried = self.counts > 0
        number, curve = self.counts[tried], self.auc[TESTS][tried]
        drawn = self.resampled[TESTS][:, tried]
        levels = self.resampled[line][:, 0]
        each = [_cross(number, one, level) for one, level in zip(drawn, levels, strict=True)]
        # Infinite values are values: the next lower and higher one, without interpolation.
        lower = float(np.quantile(each, 0.025, method="lower"))
        upper = float(np.quantile(each, 0.975, method="higher"))
        return InTests(_cross(number, curve, float(self.auc[line][0])), lower, upper)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """EV401: does the log rank unseen tests better than chance?"""
        return (self._finding(),)

    def _finding(self) -> Finding:
        title = "The log ranks unseen tests"
        estimate = float(self.auc[LOG][0])
        lower, upper = (float(end[0]) for end in self.interval(LOG))
        numbers = {"auc": estimate, "lower": lower, "upper": upper, "stories": float(self.stories)}
        shown = f"AUC {estimate:.3f}, 95 % interval {lower:.3f} to {upper:.3f}"
        verdict, words = Verdict.PASS, f"The log ranks unseen tests better than chance: {shown}."
        if self.stories < FEW_STORIES:
            verdict = Verdict.WARN
            words = (
                f"Only {self.stories} stories judge ({shown}); intervals from fewer than "
                f"{FEW_STORIES} are too narrow. Give more tests."
            )
        elif upper < 0.5:
            verdict = Verdict.FAIL
            words = (
                f"The log ranks unseen tests upside down: {shown}. Look for a confounder that was "
                "not declared."
            )
        elif lower <= 0.5:
            verdict = Verdict.WARN
            words = f"The log does not rank unseen tests better than chance for sure: {shown}."
        return Finding("EV401", title, verdict, words, numbers)

    def answer(self) -> str:
        """Return what the log is worth in tests, and what tests add to it."""
        last = {name: float(values[-1]) for name, values in self.auc.items()}
        words = (
            f"The log ranks unseen tests with AUC {self.auc[LOG][0]:.3f}. It is worth "
            f"{self.describe(LOG)}: so many alone rank as well."
        )
        if NAIVE in self.auc:
            words += (
                f" As logged, before deconfounding, it ranks with {self.auc[NAIVE][0]:.3f} and is "
                f"worth {self.describe(NAIVE)}."
            )
        return (
            f"{words} All {int(self.counts[-1]):,} tests have {last[TESTS]:.3f}, log and tests "
            f"together {last[BOTH]:.3f}."
        )

    def describe(self, line: str) -> str:
        """Return in words how many tests equal a log."""
        worth, smallest, largest = self.in_tests(line), self.counts[1], self.counts[-1]

        def name(value: float) -> str:
            if value == 0:
                return f"fewer than {smallest:,}"
            return f"more than all {largest:,}" if np.isinf(value) else f"{_round(value):,}"

        if worth.lower == worth.upper:
            return f"{name(worth.estimate)} tests (and so is all of the 95 % interval)"
        ends = f"{name(worth.lower)} to {name(worth.upper)}"
        return f"{name(worth.estimate)} tests (95 % interval {ends})"

    def table(self) -> pa.Table:
        """Return one row for each log, and for each number of tests alone and beside the log."""
        rows = []
        for line, values in self.auc.items():
            lower, upper = self.interval(line)
            places = range(1, len(self.counts)) if line in (TESTS, BOTH) else [0]
            rows += [
                {
                    "learned from": line,
                    "tests": int(self.counts[place]),
                    "AUC": float(values[place]),
                    "lower": float(lower[place]),
                    "upper": float(upper[place]),
                }
                for place in places
            ]
        return pa.Table.from_pylist(rows)

    def drawing(self) -> figures.Drawing:
        """Return AUC against the number of tests, with intervals."""
        known = [name for name in (TESTS, BOTH, LOG, NAIVE) if name in self.auc]
        return figures.curve(
            "worth-of-the-log",
            np.maximum(self.counts, self.counts[self.counts > 0][0] / 2),
            {name: self.auc[name] for name in known},
            bands={name: self.interval(name) for name in known},
            xlabel="number of tests (none at the left edge)",
            ylabel="AUC on unseen tests",
            caption="How well unseen tests are ranked, by the number of tests learned from, with "
            "95 % intervals.",
            alt="; ".join(f"{n}: {self.auc[n][0]:.3f} to {self.auc[n][-1]:.3f}" for n in known),
            log_x=True,
        )

    def section(self) -> Section:
        """Return the worth as a section of a report, with its figures under stable names."""
        numbers: dict[str, float | str | None] = {
            "AUC of the log": float(self.auc[LOG][0]),
            f"AUC of {self.counts[-1]} tests": float(self.auc[TESTS][-1]),
            f"AUC of log and {self.counts[-1]} tests": float(self.auc[BOTH][-1]),
            "pairs that judge": float(self.pairs),
        }
        for line in (name for name in (LOG, NAIVE) if name in self.auc):
            numbers[f"worth in tests, {line}"] = self.describe(line)
        return replace(Measure.section(self), numbers=numbers)


def worth(
    log: Logs,
    experiments: Logs,
    encoder: str | Encoder | None = None,
    *,
    naive: Logs | None = None,
    judges: Pairs | None = None,
    draws: int = 2,
    seed: int = 0,
    progress: bool = False,
) -> Worth:
    """Compare what can be learned from a log, from k tests, and from both, for growing k.

    Five folds of stories judge in turn. The log is fitted by ridge regression, k tests that were
    drawn at random by ridge within tests, and both as `causalign.reward.Pooled` does. What ranks
    are score differences of texts whose outcomes differ significantly within a test.

    Parameters
    ----------
    log : Logs
        Deconfounded, on the log-odds scale where the experiments declare trials.
    experiments : Logs
        Texts that were randomised within their role ``group``.
    encoder : str or Encoder, optional
        "minilm" unless given; what it learns, it learns from the texts of the log.
    naive : Logs, optional
        The same rows with the outcome as logged.
    judges : Pairs, optional
        Pairs of rows of the experiments, instead of all arms of a test whose outcomes differ at
        5 % (all that differ, where an arm has no variance of its own).
    draws : int
        Of tests, for each number and fold.
    seed : int
        Of folds, draws and resamples.
    progress : bool
        Show a bar while texts are encoded.

    Raises
    ------
    RoleNotDeclared
        If the experiments declare no group.
    InputError
        If there are too few tests or rows, no pair judges, or log and naive log differ in rows.

    References
    ----------
    Kallus, Puli and Shalit (2018), arXiv 1810.11646; Rosenman, Basse, Owen and Baiocchi, arXiv
    2002.06708.
    """
    study = read_log_and_tests(log, experiments, encoder, seed=seed, progress=progress)
    return _measure(study, log, naive, experiments, judges, draws)


def worth_arrays(
    log: Logs,
    vectors: NDArray[np.float32],
    experiments: Logs,
    experiment_vectors: NDArray[np.float32],
    *,
    naive: Logs | None = None,
    judges: Pairs | None = None,
    counts: Sequence[int] = COUNTS,
    draws: int = 2,
    seed: int = 0,
) -> Worth:
    """Do what `worth` does with vectors of the rows, for research.

    Parameters
    ----------
    log, experiments, naive, judges, draws, seed
        As in `worth`.
    counts : sequence of int
        Numbers of tests, 0 and another one among them; all that there are are added.
    vectors : (n, d) array
        Of the rows of the log.
    experiment_vectors : (m, d) array
        Of the rows of the experiments.
    """
    study = align(log, vectors, experiments, experiment_vectors, seed=seed)
    return _measure(study, log, naive, experiments, judges, draws, counts)


def _measure(
    study: LogAndTests,
    log: Logs,
    naive: Logs | None,
    experiments: Logs,
    judges: Pairs | None,
    draws: int,
    counts: Sequence[int] = COUNTS,
) -> Worth:
    outcomes = {LOG: log.outcome}
    if naive is not None:
        if naive.texts != log.texts:
            raise InputError(
                "The log as logged must hold the same rows as the deconfounded log, in its order."
            )
        outcomes[NAIVE] = naive.outcome
    judging = choose_judges(study, experiments, judges)
    curves = draw_curves(study, outcomes, judging, draws, counts)
    stories = len(np.unique(judging.story))
    return Worth(curves.counts, curves.auc, curves.resampled, len(judging.story), stories)


def _cross(number: Codes, curve: Floats, level: float) -> float:
    """Return where a rising curve reaches a level: 0 before its first point, ∞ after its last."""
    rising = isotonic_regression(curve).x
    if level < rising[0]:
        return 0.0
    if level > rising[-1]:
        return float(np.inf)
    return float(np.exp(np.interp(level, rising, np.log(number))))


def _round(value: float) -> int:
    """Return a number of tests as it is spoken: three digits at most."""
    return int(float(f"{value:.3g}"))
