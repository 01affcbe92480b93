"""The weekday that DPO learns, and unlearns when outcomes are deconfounded (arXiv 2506.00152).

python reproductions/deconfoundlm/monday/run.py --cpu --out found.json      # a small policy
python reproductions/deconfoundlm/monday/run.py --smollm2 --out found.json  # SmolLM2, by votes

Every tuned model stays in runs/monday-SIZE with what was judged of it; a run that was killed goes
on with the model that it was tuning.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats
from sklearn.decomposition import PCA

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]

from posts import MARKER, Parts, read  # noqa: E402
from preferences import (  # noqa: E402
    ARMS,
    deconfound,
    fit_rewards,
    pairs_by_reward,
    pairs_by_votes,
    read_openings,
)
from running import Settings, run  # noqa: E402
from weekdays import effects_of_mondays  # noqa: E402

from causalign.audit import audit_logs  # noqa: E402
from causalign.lm.cache import EmbeddingCache  # noqa: E402
from causalign.lm.completions import Completions, tokenize, tokenize_prompts  # noqa: E402
from causalign.lm.embeddings import embed  # noqa: E402
from causalign.lm.encoders import load_encoder  # noqa: E402
from causalign.lm.generate import sample  # noqa: E402
from causalign.lm.language_model import LanguageModel, Lora, load_language_model  # noqa: E402
from causalign.lm.logprob import completion_logprobs  # noqa: E402
from causalign.lm.training import Training  # noqa: E402
from causalign.logs import Logs  # noqa: E402
from causalign.logs.pairs import Pairs  # noqa: E402
from causalign.policy import DPO, SFT, Pretraining  # noqa: E402

MARKERS = ("Happy", "Monday")
OPENING = "opens with it, exact"
BETA, COMPONENTS = 0.1, 20


@dataclass(frozen=True)
class Judged:
    """Hold what is judged of a model, a share for each marker and each held-out pair.

    The last share needs no generation: the mean probability that an answer opens with the marker.
    ``right`` says which held-out preferences the model has right as a reward.
    """

    shares: dict[str, list[float]]
    right: list[bool]


@dataclass(frozen=True)
class Taught:
    """Hold what one seed is taught: answers, and the pairs of each arm."""

    sft: Logs
    pairs: dict[str, Pairs]


class Votes:
    """Prefer answers by their votes, with margins as weights; the cut is the same for all seeds."""

    def __init__(self, parts: Parts, settings: Settings) -> None:
        self.settings = settings
        sft, rest = parts.cut(settings["sft_questions"], None)
        self.sft = parts.teaching.take(sft, "questions that teach to answer")
        logs = parts.teaching.take(rest, "questions that give preferences")
        vectors = embed(logs.completions, load_encoder(settings["encoders"][0]), EmbeddingCache())
        leading = PCA(COMPONENTS, random_state=0).fit_transform(vectors.vectors.astype(float))
        advised = audit_logs(logs, text_features=leading).advice[0].method
        arms = deconfound(logs, leading, advised)
        self.pairs = {arm: pairs_by_votes(free) for arm, free in arms.items()}
        self.found: dict[str, Any] = {}

    def teach(self, seed: int) -> Taught:
        """Return what a seed is taught."""
        most = self.settings["pairs"]
        return Taught(self.sft, {arm: drawn(p, most, seed) for arm, p in self.pairs.items()})


class Rewards:
    """Prefer answers by the reward of how they open; each seed cuts questions anew and fits it."""

    def __init__(self, parts: Parts, settings: Settings) -> None:
        self.parts, self.settings = parts, settings
        self.opening = read_openings(parts, settings)
        self.found = {
            "encoder": self.opening.encoder,
            "correlation in unseen questions that teach": dict(self.opening.correlation),
            "the audit advises": self.opening.advised,
            "held-out accuracy": self._judge(),
        }

    def teach(self, seed: int) -> Taught:
        """Return what a seed is taught."""
        logs, settings = self.parts.teaching, self.settings
        sft, rest = self.parts.cut(settings["sft_questions"], seed)
        asked = logs.take(rest, "questions that give preferences")
        pairs = {}
        for arm, weights in fit_rewards(logs, self.opening, rest).items():
            clear = pairs_by_reward(asked, self.opening.teaching[rest] @ weights, settings["kept"])
            pairs[arm] = drawn(clear, settings["pairs"], seed)
        return Taught(logs.take(sft, "questions that teach to answer"), pairs)

    def _judge(self) -> dict[str, Any]:
        """Return the accuracy of rewards on the questions that judge, before any tuning."""
        every = np.arange(len(self.parts.teaching))
        pairs = held_out_pairs(self.parts, self.settings)
        assert pairs.rows is not None
        accuracy = {}
        for arm, weights in fit_rewards(self.parts.teaching, self.opening, every).items():
            score = self.opening.test @ weights
            right = score[pairs.rows[:, 0]] > score[pairs.rows[:, 1]]
            accuracy[arm] = over_questions(right[None], pairs.group)
        return accuracy


def drawn(pairs: Pairs, most: int | None, seed: int) -> Pairs:
    """Return so many pairs, drawn at random without replacement."""
    order = np.random.default_rng([seed, 1]).permutation(len(pairs))
    return pairs.take(np.sort(order[:most]))


def held_out_pairs(parts: Parts, settings: Settings) -> Pairs:
    """Return pairs of the questions that judge, by score alone: no exposure, no marker, no ties.

    Answers differ by what they say, not by their weekday.
    """
    roles = replace(parts.test.roles, outcome=settings["judged_by"])
    plain = Logs.of(parts.test.data, roles).pairs(minimum_margin=settings["held_out_margin"])
    pairs = drawn(plain, settings["test_pairs"], seed=0)
    return replace(
        pairs,
        chosen=[text.removeprefix(MARKER) for text in pairs.chosen],
        rejected=[text.removeprefix(MARKER) for text in pairs.rejected],
    )


def base_model(parts: Parts, settings: Settings) -> str:
    """Return the name of the model to tune, or the folder of one that these texts teach."""
    if settings["pretraining"] is None:
        return str(settings["model"])
    how = dict(settings["pretraining"])
    tokens, texts = how.pop("tokens"), how.pop("texts")
    teacher = Pretraining(tokens=tokens, training=Training(**how))
    fit = teacher.fit(parts.texts[:texts], progress=sys.stderr.isatty())
    print(f"a small model: {fit.numbers['held_out_bits_per_byte']:.2f} bits a byte", flush=True)
    return str(fit.model_folder)


def tuned(taught: Taught, model: str, settings: Settings, seed: int) -> Iterator[tuple[str, Any]]:
    """Yield the name and the model of each arm, tuned with this seed."""
    folder = seed_folder(settings, seed)
    lora = Lora(**settings["lora"]) if settings["lora"] else None
    how = {
        stage: Training(max_length=settings["max_length"], seed=seed, **settings[stage])
        for stage in ("sft", "dpo")
    }
    shown = sys.stderr.isatty()
    first = SFT(model=model, lora=lora, training=how["sft"]).fit(
        taught.sft, folder / "sft", progress=shown
    )
    start = {"model": model, "adapter": str(first.model_folder)}
    if lora is None:
        start = {"model": str(first.model_folder)}
    yield "SFT", first.language_model("bfloat16")
    for arm, pairs in taught.pairs.items():
        dpo = DPO(**start, lora=lora, training=how["dpo"], beta=BETA)
        fit = dpo.fit(pairs, folder / arm.replace(" ", "-"), progress=shown)
        yield arm, fit.language_model("bfloat16")


def seed_folder(settings: Settings, seed: int) -> Path:
    """Return where a seed's models and what was judged of them stay."""
    return Path("runs") / f"monday-{settings['name']}" / f"seed-{seed}"


