"""PO120: did deconfounding help the policy, as a judge sees it that training never saw?"""

from causalign.results import Finding, Verdict

TITLE = "Gain from deconfounding"


def no_judge() -> Finding:
    """Say that nobody can tell whether deconfounding helped the policy (PO120)."""
    explanation = (
        "There is no experiment, and the held-out rows are too few for a reward of their own, so "
        "nobody but the reader can say which policy writes better. Give experimental pairs in "
        "'evaluate.pairs', or hold out more rows."
    )
    return Finding("PO120", TITLE, Verdict.NOT_APPLICABLE, explanation)


def gain_of_deconfounding(difference: float, lower: float, upper: float, judge: str) -> Finding:
    """Compare the mean reward of the deconfounded policy's texts with the naive one's (PO120)."""
    verdict = Verdict.PASS if lower > 0 else Verdict.FAIL if upper < 0 else Verdict.WARN
    said, advice = {
        Verdict.PASS: ("above", ""),
        Verdict.WARN: (
            "no different from",
            " Write more texts, train for longer, or ask the audit whether these logs are "
            "confounded at all.",
        ),
        Verdict.FAIL: (
            "below",
            " Do not use the policy; see whether the deconfounded reward ranks held-out pairs "
            "worse as well.",
        ),
    }[verdict]
    explanation = (
        f"{judge[:1].upper()}{judge[1:]} rates the deconfounded policy's texts {said} those of the "
        f"policy tuned on the outcome as logged (difference {difference:.3g}, 95% interval "
        f"{lower:.3g} to {upper:.3g}).{advice}"
    )
    numbers = {"difference": difference, "lower": lower, "upper": upper}
    return Finding("PO120", TITLE, verdict, explanation, numbers)
