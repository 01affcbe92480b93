"""Show that each method moves its own objective on real texts, and what its steps cost.

python benchmarks/policy_curves.py [--only PPO] [--write docs/methods/policy-curves.md]

SmolLM2-135M (LoRA, bfloat16) and the randomised Hong Kong texts of Fong and Grimmer, those of two
snippets. A third of the texts is set aside: it measures every objective before and after, and
teaches neither a policy nor a reward. SFT starts from the untouched model, all other methods from
what SFT left. Each method runs in a process of its own and is kept in runs/policy-curves; what is
there is not done again, and a run that was killed goes on. Seconds are of the processor.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import typer
from policy import PARTS, Clock
from policy_curves_data import JUDGES, Preference, Texts, pairs_of, read
from policy_curves_page import quarters, tables, write_page

from causalign.results import file_stem

RUNS = Path(__file__).parents[1] / "runs/policy-curves"
PAIRS, WINDOW, NEW_TOKENS, WRITTEN = 96, 96, 60, 256
TEMPERATURE, BETA = 0.7, 0.1
# name: steps, batch size, learning rate, steps from one draw of texts to the next
PLAN = {
    "SFT": (32, 8, 1e-3, 1),
    "SFT, weighted": (16, 8, 3e-4, 1),
    "DPO": (16, 4, 3e-4, 1),
    "DPO, doubly robust": (48, 8, 2e-4, 1),
    "CausalPreference, weighted": (16, 8, 3e-4, 1),
    "CausalPreference, outcome model": (32, 8, 1e-3, 4),
    "CausalPreference, doubly robust": (32, 8, 1e-3, 4),
    "PPO": (24, 8, 1e-3, 4),
    "GRPO": (20, 16, 2e-3, 1),
    "RLOO": (20, 16, 2e-3, 1),
}
Floats = np.ndarray
Scores = dict[str, Any]


def fitted(name: str, texts: Texts, out: Path) -> Any:
    """Tune with one method."""
    from causalign import policy

    steps, batch, rate, cycle = PLAN[name]
    training = policy.Training(
        steps=steps, batch_size=batch, learning_rate=rate, max_length=WINDOW,
        precision="bfloat16", save_every=8,
    )  # fmt: skip
    first = RUNS / file_stem("SFT") / "run/model"
    given = {"training": training, "adapter": None if name == "SFT" else str(first)}
    writing = {"max_new_tokens": NEW_TOKENS, "evaluation_texts": 0}
    kind, _, objective = name.partition(", ")
    if kind == "SFT":
        method = policy.SFT(temperature=TEMPERATURE if objective else None, **given)
        return method.fit(texts.teach, out)
    if kind == "DPO" and not objective:
        return policy.DPO(beta=BETA, **given).fit(pairs_of(texts.teach, PAIRS), out)
    if kind == "DPO":
        robust = next(m for m in policy.METHODS.values() if m().needs == "preference model")
        paired = robust(beta=BETA, propensity="reference", max_new_tokens=NEW_TOKENS, **given)
        return paired.fit(pairs_of(texts.teach, PAIRS), out, reward=Preference(texts))
    if kind == "CausalPreference":
        causal = policy.CausalPreference(
            objective.replace(" ", "-"),
            weighting=policy.Weighting(level="length"),
            samples=policy.FreshSamples(refresh_every=cycle, samples_per_row=2, **writing),
            validation_share=0.0,
            **given,
        )
        model = None if objective == "weighted" else texts.crossed
        return causal.fit(texts.teach, out, reward=model)
    if kind == "PPO":
        proximal = policy.PPO(rollout_size=16, num_ppo_epochs=2, **writing, **given)
        return proximal.fit(None, out, reward=texts.reward)
    group = {"GRPO": policy.GRPO, "RLOO": policy.RLOO}[kind](**writing, **given)
    return group.fit(None, out, reward=texts.reward)


def clocked(name: str) -> Clock:
    """Note when steps begin, when the last one ends, and what their parts take."""
    import accelerate
    import torch

    from causalign.lm import generate
    from causalign.lm.trainer import ObjectiveTrainer
    from causalign.policy import grpo

    clock = Clock()
    if name in ("GRPO", "RLOO"):
        import trl

        trainer = {"GRPO": trl.GRPOTrainer, "RLOO": trl.RLOOTrainer}[name]
        clock.begin_at(trainer, "training_step")
        clock.begin_at(grpo, "_curve")
        clock.time(trainer, "compute_loss", "forward")
        clock.time(trainer, "_get_per_token_logps_and_entropies", "forward")
        clock.time(trainer, "_generate", "generation")
    else:
        clock.begin_at(ObjectiveTrainer, "training_step")
        clock.begin_at(ObjectiveTrainer, "put_best_back")
        clock.time(ObjectiveTrainer, "compute_loss", "forward")
        clock.time(generate, "_drawn", "generation")
    clock.time(accelerate.Accelerator, "backward", "backward")
    clock.time(torch.optim.AdamW, "step", "optimiser")
    return clock


def parts_of(clock: Clock, cycle: int) -> dict[str, float]:
    """Return seconds a step by part; the first cycle warms up, and whole cycles count."""
    seconds = np.diff(clock.starts)
    used = range(cycle, len(seconds) // cycle * cycle)
    found = {part: float(np.mean([clock.parts[s].get(part, 0.0) for s in used])) for part in PARTS}
    found["rest"] = float(seconds[used].mean()) - sum(found.values())
    return found


def seen(model: Any, texts: Texts, names: list[str], of_start: list[str] | None) -> Scores:
    """Return what is asked for of a model.

    ``judged`` are log-probabilities of the judging texts, ``of_start`` of those texts that the
    start wrote; ``written`` are texts of the model's own, always from the same seed.
    """
    from causalign.lm.completions import tokenize
    from causalign.lm.generate import sample
    from causalign.lm.logprob import completion_logprobs

    def scored(completions: list[str]) -> Floats:
        laid = tokenize(model.tokenizer, None, completions, max_length=WINDOW)
        return completion_logprobs(model, laid)

    found = {}
    if "written" in names:
        drawn = sample(model, [None] * WRITTEN, max_new_tokens=NEW_TOKENS, seed=2026)
        found["written"] = np.array(drawn.texts)
        found["cut"] = drawn.completions.cut
    if "of_start" in names:
        found["of_start"] = scored(found["written"].tolist() if of_start is None else of_start)
    if "judged" in names:
        found["judged"] = scored(texts.judge.completions)
    return found


def asked(name: str) -> list[str]:
    """Return what an objective needs to know of a model."""
    kind, _, objective = name.partition(", ")
    if name == "DPO, doubly robust":
        return ["judged", "of_start"]
    if objective == "doubly robust":
        return ["judged", "written"]
    return ["judged"] if kind in ("SFT", "DPO") or objective == "weighted" else ["written"]


def terms(name: str, texts: Texts, now: Scores, start: Scores) -> list[Floats]:
    """Return samples whose means add up to the objective; those of two models match row by row."""
    from transformers import AutoTokenizer

    from causalign.lm.completions import tokenize
    from causalign.lm.smollm2 import smollm2_folder
    from causalign.policy.sft import outcome_log_weights

    kind, _, objective = name.partition(", ")
    judge = texts.judge
    tokenizer = AutoTokenizer.from_pretrained(smollm2_folder())
    length = tokenize(tokenizer, None, judge.completions, max_length=WINDOW).lengths
    if kind == "SFT":
        weight = np.exp(outcome_log_weights(judge, TEMPERATURE if objective else None))
        return [-now["judged"] * weight / (weight @ length) * len(length)]
    if kind == "DPO":
        rows = pairs_of(judge, JUDGES).rows
        gap = BETA * (now["judged"] - start["judged"])
        logit = gap[rows[:, 0]] - gap[rows[:, 1]]
        if not objective:
            return [np.logaddexp(0.0, -logit)]
        gap = BETA * (now["of_start"] - start["of_start"])
        return paired_terms(texts, rows, logit, start["written"].tolist(), gap)
    if kind != "CausalPreference":
        return [texts.reward(now["written"].tolist())]
    if objective == "outcome model":
        return [texts.crossed(now["written"].tolist())]
    weight = np.exp((now["judged"] - judge.numbers("log_propensity")) / length)
    missed = judge.outcome
    if objective == "doubly robust":
        missed = missed - texts.crossed(judge.completions)
    mean = weight @ missed / weight.sum()
    logged = mean + weight * (missed - mean) / weight.mean()
    if objective == "weighted":
        return [logged]
    return [logged, texts.crossed(now["written"].tolist())]


def paired_terms(
    texts: Texts, rows: np.ndarray, logit: Floats, drawn: list[str], gap: Floats
) -> list[Floats]:
    """Return the two sums of the doubly robust DPO loss: logged pairs, and pairs of the start.

    Of the start's texts all pairs count; twice a text's mean over its partners, less the mean of
    all, varies as a U-statistic does.
    """
    believed = Preference(texts).preference
    sides = [[texts.judge.completions[row] for row in side] for side in rows.T]
    first, second = np.indices((len(drawn), len(drawn))).reshape(2, -1)
    prior = believed([drawn[i] for i in first], [drawn[i] for i in second])
    apart = gap[first] - gap[second]
    loss = (np.logaddexp(0.0, apart) - prior * apart).reshape(len(drawn), -1)
    np.fill_diagonal(loss, 0.0)
    each = loss.sum(axis=1) / (len(drawn) - 1)
    return [(believed(*sides) - 1) * logit, 2 * each - each.mean()]


def compared(before: list[Floats], after: list[Floats]) -> dict[str, float]:
    """Return both means, their difference and standard errors, of the difference row by row."""

    def error(parts: list[Floats]) -> float:
        return float(np.sqrt(sum(part.var(ddof=1) / len(part) for part in parts)))

    return {
        "before": sum(float(part.mean()) for part in before),
        "before_error": error(before),
        "after": sum(float(part.mean()) for part in after),
        "after_error": error(after),
        "difference": sum(float((b - a).mean()) for a, b in zip(before, after, strict=True)),
        "error": error([b - a for a, b in zip(before, after, strict=True)]),
    }


def gain_of_better(texts: Texts, name: str) -> str:
    """Return by how many nats judging texts of the better half became likelier than the others."""
    start, now = (np.load(RUNS / file_stem(which) / "seen.npz") for which in ("SFT", name))
    if name == "SFT" or "judged" not in now:
        return "–"
    moved = now["judged"] - start["judged"]
    better = texts.judge.outcome >= np.median(texts.judge.outcome)
    halves = [moved[better], moved[~better]]
    error = np.sqrt(sum(half.var(ddof=1) / len(half) for half in halves))
    return f"{halves[0].mean() - halves[1].mean():+.2f} ± {error:.2f}"


def one_method(name: str) -> None:
    """Tune with one method, measure it, and write what was found to its folder."""
    import torch

    from causalign.lm.language_model import load_language_model

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    texts, folder = read(), RUNS / file_stem(name)
    clock, begun = clocked(name), time.process_time()
    fit = fitted(name, texts, folder / "run")
    tuning = time.process_time() - begun
    tuned = fit.language_model(precision="bfloat16")
    if name == "SFT":
        untouched = load_language_model(precision="bfloat16")
        before = seen(untouched, texts, ["judged"], None)
        after = seen(tuned, texts, ["judged", "written", "of_start"], None)
    else:
        before = dict(np.load(RUNS / file_stem("SFT") / "seen.npz"))
        after = seen(tuned, texts, asked(name), before["written"].tolist())
    np.savez(folder / "seen.npz", **after)
    reference = before if name != "SFT" else after
    found = compared(terms(name, texts, before, reference), terms(name, texts, after, reference))
    told = {
        **found,
        "parts": parts_of(clock, PLAN[name][3]),
        "seconds": tuning,
        "measuring": time.process_time() - begun - tuning,
        "findings": [finding.line() for finding in fit.findings],
        "numbers": dict(fit.numbers),
    }
    (folder / "result.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print(f"{name}: {found['before']:.3f} to {found['after']:.3f}", flush=True)


def main(side: str = "", only: str = "", threads: int = 1, write: str = "") -> None:
    """Tune with what is not done yet; ``only`` keeps methods whose name holds it."""
    if not os.environ.get("CAUSALIGN_DATA"):
        print("The environment variable CAUSALIGN_DATA names no folder of real data.")
        sys.exit(0)
    if side:
        one_method(side)
        return
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": str(threads)}
    stored = {name: RUNS / file_stem(name) / "result.json" for name in PLAN}
    for name, result in stored.items():
        if result.exists() or (only not in name and name != "SFT"):
            continue
        done = subprocess.run([sys.executable, __file__, "--side", name], env=environment)
        if done.returncode:
            sys.exit(f"{name} failed; see above. What was done is kept.")
    results = {name: json.loads(p.read_text()) for name, p in stored.items() if p.exists()}
    texts = read()
    results = {
        name: r | {"gain": gain_of_better(texts, name), "training": quarters(name, RUNS)}
        for name, r in results.items()
    }
    print("\n".join(tables(results)))
    if write:
        write_page(Path(write), results, RUNS)


if __name__ == "__main__":
    typer.run(main)
