"""The findings of policies, PO103 to PO134; each has a page in ``checks/pages``."""

import numpy as np

from causalign.results import Finding, Verdict


def clipped_weights(share: float, clip: float | None) -> Finding:
    """How many weights were clipped (PO103)?"""
    title = "Clipped weights"
    if clip is None:
        explanation = "No clipping was asked for."
        return Finding("PO103", title, Verdict.NOT_APPLICABLE, explanation)
    numbers = {"clipped_share": share, "clip": clip}
    explanation = f"{share:.1%} of the weights exceeded {clip:g} and were clipped to it."
    if share <= 0.05:
        return Finding("PO103", title, Verdict.PASS, explanation, numbers)
    explanation += " So large a share biases the value; clip higher, or move the policy less far."
    return Finding("PO103", title, Verdict.WARN, explanation, numbers)


def typical_texts(coverage: float | None, level: float = 0.9) -> Finding:
    """Are the logged texts such as the policy writes (PO104)?"""
    title = "Logged texts typical for the policy"
    if coverage is None:
        explanation = "The policy wrote no texts to compare with."
        return Finding("PO104", title, Verdict.NOT_APPLICABLE, explanation)
    numbers = {"coverage": coverage, "level": level}
    seen = (
        f"{coverage:.0%} of the logged texts are as likely under the policy as {level:.0%} of its "
        "own"
    )
    if coverage >= 0.7:
        return Finding("PO104", title, Verdict.PASS, f"{seen}.", numbers)
    verdict = Verdict.FAIL if coverage < 0.2 else Verdict.WARN
    explanation = (
        f"{seen}. The policy mostly writes what the log does not hold, and no weight can tell what "
        "such texts cause. Fine-tune on the logged texts first, or log texts from the policy."
    )
    return Finding("PO104", title, verdict, explanation, numbers)


def read_whole(cut: int, shortened: int, total: int, limit: int, what: str) -> Finding:
    """How many completions lost their end, and how many prompts their beginning (PO105)?

    ``what`` was read, ``"completions"`` or ``"prompts"``, of at most ``limit`` tokens.
    """
    title = "Prompts and completions read whole"
    counts = {"cut": cut, "shortened": shortened, what: total, "max_length": limit}
    numbers = {name: float(value) for name, value in counts.items()}
    if cut + shortened == 0:
        beside = " with their prompts" if what == "completions" else ""
        explanation = f"All {total:,} {what} fit into {limit:,} tokens{beside}."
        return Finding("PO105", title, Verdict.PASS, explanation, numbers)
    parts = []
    if cut:
        parts.append(
            f"{cut:,} of {total:,} completions lost their end at {limit:,} tokens: the policy "
            "learns their beginnings, and their weights are too large."
        )
    if shortened:
        parts.append(
            f"{shortened:,} of {total:,} prompts ({shortened / total:.0%}) lost their beginning at "
            f"{limit:,} tokens: the policy answers what it was not asked."
        )
    parts.append("Raise max_length if the model's window allows it, or leave these rows out.")
    verdict = Verdict.FAIL if cut > 0.5 * total else Verdict.WARN
    return Finding("PO105", title, verdict, " ".join(parts), numbers)


def typed_control_tokens(
    typed: int, total: int, example: str | None, start: str | None = None
) -> Finding:
    """How many texts name a token that steers the model (PO131)?

    ``start`` is the end token where texts of their own begin with it, for want of a start token.
    """
    title = "Control tokens in texts"
    numbers = {"typed": float(typed), "texts": float(total)}
    if typed == 0:
        explanation = "No text names a control token of the model."
        if start is not None:
            explanation += (
                f" Texts without a prompt begin behind the end token {start!r}: the tokenizer has "
                "no start token."
            )
        return Finding("PO131", title, Verdict.PASS, explanation, numbers)
    explanation = (
        f"{typed:,} of {total:,} texts name a control token of the model"
        + (f", such as {example!r}" if example else "")
        + ". It was read as plain characters, so that nobody who typed it ends a text or opens a "
        "turn. If it is markup of your own, take it out of the texts: chat=True writes it."
    )
    return Finding("PO131", title, Verdict.WARN, explanation, numbers)


