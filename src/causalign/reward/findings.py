"""The findings of reward models, RM101 to RM111 and RM201 to RM206, each with a page."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from causalign.results import Finding, Verdict
from causalign.reward.examples import Examples
from causalign.stats.calibration import Calibration, StratumResiduals
from causalign.stats.component_effects import ComponentEffects
from causalign.stats.independence import IndependenceTest
from causalign.stats.latent_overlap import LatentOverlap
from causalign.stats.pair_metrics import RankingMetric
from causalign.stats.pooling import Agreement

# Conventions, not tests: smaller relations do not turn a reward around.
SIGNIFICANCE = 0.01
RELEVANT_CORRELATION = 0.1
RELEVANT_SHARE = 0.01
RELEVANT_LOSS = 0.05
RELEVANT_OVERLAP = 0.9
FEW_PAIRS = 30
IRRELEVANT = 0.05
# A log that is confounded exaggerates; one that says so much less is in other units.
OTHER_UNITS = 2.0


def penalty_at_edge(
    penalties: NDArray[np.float64], best: int, *, is_floored: bool = False
) -> Finding:
    """Warn if the smallest cross-validated error lies at an end of the grid (RM101)."""
    title = "Penalty inside its grid"
    numbers = {
        "penalty": float(penalties[best]),
        "smallest": float(penalties[0]),
        "largest": float(penalties[-1]),
    }
    if len(penalties) == 1:
        explanation = "One penalty was given, so none was chosen."
        return Finding("RM101", title, Verdict.NOT_APPLICABLE, explanation, numbers)
    if is_floored and best == 0:
        explanation = (
            f"The best penalty, {penalties[0]:.4g}, is the lightest that the pairs allow; RM111 "
            "says why there are no smaller ones."
        )
        return Finding("RM101", title, Verdict.PASS, explanation, numbers)
    if 0 < best < len(penalties) - 1:
        explanation = f"The best penalty, {penalties[best]:.4g}, lies inside the grid."
        return Finding("RM101", title, Verdict.PASS, explanation, numbers)
    side = "smallest" if best == 0 else "largest"
    advice = (
        "Add smaller penalties, or use features that say more about the text."
        if best == 0
        else "Add larger penalties; if the edge stays best, the features hardly predict."
    )
    explanation = f"The best penalty is the {side} of the grid, {penalties[best]:.4g}. {advice}"
    return Finding("RM101", title, Verdict.WARN, explanation, numbers)


def texts_read_whole(truncated: int, total: int) -> Finding:
    """Warn if ``truncated`` of ``total`` texts were not read to their end (RM102)."""
    numbers = {"truncated": float(truncated), "texts": float(total)}
    verdict, text = Verdict.PASS, f"The encoder read all {total:,} texts to their end."
    if truncated:
        verdict = Verdict.WARN
        text = (
            f"The encoder did not read the end of {truncated:,} of {total:,} texts; what "
            "stands there cannot move the reward. Use shorter texts or an encoder that reads more."
        )
    return Finding("RM102", "Texts read whole", verdict, text, numbers)


def no_signal(cv_r2: float, measure: str) -> Finding:
    """Fail if unseen rows are predicted no better than without features (RM103)."""
    text, verdict = f"In rows that the fit did not see, {measure} is {cv_r2:.4f}", Verdict.FAIL
    if cv_r2 > 0:
        verdict, advice = Verdict.PASS, "."
    else:
        advice = (
            ": no better than ignoring the text. Do not tune on this reward; collect more rows, or "
            "use other features."
        )
    return Finding("RM103", "Reward predicts unseen data", verdict, text + advice, {"cv_r2": cv_r2})


def dropped_pairs(dropped: int, total: int) -> Finding:
    """Say how many pairs had two identical sides and were dropped (RM104)."""
    numbers = {"dropped": float(dropped), "pairs": float(total)}
    verdict, text = Verdict.PASS, f"Both sides differ in all {total:,} pairs."
    if dropped:
        verdict = Verdict.WARN
        text = (
            f"{dropped:,} of {total:,} pairs have identical sides and were dropped: no reward can "
            "tell them apart. Check how the pairs were made, and whether texts were truncated."
        )
    return Finding("RM104", "Sides of pairs differ", verdict, text, numbers)


def pairs_decide(pairs: int, best: int, *, is_floored: bool) -> Finding:
    """Warn if pairs are few, or so separated that only the penalty's floor held the reward (RM111).

    ``is_floored`` says that lighter penalties order the pairs of the fit almost without an error.
    """
    title = "Pairs decide how large the reward is"
    numbers = {"pairs": float(pairs), "floored": float(is_floored)}
    if is_floored and best == 0:
        text = (
            f"The features order all {pairs:,} pairs almost without an error, and validation asks "
            "for no heavier penalty. Trust the order of the rewards; their size is that of the "
            "lightest penalty which so many pairs allow. Collect more pairs."
        )
        return Finding("RM111", title, Verdict.WARN, text, numbers)
    if pairs < FEW_PAIRS:
        text = (
            f"There are {pairs:,} pairs, fewer than {FEW_PAIRS}: neither the reward nor how it "
            "validated can be told from luck. Collect more pairs."
        )
        return Finding("RM111", title, Verdict.WARN, text, numbers)
    text = f"Validation on {pairs:,} pairs chose the penalty" + (
        "; lighter ones would order the pairs of the fit almost without an error."
        if is_floored
        else ", and the pairs contradict each other enough to hold the reward."
    )
    return Finding("RM111", title, Verdict.PASS, text, numbers)


def tuning_gain(best: int, steps: int, before: float, after: float) -> Finding:
    """Warn if no step of tuning beat the untouched model in unseen rows (RM107)."""
    title = "Tuning beats the untouched model"
    numbers = {"kept_step": float(best), "steps": float(steps), "before": before, "after": after}
    if best == 0:
        explanation = (
            f"None of {steps} steps predicted unseen rows better than the untouched model with a "
            f"linear head ({before:.4f} of the loss explained), which was kept. Use Ridge or "
            "Pairwise on its vectors, or tune on more rows or with a smaller learning rate."
        )
        return Finding("RM107", title, Verdict.WARN, explanation, numbers)
    explanation = (
        f"In unseen rows the explained share of the loss went from {before:.4f} to {after:.4f}, at "
        f"step {best} of {steps}."
    )
    if best == steps:
        explanation += " The last step was the best: more steps may help."
    return Finding("RM107", title, Verdict.PASS, explanation, numbers)


def tests_suffice(tests: int, few: int) -> Finding:
    """Warn if too few tests were given to say whether the log is right (RM108)."""
    title, numbers = "Enough experiments to check the log", {"tests": float(tests)}
    if tests >= few:
        explanation = f"{tests:,} tests can say whether the log misleads."
        return Finding("RM108", title, Verdict.PASS, explanation, numbers)
    explanation = (
        f"There are {tests} tests, fewer than {few}: they add to the log but can hardly say "
        "whether it misleads. Test what the audit calls spurious first."
    )
    return Finding("RM108", title, Verdict.WARN, explanation, numbers)


def log_agrees(agreement: Agreement, share: float) -> Finding:
    """Say whether the tests contradict what the log predicts for them (RM109)."""
    title = "The log agrees with the experiments"
    slope, error = agreement.slope, agreement.standard_error
    numbers = {
        "slope": slope,
        "standard_error": error,
        "p_value": agreement.p_value,
        "share_of_log": share,
    }
    comparison = (
        f"Where the log predicts a difference of 1, the tests found {slope:.2f} "
        f"({slope - 1.96 * error:.2f} to {slope + 1.96 * error:.2f})"
    )
    believed = f"by what the tests found, it entered with weight {share:.2g}"
    if slope + 1.96 * error < 0 or share < IRRELEVANT:
        if slope - 1.96 * error > OTHER_UNITS:
            cause = "Are both on one scale? The tests are on log-odds where they declare trials"
        else:
            cause = "Look for a confounder that was not declared"
        explanation = f"{comparison}: the log misleads about what texts do; {believed}. {cause}."
        return Finding("RM109", title, Verdict.FAIL, explanation, numbers)
    if agreement.p_value < SIGNIFICANCE:
        explanation = (
            f"{comparison}, and they differ from its predictions by more than noise (p = "
            f"{agreement.p_value:.2g}); {believed}. Believe its order of texts rather than its "
            "sizes."
        )
        return Finding("RM109", title, Verdict.WARN, explanation, numbers)
    explanation = (
        f"{comparison}; beyond that they do not differ by more than noise, and {believed}."
    )
    return Finding("RM109", title, Verdict.PASS, explanation, numbers)


def tests_share_texts(shared: int, dropped: int, rows: int) -> Finding:
    """Say how many rows of the log show texts of the experiments (RM110)."""
    title = "Log and experiments are different rows"
    numbers = {"shared": float(shared), "dropped": float(dropped), "rows": float(rows)}
    if not shared:
        explanation = "No row of the log shows a text of the experiments."
        return Finding("RM110", title, Verdict.PASS, explanation, numbers)
    explanation = (
        f"{shared:,} of {rows:,} rows of the log show texts of the experiments; they were left out "
        "wherever those tests judged."
    )
    if dropped:
        explanation += f" {dropped:,} are rows of the tests themselves and count once, as tests."
    return Finding("RM110", title, Verdict.PASS, explanation, numbers)


def both_kinds_of_labels(examples: Examples, rows: NDArray[np.int64]) -> Finding:
    """Warn if an objective has labels of one kind only in the training rows (RM105)."""
    title = "Every objective has labels of both kinds"
    train = rows[examples.weight[rows] > 0]
    share = {
        name: float(examples.target[train[examples.objective[train] == code]].mean())
        for code, name in enumerate(examples.objectives)
        if examples.objective is not None
    }
    single = [name for name, mean in share.items() if mean in (0.0, 1.0)]
    numbers = {f"share.{name}": mean for name, mean in share.items()}
    if not single:
        explanation = "Under every objective some examples have the label and some do not."
        return Finding("RM105", title, Verdict.PASS, explanation, numbers)
    explanation = (
        f"Under {', '.join(map(repr, single))} every example has the same label, so the head of "
        "that objective learns a constant that grows without limit. Add examples of the other "
        "label, or leave the objective out."
    )
    return Finding("RM105", title, Verdict.WARN, explanation, numbers)


def best_epoch_inside(best_epoch: int, validation: Sequence[float]) -> Finding:
    """Warn if the best of several epochs was the last one (RM106)."""
    title = "Best epoch before the last"
    numbers = {"best_epoch": float(best_epoch), "epochs": float(len(validation))}
    if len(validation) < 2:
        explanation = (
            "There was no choice between epochs: there were no validation rows, or one was trained."
        )
        return Finding("RM106", title, Verdict.NOT_APPLICABLE, explanation, numbers)
    if best_epoch < len(validation):
        explanation = f"Epoch {best_epoch} of {len(validation)} validated best."
        return Finding("RM106", title, Verdict.PASS, explanation, numbers)
    explanation = (
        f"The last of {len(validation)} epochs validated best; training may have ended before the "
        "reward was learned. Train for more epochs."
    )
    return Finding("RM106", title, Verdict.WARN, explanation, numbers)


def calibration_slope(estimate: Calibration) -> Finding:
    """RM201: does a text that is predicted to earn one unit more earn one unit more?"""
    text = (
        f"The outcome of unseen rows rises by {estimate.slope:.2f} for each unit of the reward "
        f"({estimate.lower:.2f} to {estimate.upper:.2f})"
    )
    numbers = {"slope": estimate.slope, "lower": estimate.lower, "upper": estimate.upper}
    verdict, advice = Verdict.PASS, ": one is in the interval."
    if estimate.upper <= 0:
        verdict, advice = Verdict.FAIL, ": the reward points the wrong way."
    elif estimate.upper < 1:
        verdict, advice = Verdict.WARN, ": it exaggerates differences. Take a heavier penalty."
    elif estimate.lower > 1:
        verdict, advice = Verdict.WARN, ": it understates differences. Take a lighter penalty."
    return Finding("RM201", "Calibration", verdict, text + advice, numbers)


def calibration_by_stratum(name: str, estimate: StratumResiduals) -> Finding:
    """RM202: is outcome less reward the same at every value of a confounder?"""
    title = f"Calibration by {name}"
    numbers = {
        "p_value": estimate.p_value,
        "explained": estimate.explained,
        "strata": float(len(estimate.bins.rows)),
    }
    if estimate.degrees_of_freedom < 1:
        explanation = f"Fewer than two strata of {name} hold 5 rows or more."
        return Finding("RM202", title, Verdict.NOT_APPLICABLE, explanation, numbers)
    text = (
        f"{name} explains {max(estimate.explained, 0):.1%} of what the reward leaves of the "
        f"outcome (p = {estimate.p_value:.2g})"
    )
    if estimate.p_value < SIGNIFICANCE and estimate.explained > RELEVANT_SHARE:
        text += ": outcomes still move with it. Deconfound, or with another method or scale"
        return Finding("RM202", title, Verdict.WARN, f"{text}.", numbers)
    return Finding("RM202", title, Verdict.PASS, f"{text}.", numbers)


def follows_confounder(name: str, estimate: IndependenceTest) -> Finding:
    """RM203: does the reward have anything to do with a confounder?"""
    numbers = {
        "correlation": estimate.correlation,
        "correlation_p_value": estimate.correlation_p_value,
        "hsic": estimate.hsic,
        "hsic_p_value": estimate.hsic_p_value,
        "rows": float(estimate.rows),
    }
    text = (
        f"Correlation {estimate.correlation:+.2f} (p = {estimate.correlation_p_value:.2g}), HSIC "
        f"{estimate.hsic:.2g} (p = {estimate.hsic_p_value:.2g}) by permutation of "
        f"{estimate.rows:,} rows"
    )
    title = f"Reward and {name}"
    follows = estimate.correlation_p_value < SIGNIFICANCE / 2
    if (follows and abs(estimate.correlation) > RELEVANT_CORRELATION) or (
        estimate.hsic_p_value < SIGNIFICANCE / 2
    ):
        advice = (
            ". Either better texts went with it, or the reward has learned to recognise it: "
            "compare with the reward on the raw outcome, and read RM202."
        )
        return Finding("RM203", title, Verdict.WARN, text + advice, numbers)
    return Finding("RM203", title, Verdict.PASS, f"{text}.", numbers)


def holds_under_shift(
    inside: RankingMetric, shifted: RankingMetric, lower: float, upper: float
) -> Finding:
    """RM204: how much accuracy is lost on pairs unlike those of training?"""
    loss = inside.estimate - shifted.estimate
    text = (
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
        return Finding("RM204", title, Verdict.FAIL, text + advice, numbers)
    if lower > 0 and loss > RELEVANT_LOSS:
        advice = ". The reward leans on what changed; see docs/methods/reward-diagnostics.md."
        return Finding("RM204", title, Verdict.WARN, text + advice, numbers)
    return Finding("RM204", title, Verdict.PASS, f"{text}.", numbers)


def features_overlap(estimate: LatentOverlap) -> Finding:
    """RM205: could a row of these features have been judged by every objective?"""
    easiest = int(np.argmax(estimate.auc))
    text = (
        f"{estimate.overlap:.0%} of rows could be of every objective; the features give away "
        f"{estimate.objective[easiest]!r} with AUC {estimate.auc[easiest]:.2f}"
    )
    numbers = {"overlap": estimate.overlap, "auc": float(estimate.auc[easiest])}
    verdict = Verdict.PASS
    if not estimate.overlap >= RELEVANT_OVERLAP:
        verdict = Verdict.WARN if estimate.overlap >= 0.5 else Verdict.FAIL
        text += (
            ". What an objective says about texts that it never judged is extrapolation: collect "
            "labels of other objectives there, or use an adversarial reward"
        )
    return Finding("RM205", "Overlap of objectives", verdict, f"{text}.", numbers)


def effects_of_attributes(names: tuple[str, ...], estimate: ComponentEffects) -> Finding:
    """RM206: what do named attributes do, and were they drawn independently of each other?"""
    clear = [
        f"{name} {effect:+.3g}"
        for name, effect, low, high in zip(
            names, estimate.estimate, estimate.lower, estimate.upper, strict=True
        )
        if low > 0 or high < 0
    ]
    numbers = {
        **{name: float(e) for name, e in zip(names, estimate.estimate, strict=True)},
        "largest_correlation": estimate.alike,
    }
    text = f"Intervals of {len(clear)} of {len(names)} effects exclude 0"
    text += f": {', '.join(clear)}." if clear else "."
    verdict = Verdict.WARN if estimate.alike > RELEVANT_CORRELATION else Verdict.PASS
    if verdict is Verdict.WARN:
        text += (
            f" Two attributes correlate at {estimate.alike:.2f}: they were not drawn "
            "independently, and an effect is an average over all others only if nothing interacts."
        )
    return Finding("RM206", "Effects of attributes", verdict, text, numbers)
