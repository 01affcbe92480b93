"""What diagnostics of a reward mean, RM201 to RM206; each has a page in ``checks/pages``."""

import numpy as np

from causalign.results import Finding, Verdict
from causalign.stats.calibration import Calibration, StratumResiduals
from causalign.stats.component_effects import ComponentEffects
from causalign.stats.independence import IndependenceTest
from causalign.stats.latent_overlap import LatentOverlap
from causalign.stats.ranking import RankingMetric

__all__ = [
    "attribute_effects",
    "calibrated",
    "calibrated_by_stratum",
    "features_overlap",
    "follows_confounder",
    "holds_under_shift",
]

# Conventions, not tests: smaller relations do not turn a reward around.
SIGNIFICANCE = 0.01
RELEVANT_CORRELATION = 0.1
RELEVANT_SHARE = 0.01
RELEVANT_LOSS = 0.05
RELEVANT_OVERLAP = 0.9


def calibrated(found: Calibration) -> Finding:
    """RM201: does a text that is predicted to earn one unit more earn one unit more?"""
    said = (
        f"The outcome of unseen rows rises by {found.slope:.2f} for each unit of the reward "
        f"({found.lower:.2f} to {found.upper:.2f})"
    )
    numbers = {"slope": found.slope, "lower": found.lower, "upper": found.upper}
    verdict, advice = Verdict.PASS, ": one is in the interval."
    if found.upper <= 0:
        verdict, advice = Verdict.FAIL, ": the reward points the wrong way."
    elif found.upper < 1:
        verdict, advice = Verdict.WARN, ": it exaggerates differences. Take a heavier penalty."
    elif found.lower > 1:
        verdict, advice = Verdict.WARN, ": it understates differences. Take a lighter penalty."
    return Finding("RM201", "Calibration", verdict, said + advice, numbers)


def calibrated_by_stratum(name: str, found: StratumResiduals) -> Finding:
    """RM202: is outcome less reward the same at every value of a confounder?"""
    title = f"Calibration by {name}"
    numbers = {
        "p_value": found.p_value,
        "explained": found.explained,
        "strata": float(len(found.bins.rows)),
    }
    if found.degrees_of_freedom < 1:
        explanation = f"Fewer than two strata of {name} hold 5 rows or more."
        return Finding("RM202", title, Verdict.NOT_APPLICABLE, explanation, numbers)
    said = (
        f"{name} explains {max(found.explained, 0):.1%} of what the reward leaves of the outcome "
        f"(p = {found.p_value:.2g})"
    )
    if found.p_value < SIGNIFICANCE and found.explained > RELEVANT_SHARE:
        advice = ": outcomes still move with it. Deconfound, or with another method or scale."
        return Finding("RM202", title, Verdict.WARN, said + advice, numbers)
    return Finding("RM202", title, Verdict.PASS, f"{said}.", numbers)


def follows_confounder(name: str, found: IndependenceTest) -> Finding:
    """RM203: does the reward have anything to do with a confounder?"""
    numbers = {
        "correlation": found.correlation,
        "correlation_p_value": found.correlation_p_value,
        "hsic": found.hsic,
        "hsic_p_value": found.hsic_p_value,
        "rows": float(found.rows),
    }
    said = (
        f"Correlation {found.correlation:+.2f} (p = {found.correlation_p_value:.2g}), HSIC "
        f"{found.hsic:.2g} (p = {found.hsic_p_value:.2g}) by permutation of {found.rows:,} rows"
    )
    title = f"Reward and {name}"
    follows = found.correlation_p_value < SIGNIFICANCE / 2
    if (follows and abs(found.correlation) > RELEVANT_CORRELATION) or (
        found.hsic_p_value < SIGNIFICANCE / 2
    ):
        advice = (
            ". Either better texts went with it, or the reward has learned to recognise it: "
            "compare with the reward on the raw outcome, and read RM202."
        )
        return Finding("RM203", title, Verdict.WARN, said + advice, numbers)
    return Finding("RM203", title, Verdict.PASS, f"{said}.", numbers)


def holds_under_shift(
    inside: RankingMetric, shifted: RankingMetric, lower: float, upper: float
) -> Finding:
    """RM204: how much accuracy is lost on pairs unlike those of training?"""
    loss = inside.estimate - shifted.estimate
    said = (
        f"Accuracy is {inside.estimate:.3f} on {inside.pairs:,} pairs like those of training and "
        f"{shifted.estimate:.3f} on {shifted.pairs:,} shifted ones: a loss of {loss:.3f} "
        f"({lower:.3f} to {upper:.3f})"
    )
    numbers = {
        "in_distribution": inside.estimate,
        "shifted": shifted.estimate,
        "loss": loss,
        "lower": lower,
        "upper": upper,
    }
    title = "Accuracy under shift"
    if shifted.upper < 0.5:
        advice = ". On shifted pairs the reward is worse than chance: do not tune on it."
        return Finding("RM204", title, Verdict.FAIL, said + advice, numbers)
    if lower > 0 and loss > RELEVANT_LOSS:
        advice = ". The reward leans on what changed; see docs/methods/reward-diagnostics.md."
        return Finding("RM204", title, Verdict.WARN, said + advice, numbers)
    return Finding("RM204", title, Verdict.PASS, f"{said}.", numbers)


def features_overlap(found: LatentOverlap) -> Finding:
    """RM205: could a row of these features have been judged by every objective?"""
    easiest = int(np.argmax(found.auc))
    said = (
        f"{found.overlap:.0%} of rows could be of every objective; the features give away "
        f"{found.objective[easiest]!r} with AUC {found.auc[easiest]:.2f}"
    )
    numbers = {"overlap": found.overlap, "auc": float(found.auc[easiest])}
    if found.overlap >= RELEVANT_OVERLAP:
        return Finding("RM205", "Overlap of objectives", Verdict.PASS, f"{said}.", numbers)
    verdict = Verdict.WARN if found.overlap >= 0.5 else Verdict.FAIL
    advice = (
        ". What an objective says about texts that it never judged is extrapolation: collect "
        "labels of other objectives there, or use an adversarial reward."
    )
    return Finding("RM205", "Overlap of objectives", verdict, said + advice, numbers)


def attribute_effects(names: tuple[str, ...], found: ComponentEffects) -> Finding:
    """RM206: what do named attributes do, and were they drawn independently of each other?"""
    clear = [
        f"{name} {effect:+.3g}"
        for name, effect, low, high in zip(
            names, found.estimate, found.lower, found.upper, strict=True
        )
        if low > 0 or high < 0
    ]
    numbers = {
        **{name: float(e) for name, e in zip(names, found.estimate, strict=True)},
        "largest_correlation": found.alike,
    }
    said = f"Intervals of {len(clear)} of {len(names)} effects exclude 0"
    said += f": {', '.join(clear)}." if clear else "."
    if found.alike > RELEVANT_CORRELATION:
        said += (
            f" Two attributes correlate at {found.alike:.2f}: they were not drawn independently, "
            "and an effect is an average over all others only if nothing interacts."
        )
        return Finding("RM206", "Effects of attributes", Verdict.WARN, said, numbers)
    return Finding("RM206", "Effects of attributes", Verdict.PASS, said, numbers)
