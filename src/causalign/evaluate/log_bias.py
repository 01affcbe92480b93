"""How wrong may a log be? What past tests say of its predictions, and intervals that count bias."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.special import ndtri

from causalign import figures
from causalign.errors import InputError, NotIdentified
from causalign.evaluate.log_and_tests import LogAndTests, align, read_log_and_tests
from causalign.evaluate.measure import Measure
from causalign.lm.encoder import Encoder
from causalign.logs import Logs
from causalign.logs.pairs import pairs_within
from causalign.results import Finding, Section, Verdict
from causalign.stats.predictive_bias import PredictiveBias, fit_bias

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

LEVELS = (0.5, 0.8, 0.95)
# A coverage nearer to 95 % than this is as good as it: half of the promise of 93 to 97 %.
TOLERANCE = 0.02


@dataclass(frozen=True, slots=True)
class Coverage:
    """The share of unseen tests that intervals cover, each test the mean of its pairs.

    ``standard_error`` treats stories as independent; ``half_width`` is the mean of the intervals.
    """

    level: float
    share: float
    standard_error: float
    half_width: float


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class BiasOfLog(Measure):
    """What a difference that the log predicts is worth, and how far the truth departs from it.

    Attributes
    ----------
    bias : PredictiveBias or None
        a and ω²; None without tests.
    counting, ignoring : tuple of Coverage
        Of intervals that count bias, and of those by the log's sampling alone, on unseen tests; no
        coverage of the latter where the arms' noise is not known apart from bias.
    tests, stories : int
        That were compared with the log.
    units : str
        Of differences.
    """

    question: ClassVar[str] = "How wrong may the log be?"
    assumption: ClassVar[str] = (
        "Texts of the tests were randomised within their test, and new texts depart from the log's "
        "prediction as those of past tests did."
    )

    bias: PredictiveBias | None
    counting: tuple[Coverage, ...] = ()
    ignoring: tuple[Coverage, ...] = ()
    tests: int = 0
    stories: int = 0
    units: str = "units of the outcome"

    def interval(self, differences: ArrayLike, variances: ArrayLike = 0.0) -> Floats:
        """Return the 95 % interval of each difference that the log predicts, bias counted.

        Parameters
        ----------
        differences : (n,) array
            As the log's reward predicts them.
        variances : (n,) array or float
            The sampling variance of what is to be covered: 0 for the true difference, that of a
            test for what this test will find.

        Returns
        -------
        (n, 2) array

        Raises
        ------
        NotIdentified
            Without tests.
        """
        if self.bias is None:
            raise NotIdentified(
                "Without tests the bias of a log cannot be known, so no interval can count it. "
                "Give experiments."
            )
        d = np.atleast_1d(np.asarray(differences, dtype=np.float64))
        return self.bias.interval(d, np.broadcast_to(variances, d.shape))

    @property
    def omega(self) -> float | None:
        """ω, the standard deviation of a true difference about what the log predicts; or None."""
        return None if self.bias is None else float(np.sqrt(self.bias.variance))

    @property
    def findings(self) -> tuple[Finding, ...]:
        """EV402: is what the log predicts what tests find? EV403: do the intervals cover?"""
        return (self._scale(), *([self._cover()] if self.counting else []))

    def _scale(self) -> Finding:
        title = "Bias of the log"
        if self.bias is None:
            words = (
                "There are no tests, so how wrong the log may be cannot be known: its intervals "
                "count sampling alone. Run some tests of texts that the log ranks."
            )
            return Finding("EV402", title, Verdict.NOT_APPLICABLE, words)
        a, error = self.bias.slope, self.bias.standard_error
        lower, upper = a - 1.96 * error, a + 1.96 * error
        numbers = {"slope": a, "lower": lower, "upper": upper, "omega": float(self.omega or 0)}
        shown = f"a predicted difference of 1 was worth {a:.2f} ({lower:.2f} to {upper:.2f})"
        if upper <= 0 or lower <= 0:
            verdict = Verdict.FAIL if upper <= 0 else Verdict.WARN
            words = f"In {self.tests:,} tests {shown}: the log does not predict what texts do."
        elif lower <= 1 <= upper:
            verdict = Verdict.PASS
            words = f"In {self.tests:,} tests {shown}, as it should be."
        else:
            verdict = Verdict.WARN
            size = "exaggerates" if a < 1 else "understates"
            words = (
                f"In {self.tests:,} tests {shown}: the log {size} differences. Use intervals that "
                "count bias: they are about that multiple of the prediction."
            )
        return Finding("EV402", title, verdict, words, numbers)

    def _cover(self) -> Finding:
        title = "Intervals that count the log's bias"
        with_bias = self.counting[-1]
        error = 1.96 * with_bias.standard_error
        numbers = {"coverage": with_bias.share, "standard_error": with_bias.standard_error}
        shown = f"95 % intervals that count bias cover {with_bias.share:.1%} of unseen tests"
        if self.ignoring:
            numbers["coverage ignoring bias"] = self.ignoring[-1].share
            shown += f", those that ignore it {self.ignoring[-1].share:.1%}"
        if abs(with_bias.share - 0.95) <= max(TOLERANCE, error):
            return Finding("EV403", title, Verdict.PASS, f"{shown}.", numbers)
        words = f"{shown}. The departures are not normal, or differ between tests."
        return Finding("EV403", title, Verdict.WARN, words, numbers)

    def answer(self) -> str:
        """Return a, ω and the coverage of both kinds of intervals."""
        if self.bias is None:
            return "Without tests, how wrong the log may be cannot be known."
        words = (
            f"A difference of 1 that the log predicts was worth {self.bias.slope:.2f} in "
            f"{self.tests:,} tests, and true differences depart from that by ω = {self.omega:.3g} "
            f"{self.units} (standard deviation)."
        )
        words += (
            f" 95 % intervals that count this bias cover {self.counting[-1].share:.1%} of tests "
            "that no fit had seen"
        )
        if not self.ignoring:
            return f"{words}."
        return f"{words}, those that ignore it {self.ignoring[-1].share:.1%}."

    def table(self) -> pa.Table:
        """Return coverage and mean half-width of both kinds of intervals, at each level."""
        kinds = {"count bias": self.counting, "ignore bias": self.ignoring}
        rows = [
            {
                "intervals": kind,
                "level": one.level,
                "coverage": one.share,
                "lower": one.share - 1.96 * one.standard_error,
                "upper": one.share + 1.96 * one.standard_error,
                "mean half-width": one.half_width,
            }
            for kind, each in kinds.items()
            for one in each
        ]
        return pa.Table.from_pylist(rows) if rows else pa.table({})

    def drawing(self) -> figures.Drawing:
        """Return the coverage of 95 % intervals of both kinds."""
        both = [each[-1] for each in (self.counting, self.ignoring) if each]
        labels = ["intervals that count bias", "intervals that ignore bias"][: len(both)]
        return figures.forest(
            "bias-of-the-log",
            labels,
            [one.share for one in both],
            [one.share - 1.96 * one.standard_error for one in both],
            [min(one.share + 1.96 * one.standard_error, 1.0) for one in both],
            xlabel="share of unseen tests covered by 95 % intervals",
            caption="Coverage of 95 % intervals for what unseen tests found.",
            alt="; ".join(f"{n}: {o.share:.1%}" for n, o in zip(labels, both, strict=True)),
            reference=0.95,
        )

    def section(self) -> Section:
        """Return the bias as a section of a report, with its figures under stable names."""
        if self.bias is None:
            return Section(
                "evaluate", self.question, self.answer(), self.assumption, findings=self.findings
            )
        numbers: dict[str, float | str | None] = {
            "a": self.bias.slope,
            "omega": self.omega,
            "coverage, bias counted": self.counting[-1].share,
            "coverage, bias ignored": self.ignoring[-1].share if self.ignoring else None,
            "tests": float(self.tests),
        }
        return replace(Measure.section(self), numbers=numbers)


def bias_of_log(
    log: Logs,
    experiments: Logs | None = None,
    encoder: str | Encoder | None = None,
    *,
    seed: int = 0,
    progress: bool = False,
) -> BiasOfLog:
    """Learn from past tests by how much differences that a log predicts are wrong.

        e_m = a d_m + N(0, s_m² + ω²)

    d is what a ridge reward of the log predicts of two arms, fitted without rows that show the
    test's story; e is what the test found, s² its sampling variance. a and ω² are estimated by
    restricted maximum likelihood, on all arms of all tests with the level of the test left free,
    so that arms that share a test count as often as they inform. The interval of a new difference,
    ``a d ± 1.96 √(v + ω²)``, is tried on the tests of each fold of stories with a and ω² of the
    others, beside the one that ignores bias, ``d ± 1.96 √(v + x'Vx)`` with V the covariance of the
    log's coefficients.

    Parameters
    ----------
    log : Logs
        Deconfounded, on the log-odds scale where the experiments declare trials.
    experiments : Logs, optional
        Texts that were randomised within their role ``group``; without them bias cannot be known.
    encoder : str or Encoder, optional
        "minilm" unless given; what it learns, it learns from the texts of the log.
    seed : int
        Of the folds.
    progress : bool
        Show a bar while texts are encoded.

    Raises
    ------
    RoleNotDeclared
        If the experiments declare no group.
    InputError
        If there are too few tests or rows.
    """
    if experiments is None:
        return BiasOfLog(None)
    study = read_log_and_tests(log, experiments, encoder, seed=seed, progress=progress)
    return _compare(study, log.outcome)


def bias_arrays(
    log: Logs,
    vectors: NDArray[np.float32],
    experiments: Logs,
    experiment_vectors: NDArray[np.float32],
    *,
    seed: int = 0,
) -> BiasOfLog:
    """Do what `bias_of_log` does with vectors of the rows, for research.

    Parameters
    ----------
    log, experiments, seed
        As in `bias_of_log`.
    vectors : (n, d) array
        Of the rows of the log.
    experiment_vectors : (m, d) array
        Of the rows of the experiments.
    """
    study = align(log, vectors, experiments, experiment_vectors, seed=seed)
    return _compare(study, log.outcome)


def _compare(study: LogAndTests, outcome: Floats) -> BiasOfLog:
    """Predict every arm by a log without its story, and ask how far the tests depart."""
    arms = study.arms
    pairs = pairs_within(arms.test)
    # Without a variance of its own an arm's noise is part of what departs.
    variance = arms.variance if arms.known else np.zeros(len(arms.rows))
    predicted, sampling = np.zeros(len(arms.rows)), np.zeros(len(pairs))
    shown = study.shared.folds(arms, study.fold)
    for fold in study.folds:
        log = study.weigh(outcome, shown != fold)
        gram, cross = log.deviations.products()
        gram[np.diag_indices_from(gram)] += log.penalty
        factor = cho_factor(gram)
        here = study.fold == fold
        predicted[here] = study.features[here] @ cho_solve(factor, cross)
        chosen = study.fold[pairs[:, 0]] == fold
        apart = study.features[pairs[chosen, 0]] - study.features[pairs[chosen, 1]]
        sampling[chosen] = np.einsum("pd,dp->p", apart, cho_solve(factor, apart.T))
    if np.ptp(predicted) == 0:
        raise InputError("The log predicts the same of every text of the tests.")
    d = predicted[pairs[:, 0]] - predicted[pairs[:, 1]]
    e = arms.outcome[pairs[:, 0]] - arms.outcome[pairs[:, 1]]
    v = variance[pairs].sum(axis=1)
    centre, spread = np.zeros(len(pairs)), np.zeros(len(pairs))
    for fold in study.folds:
        others = study.fold != fold
        bias = fit_bias(
            predicted[others], arms.outcome[others], variance[others], arms.test[others]
        )
        chosen = ~others[pairs[:, 0]]
        ends = bias.interval(d[chosen], v[chosen], 1.0)
        centre[chosen], spread[chosen] = ends.mean(axis=1), np.diff(ends, axis=1)[:, 0] / 2
    test, story = arms.test[pairs[:, 0]], arms.story[pairs[:, 0]]
    # Where noise is part of what departs, an interval that ignores bias would ignore noise too.
    ignoring = tuple(
        _cover(level, e - d, np.sqrt(v + sampling), test, story) for level in LEVELS if arms.known
    )
    return BiasOfLog(
        fit_bias(predicted, arms.outcome, variance, arms.test),
        tuple(_cover(level, e - centre, spread, test, story) for level in LEVELS),
        ignoring,
        int(arms.test.max()) + 1,
        int(arms.story.max()) + 1,
        "log-odds" if arms.in_odds else "units of the outcome",
    )


def _cover(level: float, error: Floats, spread: Floats, test: Codes, story: Codes) -> Coverage:
    """Return the share of tests covered, each the mean of its pairs, clustered by story."""
    half = float(ndtri(0.5 + level / 2)) * spread
    weight = 1 / np.bincount(test)[test]
    weight /= weight.sum()
    covered = (np.abs(error) <= half).astype(np.float64)
    share = float(weight @ covered)
    by_story = np.bincount(story, weights=weight * (covered - share))
    return Coverage(level, share, float(np.sqrt((by_story**2).sum())), float(weight @ half))