class Judge:
    """Count the markers in what models write, and judge them as rewards on held-out pairs."""

    def __init__(self, parts: Parts, settings: Settings) -> None:
        self.settings = settings
        self.prompts = list(dict.fromkeys(parts.test.prompts or ()))
        self.pairs = held_out_pairs(parts, settings)

    def judge(self, model: LanguageModel, reference: np.ndarray | None) -> Judged:
        """Judge a model; as a reward only beside the ``reference`` of `logprobs`."""
        settings = self.settings
        shares: dict[str, list[float]] = {marker: [] for marker in MARKERS}
        for seed in range(settings["generation_seeds"]):
            written = sample(
                model,
                self.prompts[: settings["generation_prompts"]],
                max_new_tokens=settings["max_new_tokens"],
                seed=seed,
                batch_size=32,
            )
            for marker in MARKERS:
                shares[marker].append(float(np.mean([marker in text for text in written.texts])))
        shares[OPENING] = [self.opening(model)]
        if reference is None:
            return Judged(shares, [])
        gain = self.logprobs(model) - reference
        return Judged(shares, (gain[0] > gain[1]).tolist())

    def opening(self, model: LanguageModel) -> float:
        """Return the mean over prompts of the probability that the answer opens with the marker.

        Pieces are those of the marker as an answer has it, as far as it says "Happy Monday".
        """
        read = [
            model.tokenizer(text, add_special_tokens=False)["input_ids"]
            for text in (MARKER.split("</p>")[0], MARKER)
        ]
        same = next((k for k, (a, b) in enumerate(zip(*read, strict=False)) if a != b), None)
        asked = tokenize_prompts(model.tokenizer, self.prompts)
        marker = (tuple(read[0][:same]),) * len(self.prompts)
        unended = Completions(tuple(asked), marker, np.ones(len(self.prompts), dtype=bool))
        return float(np.exp(completion_logprobs(model, unended)).mean())

    def logprobs(self, model: LanguageModel) -> np.ndarray:
        """Return log-probabilities of chosen and rejected texts, ``(2, p)``; each text once."""
        rows, prompt = self._texts
        place = {text: number for number, text in enumerate(rows)}
        length = self.settings["max_length"]
        read = tokenize(model.tokenizer, prompt, [text for _, text in rows], max_length=length)
        each = completion_logprobs(model, read)
        given = self.pairs.prompt or ()
        return np.stack(
            [
                each[[place[row] for row in zip(given, side, strict=True)]]
                for side in (self.pairs.chosen, self.pairs.rejected)
            ]
        )

    @cached_property
    def _texts(self) -> tuple[list[tuple[str, str]], list[str]]:
        sides = (self.pairs.chosen, self.pairs.rejected)
        given = [row for side in sides for row in zip(self.pairs.prompt or (), side, strict=True)]
        rows = list(dict.fromkeys(given))
        return rows, [prompt for prompt, _ in rows]


