"""The findings of experiments that are planned, EX201 to EX204; each has a page."""

import numpy as np
from numpy.typing import NDArray

from causalign.results import Finding, Verdict

Array = NDArray[np.float64]


def readers_suffice(needed: Array, readers: int, power: float) -> Finding:
    """EX201: can most of these tests find what is predicted of them?"""
    short = int((needed > readers).sum())
    verdict = Verdict.WARN if 2 * short > len(needed) else Verdict.PASS
    middle = float(np.median(needed))
    words = (
        f"{short} of {len(needed)} tests need more than {readers:,} readers an arm to find the "
        f"predicted difference with {power:.0%} power; the median is {middle:,.0f}"
    )
    if verdict is Verdict.WARN:
        words += ". Together they teach the reward; most of them alone will decide nothing"
    numbers = {"short": float(short), "tests": float(len(needed)), "median_needed": middle}
    return Finding("EX201", "Readers for each test", verdict, f"{words}.", numbers)


def pairs_considered(considered: int, total: int, how: str) -> Finding:
    """EX202: was every pair of candidates considered? ``how`` says which ones were, if not."""
    words = f"{considered:,} of {total:,} pairs that may compete were considered"
    verdict = Verdict.PASS
    if considered < total:
        verdict = Verdict.WARN
        words += f": {how}. Name a group within which texts compete, or give fewer candidates"
    numbers = {"considered": float(considered), "pairs": float(total)}
    return Finding("EX202", "Pairs considered", verdict, f"{words}.", numbers)


def scale_fits(rewards: Array, rate: float | None, scale: str | None) -> Finding:
    """EX203: are the rewards on the scale of the noise?"""
    title, level = "Scale of reward and noise", float(rewards.mean())
    if rate is None:
        words = "The noise is a variance, taken to be in squared units of the reward."
        return Finding("EX203", title, Verdict.NOT_APPLICABLE, words)
    numbers = {"mean_reward": level, "rate": rate}
    looks_like_rates = bool((rewards > 0).all() and (rewards < 1).all() and level < 3 * rate)
    if scale == "logit" and looks_like_rates:
        words, other = "look like rates, and the noise is that of log-odds", "identity"
    elif scale == "identity" and not 0 <= level <= 1:
        words, other = "are no rates, and the noise is that of a rate", "logit"
    else:
        return Finding("EX203", title, Verdict.PASS, "Reward and noise fit each other.", numbers)
    words = (
        f"The predicted rewards (on average {level:.3g}) {words}. If so, gains and readers needed "
        f"are wrong: say that the scale is {other!r}."
    )
    return Finding("EX203", title, Verdict.WARN, words, numbers)


def edits_made(made: int, refused: int) -> Finding:
    """EX204: could most texts be edited so that one marker alone changes?"""
    total = made + refused
    verdict = Verdict.WARN if 2 * refused > total else Verdict.PASS
    words = f"{made:,} of {total:,} edits changed one marker alone; {refused:,} were refused"
    if verdict is Verdict.WARN:
        words += ". Read the reasons, or let a command rewrite the texts"
    numbers = {"made": float(made), "refused": float(refused)}
    return Finding("EX204", "Minimal pairs", verdict, f"{words}.", numbers)
