"""Doubly robust DPO where likelihoods are exact: unbiased if either source is right, and learned.

    python benchmarks/paired_dpo.py

A small language model of the simulated newsletter writes pairs of mails: all that count, a finite
sum. A pair in which one mail alone offers free returns is logged a tenth as often. Readers
prefer free returns and dislike terms and conditions; the wrong model of preferences says the
opposite, the wrong propensities say that all pairs were logged alike.

First the estimate of the loss of one policy over many draws of logged and sampled pairs, beside the
sum; then tunings by each combination, judged on pairs that taught nothing, with plain DPO beside.
"""

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from causalign.lm import SmallModel
from causalign.lm.completions import tokenize
from causalign.lm.generate import sample
from causalign.lm.language_model import LanguageModel
from causalign.lm.logprob import completion_logprobs
from causalign.logs import Pairs
from causalign.policy import DPO, PairedDPO, PairedPreference, Pretraining, Training
from causalign.simulate import Newsletter

BETA, TOKENS = 0.3, 48
CASES = ((True, True), (True, False), (False, True), (False, False))  # propensities, model


class Readers:
    """Prefer the first text with probability σ(r(T) − r(T')); ``sign`` -1 says the opposite."""

    def __init__(self, sign: int = 1) -> None:
        self.sign = sign

    def preference(self, first, second, prompts=None):  # noqa: ARG002
        gap = np.array([worth(a) - worth(b) for a, b in zip(first, second, strict=True)])
        return 1 / (1 + np.exp(-self.sign * gap))


def worth(text: str) -> float:
    return 2.0 * ("free returns" in text) - 1.0 * ("terms and conditions" in text)


@dataclass
class Written:
    """All pairs that count: texts, the chance of each to be logged, and what readers prefer."""

    first: list[str]
    second: list[str]
    logged: np.ndarray
    preference: np.ndarray

    def take(self, rows) -> "Written":
        sides = ([texts[row] for row in rows] for texts in (self.first, self.second))
        return Written(*sides, self.logged[rows], self.preference[rows])

    def differences(self, policy: LanguageModel, start: LanguageModel) -> np.ndarray:
        """Return Δ, by which the policy raised the first text more than the second."""
        ratio = [
            logprobs(policy, texts) - logprobs(start, texts) for texts in (self.first, self.second)
        ]
        return ratio[0] - ratio[1]


def logprobs(model, texts):
    return completion_logprobs(model, tokenize(model.tokenizer, None, texts, max_length=TOKENS + 2))


def write(start: LanguageModel, pairs: int) -> Written:
    texts = sample(start, [None] * 2 * pairs, max_new_tokens=TOKENS, seed=1, batch_size=64).texts
    texts = [text if text.strip() else "Nothing." for text in texts]
    first, second = texts[0::2], texts[1::2]
    apart = [
        ("free returns" in a) != ("free returns" in b) for a, b in zip(first, second, strict=True)
    ]
    chance = np.where(apart, 0.1, 1.0)
    return Written(first, second, chance / chance.sum(), Readers().preference(first, second))


def loss_of(difference, preference):
    """Return the DPO loss, a mean over pairs of known preference."""
    return float(np.mean(np.logaddexp(0, BETA * difference) - preference * BETA * difference))


def estimate(all_pairs: Written, difference, draws: int, size: int) -> None:
    """Print the mean estimate of the loss in each case beside the finite sum."""
    exact = loss_of(difference, all_pairs.preference)
    print(f"\nloss of one policy over {len(difference):,} pairs: {exact:.5f}")
    print(
        f"| propensities | model | mean of {draws} estimates − the sum | standard errors from 0 |"
    )
    print("| --- | --- | --- | --- |")
    for right_propensity, right_model in CASES:
        believed = Readers(1 if right_model else -1).preference(all_pairs.first, all_pairs.second)
        random = np.random.default_rng(2)
        found = [
            one_estimate(all_pairs, difference, believed, right_propensity, size, random)
            for _ in range(draws)
        ]
        gap, error = np.mean(found) - exact, np.std(found) / draws**0.5
        words = f"{right(right_propensity)} | {right(right_model)}"
        print(f"| {words} | {gap:+.5f} | {gap / error:+.1f} |", flush=True)