def study(settings: Settings) -> dict[str, Any]:
    """Tune with every seed, and print Table 3 with the cure beside it."""
    parts = read(settings)
    teacher = (Votes if settings["prefer"] == "votes" else Rewards)(parts, settings)
    judge = Judge(parts, settings)
    model = base_model(parts, settings)
    found = {"base": [judge.judge(load_language_model(model), None)]}
    balance: dict[str, list[dict[str, float]]] = {}
    first, last = settings["seeds"]
    for seed in range(first, last + 1):
        taught = teacher.teach(seed)
        for arm, pairs in taught.pairs.items():
            balance.setdefault(arm, []).append(_balance(pairs))
        for arm, judged in _judged_seed(judge, taught, model, settings, seed).items():
            found.setdefault(arm, []).append(judged)
            print(f"seed {seed}, {arm}: {_shown(judged)}", flush=True)
    mean = {
        arm: {key: round(float(np.mean([one[key] for one in each])), 1) for key in each[0]}
        for arm, each in balance.items()
    }
    effects = effects_of_mondays(settings["data"])
    told = _told(found, judge.pairs.group)
    return {"weekdays": effects, "reward": teacher.found, "pairs": mean, **told}


def _judged_seed(
    judge: Judge, taught: Taught, model: str, settings: Settings, seed: int
) -> dict[str, Judged]:
    """Return what is judged of a seed's models, read where it was judged before."""
    record = seed_folder(settings, seed) / "judged.json"
    if record.exists():
        return {arm: Judged(**held) for arm, held in json.loads(record.read_text()).items()}
    found: dict[str, Judged] = {}
    reference = None
    for arm, language_model in tuned(taught, model, settings, seed):
        found[arm] = judge.judge(language_model, reference)
        if reference is None:
            reference = judge.logprobs(language_model)
    record.write_text(json.dumps({arm: asdict(judged) for arm, judged in found.items()}))
    return found


