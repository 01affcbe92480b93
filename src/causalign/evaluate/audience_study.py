"""For whom does a text work? Whether audiences differ, what targeting gains, and who loses."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from causalign import figures
from causalign.evaluate.measure import Measure
from causalign.lm.embedded_logs import embed_logs, embed_texts
from causalign.lm.encoder import Encoder
from causalign.logs import Logs, read_audiences
from causalign.logs.stories import rows_together
from causalign.results import Finding, Section, Verdict
from causalign.stats.audience_ridge import AudienceRidge, audience_ridge
from causalign.stats.calibration import calibration, residuals_by_stratum
from causalign.stats.folds import group_folds
from causalign.stats.heterogeneity import HeterogeneityTest, heterogeneity_test
from causalign.stats.targeting import Gains, TargetingGains, gains_of_texts, targeting_gains

Array = NDArray[np.float64]

SIGNIFICANCE = 0.05
# Fewer rows say next to nothing of their own: the reward is that of all, and intervals are wide.
FEW = 30


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationByAudience:
    """How one reward for all predicts each audience, in rows that its fit did not see ``(a,)``.

    ``gap`` is outcome less reward, ``slope`` that of the outcome on the reward, with standard
    errors; NaN where rows are too few.
    """

    gap: Gains
    slope: Gains


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class AudienceStudy(Measure):
    """For whom texts work: a test, gains and calibration by audience, with 95 % intervals.

    Attributes
    ----------
    names : tuple of a str
        The audiences.
    rows : (a,) integers
        How many rows each has.
    levels : (a,) floats
        The mean outcome of each.
    test : HeterogeneityTest
        Of whether audiences differ in what texts do to them.
    targeting : TargetingGains
        What own texts earn beyond one text for all, and what that one earns where.
    calibration : CalibrationByAudience
        Of one reward for all.
    texts : tuple of str
        The text chosen for all, and for each audience its own.
    written : tuple of two Gains, or None
        What the texts of a policy earn over the whole and by audience, if any were given.
    unit : str
        What one of the outcome is.
    """

    question: ClassVar[str] = "For whom does a text work, and who would lose?"
    assumption: ClassVar[str] = (
        "The outcome, deconfounded, is linear in the features within each audience, and who "
        "belongs to an audience was settled before the text was sent."
    )

    names: tuple[str, ...]
    rows: NDArray[np.int64]
    levels: Array
    test: HeterogeneityTest
    targeting: TargetingGains
    calibration: CalibrationByAudience
    texts: tuple[str, ...]
    written: tuple[Gains, Gains] | None = None
    unit: str = "units of the outcome"

    @property
    def findings(self) -> tuple[Finding, ...]:
        """EV501 (do audiences differ?), EV502 (does one lose?), EV503 (are they large enough?)."""
        whole, each = self._sent
        shown = [figures.printable(name, 40) for name in self.names]
        return (
            _check_difference(self.test.p_value),
            _check_worst(shown, whole, each, self.unit),
            _check_sizes(shown, self.rows),
        )

    @property
    def worst(self) -> str:
        """The audience that gains least by what is sent to all."""
        return self.names[int(self._sent[1].estimate.argmin())]

    @property
    def _sent(self) -> tuple[Gains, Gains]:
        """What is sent to all earns: the texts of the policy, or the one text chosen."""
        return self.written or (self.targeting.whole, self.targeting.one)

    def table(self) -> pa.Table:
        """Return one row for each audience: gains over its logged texts, regret, calibration."""
        chosen, judged = self.targeting, self.calibration
        columns: dict[str, object] = {
            "audience": list(self.names),
            "rows": self.rows,
            "mean outcome": self.levels,
            "p": self.test.each,
        }
        gains = {"gain of one for all": chosen.one, "gain of its own": chosen.own}
        gains |= {"regret": chosen.regret}
        if self.written is not None:
            gains["gain of the policy"] = self.written[1]
        gains |= {
            "outcome less reward for all": judged.gap,
            "slope on reward for all": judged.slope,
        }
        for name, values in gains.items():
            columns |= {
                name: values.estimate,
                f"{name}, lower": values.lower,
                f"{name}, upper": values.upper,
            }
        return pa.table(columns)

    def targeting_table(self) -> pa.Table:
        """Return what targeting gains over one text for all, honestly and as it seems."""
        both = {"chosen and valued apart": self.targeting.targeting}
        both["chosen and valued on the same rows"] = self.targeting.naive
        return pa.table(
            {
                "how": list(both),
                "gain": [float(one.estimate[0]) for one in both.values()],
                "lower": [float(one.lower[0]) for one in both.values()],
                "upper": [float(one.upper[0]) for one in both.values()],
            }
        )

    def answer(self) -> str:
        """Return whether audiences differ, what targeting gains, and who gains least."""
        p, (whole, each) = self.test.p_value, self._sent
        differ = "differ" if p <= 0.05 else "do not differ as far as the log can tell"
        worst = int(each.estimate.argmin())
        what = "One text for all" if self.written is None else "The policy"
        return (
            f"Audiences {differ} in what texts do to them (p = {p:.2g}). Sending each its own best "
            f"text instead of one for all gains {_say(self.targeting.targeting, 0)} {self.unit}. "
            f"{what} gains {_say(whole, 0)} over the logged texts, and least for "
            f"{self.names[worst]!r}: {_say(each, worst)}."
        )

    def drawing(self) -> figures.Drawing:
        """Return by audience what one text for all gains, and what its own would."""
        parts = {"one for all": self.targeting.one, "its own": self.targeting.own}
        if self.written is not None:
            parts["policy"] = self.written[1]
        order = [(place, what) for place in range(len(self.names)) for what in parts]
        labels = [f"{self.names[place]} · {what}" for place, what in order]
        sides = [
            [float(getattr(parts[what], side)[place]) for place, what in order]
            for side in ("estimate", "lower", "upper")
        ]
        return figures.forest(
            "audiences",
            labels,
            *sides,
            xlabel=f"gain over the logged texts, in {self.unit}",
            caption="What one text for all and its own best text gain each audience, chosen on one "
            "half of the log and valued on the other; 95 % intervals.",
            alt="; ".join(f"{n}: {v:+.2f}" for n, v in zip(labels, sides[0], strict=True)),
        )

    def section(self) -> Section:
        """Return the study as a section of a report."""
        whole, each = self._sent
        targeting = self.targeting.targeting
        texts = {"for": ["all", *self.names], "text": list(self.texts)}
        return Section(
            stage="evaluate",
            question=self.question,
            answer=self.answer(),
            assumption=self.assumption,
            numbers={
                "audiences": float(len(self.names)),
                "p, audiences alike": self.test.p_value,
                "gain of targeting": float(targeting.estimate[0]),
                "gain of targeting lower": float(targeting.lower[0]),
                "gain of targeting upper": float(targeting.upper[0]),
                "gain of the whole": float(whole.estimate[0]),
                "gain of the worst audience": float(each.estimate.min()),
                "worst audience": self.worst,
            },
            tables={
                "audiences": self.table(),
                "gain of targeting": self.targeting_table(),
                "texts chosen": pa.table(texts),
            },
            figures=figures.draw_figures(self.drawing()),
            findings=self.findings,
        )


def audiences(
    logs: Logs,
    encoder: str | Encoder | None = None,
    *,
    candidates: Sequence[str] | None = None,
    written: Sequence[str] | None = None,
    folds: int = 5,
    seed: int = 0,
    progress: bool = False,
) -> AudienceStudy:
    """Ask whether audiences differ, what it gains to target them, and who would lose.

    A reward for each audience (`causalign.reward.ForAudience`) is fitted on halves of the clusters,
    else of the groups or texts: one half chooses, the other values, both ways.

    Parameters
    ----------
    logs : Logs
        Deconfounded, with the role ``audience``.
    encoder : str or Encoder, optional
        "minilm+style" unless given; what it learns, it learns from the logged texts.
    candidates : sequence of str, optional
        Texts to choose among, below no prompt; the logged ones unless given.
    written : sequence of str, optional
        What a policy wrote for everybody: its gains by audience are then judged. The policy must
        not have been tuned on these rows, or its gains are too good.
    folds : int
        For the penalties.
    seed : int
        Of cuts and of the test.
    progress : bool
        Show a bar while texts are encoded.

    Raises
    ------
    RoleNotDeclared, NotIdentified, InputError
        Without an audience, with one alone or more than 50, or if rows are too few to be cut.
    """
    people, groups = read_audiences(logs), rows_together(logs)
    embedded = embed_logs(logs, encoder, progress=progress)
    X, y = embedded.vectors.astype(np.float64), logs.outcome
    cut, weights = group_folds(groups, folds, seed), logs.weights
    fit = audience_ridge(X, y, people.codes, folds=cut, weights=weights, groups=groups)
    texts = list(dict.fromkeys(logs.texts if candidates is None else candidates))
    options = embed_texts(texts, embedded.encoder, progress=progress).vectors
    chosen = targeting_gains(
        fit, X, y, people.codes, options, weights=weights, groups=groups, folds=folds, seed=seed
    )
    tested = heterogeneity_test(
        X, y, people.codes, folds=cut, weights=weights, groups=groups, seed=seed
    )
    sent = None
    if written is not None:
        sent = gains_of_texts(fit, embed_texts(list(written), embedded.encoder).vectors)
    return AudienceStudy(
        people.names,
        people.rows,
        fit.levels,
        tested,
        chosen,
        _calibrate(fit, y, people.codes, groups),
        tuple(texts[place] for place in (chosen.text_for_all, *chosen.own_texts)),
        sent,
        f"units of {logs.roles.outcome}",
    )


def _calibrate(
    fit: AudienceRidge, y: Array, codes: NDArray[np.int64], groups: NDArray[np.int64]
) -> CalibrationByAudience:
    """Judge one reward for all, by rows that its fit did not see."""
    bins = residuals_by_stratum(fit.for_all, y, codes, clusters=groups).bins
    slopes = np.full((2, len(fit.shares)), np.nan)
    for place in range(len(fit.shares)):
        rows = codes == place
        if len(np.unique(groups[rows])) > 2 and np.ptp(fit.for_all[rows]) > 0:
            line = calibration(fit.for_all[rows], y[rows], clusters=groups[rows])
            slopes[:, place] = line.slope, line.standard_error
    return CalibrationByAudience(
        Gains(bins.observed - bins.predicted, bins.standard_error), Gains(*slopes)
    )


def _say(gains: Gains, place: int) -> str:
    estimate, lower, upper = (
        float(side[place]) for side in (gains.estimate, gains.lower, gains.upper)
    )
    return f"{estimate:+.3g} ({lower:+.3g} to {upper:+.3g})"


def _check_difference(p_value: float) -> Finding:
    numbers = {"p": p_value}
    title = "Audiences alike"
    if p_value > SIGNIFICANCE:
        words = (
            "The log does not tell that texts do other things to some readers "
            f"(p = {p_value:.2g}). That is no proof that they do not: see the intervals of the "
            "gains."
        )
        return Finding("EV501", title, Verdict.PASS, words, numbers)
    words = (
        f"Texts do other things to some audiences than to others (p = {p_value:.2g}): one reward "
        "for all is wrong about some. Fit a reward for each: ForAudience."
    )
    return Finding("EV501", title, Verdict.WARN, words, numbers)


def _check_worst(names: Sequence[str], whole: Gains, each: Gains, unit: str) -> Finding:
    worst = int(each.estimate.argmin())
    gain, lower, upper = (float(side[worst]) for side in (each.estimate, each.lower, each.upper))
    overall = float(whole.estimate[0])
    numbers: dict[str, float | str] = {
        "audience": names[worst],
        "gain": gain,
        "lower": lower,
        "upper": upper,
        "gain of the whole": overall,
    }
    title = "No audience loses"
    words = (
        f"What is sent to all gains {overall:+.3g} {unit} on the whole, and least for "
        f"{names[worst]!r}: {gain:+.3g}, 95 % interval {lower:+.3g} to {upper:+.3g}."
    )
    verdict = Verdict.PASS
    if gain < 0:
        verdict = Verdict.WARN
        words += " Whether that audience loses cannot be told."
    if upper < 0:
        verdict = Verdict.FAIL
        words = words.removesuffix(" Whether that audience loses cannot be told.")
        words += (
            " That audience loses. Send it a text of its own, or choose by the gain of the "
            "audience that gains least: reward.audience_gains."
        )
    return Finding("EV502", title, verdict, words, numbers)


def _check_sizes(names: Sequence[str], rows: NDArray[np.int64]) -> Finding:
    few = [f"{names[i]!r} ({rows[i]})" for i in np.flatnonzero(rows < FEW).tolist()]
    numbers = {"rows of the smallest": float(rows.min()), "too small": float(len(few))}
    title = "Audiences large enough"
    if not few:
        words = f"Each audience has at least {FEW} rows; the smallest has {int(rows.min()):,}."
        return Finding("EV503", title, Verdict.PASS, words, numbers)
    words = (
        f"Audiences of fewer than {FEW} rows: {', '.join(few[:10])}. What is said of them is "
        "mostly what all readers share. Merge them with others."
    )
    return Finding("EV503", title, Verdict.WARN, words, numbers)