def chat_template(chat: bool, end: str, closing: str, date: str | None) -> Finding:
    """Does the chat template end texts as the tokenizer does, whatever the day (PO132)?

    ``end`` is the tokenizer's end-of-text token, ``closing`` the token with which the template
    closes a turn, ``date`` the one that it was made to write.
    """
    title = "Chat template"
    sentences = []
    if closing != end and chat:
        sentences.append(
            f"The chat template closes a turn with {closing!r}, the tokenizer ends a text with "
            f"{end!r}. Texts were learned with {closing!r} and end at either; a program that stops "
            f"at {end!r} alone lets the policy write on."
        )
    elif closing != end:
        sentences.append(
            f"Texts were learned with the end token {end!r}, but the model's chat template closes "
            f"a turn with {closing!r}. If the policy is to answer in the template, use chat=True."
        )
    if date and chat:
        sentences.append(
            f"The chat template writes the date of the day; {date} stands there, today as later."
        )
    if sentences:
        return Finding("PO132", title, Verdict.WARN, " ".join(sentences))
    explanation = f"Texts and turns end with {end!r}."
    return Finding("PO132", title, Verdict.PASS, explanation)


def lossless_tokens(altered: int, total: int) -> Finding:
    """How many texts do their tokens not give back (PO133)?"""
    title = "Tokens give the texts back"
    numbers = {"altered": float(altered), "texts": float(total)}
    explanation = f"The tokens of {altered:,} of {total:,} completions give another text back."
    if altered <= 0.01 * total:
        return Finding("PO133", title, Verdict.PASS, explanation, numbers)
    explanation += (
        " The tokenizer drops or changes characters (unknown ones, capitals, spaces), so the "
        "policy learns other texts than those whose outcome was logged. Use a model whose "
        "tokenizer knows them, or write the logged texts as it does."
    )
    return Finding("PO133", title, Verdict.WARN, explanation, numbers)


def reward_of_silence(share: float, empty: float, written: float) -> Finding:
    """Does the reward pay for writing nothing (PO134)?

    ``share`` of the texts of the starting model earn less than an empty text does, ``empty`` on
    average, and ``written`` is the mean of what they earn.
    """
    title = "Reward of empty texts"
    numbers = {"share_below": share, "reward_empty": empty, "reward_written": written}
    explanation = (
        f"An empty text earns {empty:.4g}, more than {share:.0%} of what the starting model "
        f"writes, which earns {written:.4g} on average."
    )
    if share <= 0.5:
        return Finding("PO134", title, Verdict.PASS, explanation, numbers)
    explanation += (
        " The policy is paid for writing nothing. Fit the reward on logs with short and empty "
        "texts, or give it a price of its own for them."
    )
    return Finding("PO134", title, Verdict.WARN, explanation, numbers)


def logging_policy(propensity_is_reference: bool) -> Finding:
    """Is the logging policy taken to be the model that is tuned (PO107)?"""
    title = "Logging policy"
    if not propensity_is_reference:
        explanation = "The logging propensities do not come from the model that is tuned."
        return Finding("PO107", title, Verdict.PASS, explanation)
    explanation = (
        "The logging policy is taken to be the starting model itself, so every weight starts at "
        "one and nothing can contradict it. It holds only if that very model wrote the logged "
        "texts, at temperature 1."
    )
    return Finding("PO107", title, Verdict.WARN, explanation)


def training_end(reason: str | None, step: int, steps: int) -> Finding:
    """Did training run to its end (PO108)?"""
    title = "Training ran to its end"
    numbers = {"kept_step": float(step), "steps": float(steps)}
    if reason is None:
        return Finding("PO108", title, Verdict.PASS, f"All {steps} steps were made.", numbers)
    explanation = (
        f"Training stopped by itself: {reason}. The model of step {step} of {steps} was kept"
        + (", which is the untouched starting model." if step == 0 else ".")
    )
    return Finding("PO108", title, Verdict.FAIL, explanation, numbers)