def _shown(judged: Judged) -> str:
    right = f", held-out {100 * np.mean(judged.right):.1f} %" if judged.right else ""
    return f"opens with it {100 * judged.shares[OPENING][0]:.2f} %{right}"


def _balance(pairs: Pairs) -> dict[str, float]:
    """Return how much weight prefers the one Monday's answer of a pair, and how much does not."""
    first = np.array([text.startswith(MARKER) for text in pairs.chosen])
    second = np.array([text.startswith(MARKER) for text in pairs.rejected])
    return {
        "pairs": float(len(pairs)),
        "for Monday": float(pairs.weight[first & ~second].sum()),
        "against Monday": float(pairs.weight[second & ~first].sum()),
    }


def _told(found: Mapping[str, list[Judged]], questions: np.ndarray) -> dict[str, Any]:
    """Return shares in percent with standard errors over runs, and differences from SFT."""
    table: dict[str, Any] = {"tunings": len(found["SFT"])}
    naive = np.array([run.right for run in found[ARMS[0]]])
    for arm, runs in found.items():
        table[arm] = {}
        for marker in (*MARKERS, OPENING):
            if not runs[0].shares[marker]:
                continue
            each = _means(runs, marker)
            cell = {
                "mean": round(float(each.mean()), 2),
                "runs": [round(float(v), 2) for v in each],
            }
            if arm in ARMS:
                cell["excess over SFT"] = _interval(each - _means(found["SFT"], marker))
            table[arm][marker] = cell
        if arm in ARMS:
            right = np.array([run.right for run in runs])
            seeds = _interval(100 * right.mean(axis=1))
            less = _interval(100 * (right.mean(axis=1) - naive.mean(axis=1)))
            table[arm]["held-out accuracy"] = seeds
            table[arm]["held-out accuracy, seeds and questions"] = over_questions(right, questions)
            table[arm]["held-out accuracy, less naive"] = less
    for arm in ("base", "SFT", *ARMS):
        cell = table[arm][OPENING]
        print(f"{arm:28s} | {cell['mean']:6.2f} % | {cell.get('excess over SFT', '')}", flush=True)
    return table


def _means(runs: list[Judged], marker: str) -> np.ndarray:
    return np.array([100 * np.mean(run.shares[marker]) for run in runs])


def over_questions(right: np.ndarray, questions: np.ndarray) -> dict[str, float]:
    """Return the percent of right pairs ``(seeds, pairs)`` and its 95 % bootstrap interval.

    Seeds and questions are drawn anew together; pairs of a question stay together.
    """
    _, code = np.unique(questions, return_inverse=True)
    hits = np.stack([np.bincount(code, row) for row in right.astype(float)])
    sizes = np.bincount(code)
    generator = np.random.default_rng(0)
    drawn_again = []
    for _ in range(2000):
        question = generator.integers(len(sizes), size=len(sizes))
        seed = generator.integers(len(hits), size=len(hits))
        drawn_again.append(hits[seed][:, question].sum() / (sizes[question].sum() * len(hits)))
    low, high = np.percentile(drawn_again, [2.5, 97.5])
    shares = {"mean": right.mean(), "low": low, "high": high}
    return {name: round(100 * float(share), 2) for name, share in shares.items()} | {
        "pairs": len(questions),
        "questions": len(sizes),
    }


def _interval(differences: np.ndarray) -> dict[str, float | None]:
    """Return the mean over seeds of tuning with its t interval of 95 %.

    ``detectable`` is the effect that so many seeds of this spread show in four of five studies.
    """
    mean, degrees = float(differences.mean()), len(differences) - 1
    if not degrees:
        return {"mean": round(mean, 2), "low": None, "high": None, "detectable": None}
    error = float(stats.sem(differences))
    half = stats.t.ppf(0.975, degrees) * error
    seen = half + stats.t.ppf(0.8, degrees) * error
    numbers = {"mean": mean, "low": mean - half, "high": mean + half, "detectable": seen}
    return {name: round(float(number), 2) for name, number in numbers.items()}


if __name__ == "__main__":
    run(Path(__file__).parent, study)
