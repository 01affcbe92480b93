"""CF1xx: does something travel with the texts that moves the outcome as well?"""

from causalign.results import Finding, Verdict

# Below these a relation is too weak to turn a reward around; they are conventions, not tests.
RELEVANT_R2 = 0.01
RELEVANT_AUC = 0.55
SIGNIFICANCE = 0.01


def confounded_by(
    name: str,
    *,
    from_text: float,
    metric: str,
    text_p_value: float,
    outcome_r2: float,
    outcome_p_value: float,
) -> Finding:
    """CF101: the text gives the confounder away *and* the confounder explains the outcome.

    Both are needed: a reward model fitted on the raw outcome then learns to recognise the
    confounder in the text. Scores are cross-fitted, p-values those of the correlation between
    out-of-fold prediction and target.
    """
    threshold = RELEVANT_AUC if metric == "AUC" else RELEVANT_R2
    recognised = from_text > threshold and text_p_value < SIGNIFICANCE
    explains = outcome_r2 > RELEVANT_R2 and outcome_p_value < SIGNIFICANCE
    told = f"text predicts {name} with {metric} {from_text:.3f}; {name} explains "
    told += f"{max(outcome_r2, 0):.1%} of the outcome"
    if recognised and explains:
        verdict, told = Verdict.WARN, f"Confounded: the {told}. Deconfound before fitting a reward."
    elif explains:
        verdict, told = Verdict.PASS, f"The {told}, but the text does not give it away."
    elif recognised:
        verdict, told = Verdict.PASS, f"The {told}: too little to turn a reward around."
    else:
        verdict, told = Verdict.PASS, f"The {told}: no sign of confounding by it."
    return Finding(
        "CF101",
        f"Confounding by {name}",
        verdict,
        told,
        {"from_text": from_text, "metric": metric, "outcome_r2": outcome_r2},
    )


def no_confounders() -> Finding:
    """CF102: no confounder is declared, so nothing can be checked or removed."""
    return Finding(
        "CF102",
        "Declared confounders",
        Verdict.WARN,
        "These logs declare no confounders. Ask what else differed when these texts were written "
        "(time, place, price, author) and name those columns in Roles(confounders=...).",
    )