def sampled_texts(empty: int, cut: int, total: int) -> Finding:
    """How many of the texts that the policy wrote are empty or did not end (PO109)?"""
    title = "Sampled texts are texts"
    numbers = {"empty": float(empty), "cut": float(cut), "texts": float(total)}
    if total == 0:
        explanation = "The policy wrote no texts."
        return Finding("PO109", title, Verdict.NOT_APPLICABLE, explanation, numbers)
    explanation = (
        f"Of {total:,} texts that the policy wrote, {empty:,} are empty and {cut:,} did not end "
        "within max_new_tokens."
    )
    if empty + cut <= 0.1 * total:
        return Finding("PO109", title, Verdict.PASS, explanation, numbers)
    explanation += (
        " The outcome model was never fitted to such texts. Raise max_new_tokens, or fine-tune "
        "on the logged texts first."
    )
    return Finding("PO109", title, Verdict.WARN, explanation, numbers)


def divergence(nats: float, stop_above: float) -> Finding:
    """How far has the policy moved from the starting model (PO110)?"""
    title = "Divergence from the starting model"
    numbers = {"nats": nats, "stop_above": stop_above}
    seen = f"A text of the policy is on average {nats:.3g} nats likelier than at the start"
    if nats <= stop_above / 4:
        return Finding("PO110", title, Verdict.PASS, f"{seen}.", numbers)
    explanation = (
        f"{seen}. So far from texts that the reward was fitted to, a high reward may be an error "
        "of the reward. Raise kl_coef, train for fewer steps or with a smaller learning rate, and "
        "read what the policy writes."
    )
    verdict = Verdict.FAIL if nats > stop_above else Verdict.WARN
    return Finding("PO110", title, verdict, explanation, numbers)


def clipped_ratios(share: float, clip: float) -> Finding:
    """How many tokens had left the interval of the surrogate (PO111)?"""
    title = "Clipped ratios"
    numbers = {"clipped_share": share, "clip": clip}
    explanation = (
        f"In the last quarter of training {share:.1%} of the ratios lay outside 1 ± {clip:g}."
    )
    if share <= 0.3:
        return Finding("PO111", title, Verdict.PASS, explanation, numbers)
    explanation += (
        " Nothing is learned from these tokens: the policy moves too far on each rollout. Lower "
        "the learning rate or num_ppo_epochs, or write larger rollouts."
    )
    return Finding("PO111", title, Verdict.WARN, explanation, numbers)


def value_head(explained: float) -> Finding:
    """How much of the returns does the value head predict (PO112)?"""
    title = "Value head"
    numbers = {"explained_variance": explained}
    if np.isnan(explained):
        explanation = "The returns did not vary, so there was nothing to predict."
        return Finding("PO112", title, Verdict.NOT_APPLICABLE, explanation, numbers)
    seen = (
        f"In the last quarter of training the value head predicted {explained:.0%} of the variance"
    )
    if explained >= 0:
        return Finding("PO112", title, Verdict.PASS, f"{seen} of returns.", numbers)
    explanation = (
        f"{seen} of returns: less than a constant would. Advantages are noisier than need be. "
        "Train for longer, or raise vf_coef."
    )
    return Finding("PO112", title, Verdict.WARN, explanation, numbers)


def equal_groups(share: float) -> Finding:
    """In how many groups did all texts earn the same (PO113)?"""
    title = "Rewards differ within groups"
    numbers = {"equal_share": share}
    explanation = f"In {share:.0%} of the groups all texts of a prompt earned the same reward."
    if share <= 0.5:
        return Finding("PO113", title, Verdict.PASS, explanation, numbers)
    explanation += (
        " Nothing is learned from such groups. Write larger groups, choose other prompts, or a "
        "reward that tells more texts apart."
    )
    return Finding("PO113", title, Verdict.WARN, explanation, numbers)
