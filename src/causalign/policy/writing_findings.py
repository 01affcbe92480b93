"""The findings of policies that learn from what they write, PO110 to PO113."""

import numpy as np

from causalign.results import Finding, Verdict

__all__ = ["clipped_ratios", "divergence", "equal_groups", "value_head"]


def divergence(nats: float, stop_above: float) -> Finding:
    """Say how far the policy has moved from the starting model (PO110)."""
    title = "Divergence from the starting model"
    numbers = {"nats": nats, "stop_above": stop_above}
    said = f"A text of the policy is on average {nats:.3g} nats likelier than at the start"
    if nats <= stop_above / 4:
        return Finding("PO110", title, Verdict.PASS, f"{said}.", numbers)
    explanation = (
        f"{said}. So far from texts that the reward was fitted to, a high reward may be an error "
        "of the reward. Raise kl, train for fewer steps or with a smaller learning rate, and read "
        "what the policy writes."
    )
    verdict = Verdict.FAIL if nats > stop_above else Verdict.WARN
    return Finding("PO110", title, verdict, explanation, numbers)


def clipped_ratios(share: float, clip: float) -> Finding:
    """Say how many tokens had left the interval of the surrogate (PO111)."""
    title = "Clipped ratios"
    numbers = {"clipped_share": share, "clip": clip}
    explanation = (
        f"In the last quarter of training {share:.1%} of the ratios lay outside 1 ± {clip:g}."
    )
    if share <= 0.3:
        return Finding("PO111", title, Verdict.PASS, explanation, numbers)
    explanation += (
        " These tokens taught little: the policy moves too far on each rollout. Lower the "
        "learning rate or the passes, or write larger rollouts."
    )
    return Finding("PO111", title, Verdict.WARN, explanation, numbers)


def value_head(explained: float) -> Finding:
    """Say how much of the returns the value head foresees (PO112)."""
    title = "Value head"
    numbers = {"explained_variance": explained}
    if np.isnan(explained):
        explanation = "The returns did not vary, so there was nothing to foresee."
        return Finding("PO112", title, Verdict.NOT_APPLICABLE, explanation, numbers)
    said = f"In the last quarter of training the value head foresaw {explained:.0%} of the variance"
    if explained >= 0:
        return Finding("PO112", title, Verdict.PASS, f"{said} of returns.", numbers)
    explanation = (
        f"{said} of returns: less than a constant would. Advantages are noisier than need be. "
        "Train for longer, or raise value_weight."
    )
    return Finding("PO112", title, Verdict.WARN, explanation, numbers)


def equal_groups(share: float) -> Finding:
    """Say how many groups of texts all earned the same (PO113)."""
    title = "Rewards differ within groups"
    numbers = {"equal_share": share}
    explanation = f"In {share:.0%} of the groups all texts of a prompt earned the same reward."
    if share <= 0.5:
        return Finding("PO113", title, Verdict.PASS, explanation, numbers)
    explanation += (
        " Such groups teach nothing. Write larger groups, choose other prompts, or a reward that "
        "tells more texts apart."
    )
    return Finding("PO113", title, Verdict.WARN, explanation, numbers)