def one_estimate(all_pairs, difference, believed, right_propensity, size, random) -> float:
    count = len(difference)
    logged = random.choice(count, size, p=all_pairs.logged)
    sampled = random.choice(count, size)
    rows = np.concatenate([logged, sampled])
    won = random.random(size) < all_pairs.preference[logged]
    ratio = 1 / (count * all_pairs.logged[logged]) if right_propensity else np.ones(size)
    flat = np.column_stack([difference[rows], np.zeros(2 * size)]).ravel()
    batch = {
        "reference_logprob": np.zeros(4 * size),
        "share": np.full(2 * size, 1 / size),
        "weight": np.concatenate([ratio, np.ones(size)]),
        "label": np.concatenate([won, np.zeros(size)]),
        "preference": believed[rows],
        "sampled": np.repeat([0.0, 1.0], size),
    }
    tensors = {name: torch.from_numpy(np.asarray(v, dtype=float)) for name, v in batch.items()}
    return float(PairedPreference(BETA)(torch.from_numpy(flat), tensors)[0])


def right(is_right: bool) -> str:
    return "right" if is_right else "wrong"


def learn(start_folder: Path, start, teach: Written, judge: Written, size: int, seeds: int) -> None:
    """Print the loss on pairs that taught nothing after tuning in each case, and after DPO."""
    print(
        f"\n{size} logged pairs teach; loss on {len(judge.first):,} others, {np.log(2):.4f} before"
    )
    print(f"| tuned by | propensities | model | loss, {seeds} seeds | standard error |")
    print("| --- | --- | --- | --- | --- |")
    for name, cases in (("paired-dpo", CASES), ("dpo", [(None, None)])):
        for case in cases:
            losses = [
                tuned(start_folder, start, teach, judge, size, seed, *case) for seed in range(seeds)
            ]
            words = ("–" if part is None else right(part) for part in case)
            error = np.std(losses, ddof=1) / seeds**0.5
            print(
                f"| {name} | {' | '.join(words)} | {np.mean(losses):.4f} | {error:.4f} |",
                flush=True,
            )


def tuned(start_folder, start, teach, judge, size, seed, right_propensity, right_model) -> float:
    random = np.random.default_rng([seed, 7])
    rows = random.choice(len(teach.first), size, p=teach.logged / teach.logged.sum())
    logged = teach.take(rows)
    won = random.random(size) < logged.preference
    sides = [
        (a, b) if w else (b, a) for a, b, w in zip(logged.first, logged.second, won, strict=True)
    ]
    even = np.ones(size)
    pairs = Pairs([a for a, _ in sides], [b for _, b in sides], even, even, np.arange(size))
    given = {"model": str(start_folder), "lora": None, "beta": BETA}
    given["training"] = Training(
        steps=60, batch_size=32, learning_rate=1e-4, max_length=TOKENS + 2, seed=seed
    )
    with tempfile.TemporaryDirectory() as out:
        if right_model is None:
            fit = DPO(**given).fit(pairs, out)
        else:
            drawn = logprobs(start, logged.first) + logprobs(start, logged.second)
            drawn += np.log(logged.logged) if right_propensity else 0.0
            model = Readers(1 if right_model else -1)
            method = PairedDPO(max_new_tokens=TOKENS, **given)
            fit = method.fit(pairs, out, reward=model, log_propensity=drawn)
        return loss_of(judge.differences(fit.language_model(), start), judge.preference)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=4000, help="all pairs that count")
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--teach", type=int, default=512)
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    mails = Newsletter(rows=4000, offer_otherwise=0.3).simulate().logs.completions
    training = Training(batch_size=32, learning_rate=3e-3, weight_decay=0.1, max_length=TOKENS + 2)
    fit = Pretraining(SmallModel(vocabulary=512), 300_000, training).fit(mails)
    print(
        f"the writer: {fit.numbers['held_out_bits_per_byte']:.2f} bits per held-out byte",
        flush=True,
    )
    start = fit.language_model()
    everything = write(start, given.pairs)
    half = np.array_split(np.arange(given.pairs), 2)
    teach, judge = (everything.take(rows) for rows in half)
    with tempfile.TemporaryDirectory() as out:
        even = np.ones(len(teach.first))
        sides = Pairs(teach.first, teach.second, even, even, np.arange(len(even)))
        how = Training(steps=40, batch_size=16, learning_rate=1e-4, max_length=TOKENS + 2)
        some = DPO(model=str(fit.model_folder), lora=None, beta=BETA, training=how).fit(sides, out)
        difference = everything.differences(some.language_model(), start)
    estimate(everything, difference, given.draws, size=256)
    learn(fit.model_folder, start, teach, judge, given.teach, given.seeds)


if __name__ == "__main__":
    main()
