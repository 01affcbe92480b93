"""Time tuning on pairs against TRL's DPOTrainer on the same batches; print ratios and parts.

python benchmarks/policy.py [--batches 8] [--repeat 3] [--write docs/performance.md]

SmolLM2-135M with LoRA of rank 16 on query and value projections, without dropout, learns from
batches of 8 pairs of Upworthy headlines; the prompt is the lede of the story that both were written
for. Each side trains in a process of its own, taking turns with the others, and the fastest turn
counts. Tokens are those of the pairs (prompt, chosen and rejected, each once), whatever a side pads
or repeats; seconds are of the processor, which neighbours on the machine disturb less than the
clock. Memory is the peak of the process, libraries and model included. The first batch warms up and
the last one ends the clock; neither is timed.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import typer

BATCH, WINDOW, RATE, DRAWN, THREADS = 8, 256, 1e-3, 512, 2
START, END = "<!-- measured -->", "<!-- end -->"
PLAIN = {"gradient_checkpointing": False}
FIRST = {"precompute_ref_log_probs": True}
# name: precision of the model, arguments of DPOConfig
TRL: dict[str, tuple[str, dict[str, Any]]] = {
    "TRL DPO, its defaults": ("float32", {"bf16": True}),
    "TRL DPO, float32": ("float32", {"bf16": False, **PLAIN}),
    "TRL DPO, float32, references first": ("float32", {"bf16": False, **PLAIN, **FIRST}),
    "TRL DPO, bfloat16": ("bfloat16", {"bf16": True, **PLAIN}),
    "TRL DPO, bfloat16, references first": ("bfloat16", {"bf16": True, **PLAIN, **FIRST}),
}
# name: precision of the model, method
OURS = {
    "DPO, float32": ("float32", "dpo"),
    "DPO, bfloat16": ("bfloat16", "dpo"),
    "CausalPreference, float32": ("float32", "weighted"),
    "CausalPreference, bfloat16": ("bfloat16", "weighted"),
    "CausalPreference and fresh texts, float32": ("float32", "doubly-robust"),
    "PPO, float32": ("float32", "ppo"),
}
RIVAL = {p: f"TRL DPO, {p}, references first" for p in ("float32", "bfloat16")}
PARTS = ("generation", "forward", "backward", "optimiser", "rest")


class Clock:
    """Note when steps begin and what their parts take, without the parts within, of processor."""

    def __init__(self) -> None:
        self.starts: list[float] = []
        self.parts: list[dict[str, float]] = []
        self.within = 0.0

    def time(self, owner: Any, name: str, part: str) -> None:
        """Wrap a function so that its time counts for a part of the step."""
        true = getattr(owner, name)

        def timed(*arguments: Any, **more: Any) -> Any:
            outer, self.within = self.within, 0.0
            started = time.process_time()
            try:
                return true(*arguments, **more)
            finally:
                spent = time.process_time() - started
                if self.parts:
                    self.parts[-1][part] += spent - self.within
                self.within = outer + spent

        setattr(owner, name, timed)

    def begin_at(self, owner: Any, name: str) -> None:
        """Let a step begin wherever this function is called."""
        true = getattr(owner, name)

        def begun(*arguments: Any, **more: Any) -> Any:
            self.starts.append(time.process_time())
            self.parts.append(defaultdict(float))
            return true(*arguments, **more)

        setattr(owner, name, begun)

    def timed_steps(self) -> list[dict[str, float]]:
        """Return seconds by part of all steps but the first and the last."""
        seconds = np.diff(self.starts)[1:]
        found = [dict(parts) for parts in self.parts[1:-1]]
        for parts, spent in zip(found, seconds, strict=True):
            parts["rest"] = spent - sum(parts.values())
        return found


def headline_pairs(folder: Path, count: int) -> Any:
    """Return pairs of headlines for one story and its lede; the one clicked more is chosen."""
    from causalign.logs.pairs import Pairs

    columns = ["clickability_test_id", "headline", "lede", "clicks", "impressions"]
    rows = pq.read_table(folder / "upworthy.parquet", columns=columns).to_pylist()
    tests = defaultdict(dict)
    for row in rows:
        lede = re.sub(r"<[^>]*>", "", row["lede"] or "").strip()
        if lede:
            rate = row["clicks"] / row["impressions"]
            tests[row["clickability_test_id"], lede].setdefault(row["headline"], rate)
    found = []
    for (_, lede), rates in tests.items():
        ranked = sorted(rates, key=rates.__getitem__)
        if len(ranked) > 1:
            found.append((f"{lede}\nHeadline:", f" {ranked[-1]}", f" {ranked[0]}"))
    rows = np.random.default_rng(0).permutation(len(found))[:count]
    prompts, chosen, rejected = zip(*(found[row] for row in rows), strict=True)
    ones = np.ones(count)
    return Pairs(chosen, rejected, ones, ones, np.arange(count), prompts)


def training(batch: int, batches: int, precision: str) -> Any:
    from causalign.policy import Training

    return Training(
        steps=batches, batch_size=batch, learning_rate=RATE, warmup=0.0, max_length=WINDOW,
        precision=precision, save_every=10**6,
    )  # fmt: skip


def in_order(pairs: Any, batches: int) -> tuple[Any, list[int]]:
    """Return the first pairs that DPO of ours reads, in its order, and the tokens of each batch."""
    from causalign.lm.language_model import load_language_model
    from causalign.lm.layout import order_rows
    from causalign.policy.dpo import DPO, tokenize_pairs

    settings = DPO(training=training(8, batches, "float32"))
    texts = tokenize_pairs(settings, load_language_model("smollm2"), pairs)
    lengths = texts.lengths.reshape(-1, 2).sum(axis=1)
    prompts = (texts.sizes - texts.lengths)[::2]
    order = order_rows(2 * prompts + lengths, batch_size=BATCH, steps=batches, seed=0)
    tokens = (prompts + lengths)[order].reshape(batches, BATCH).sum(axis=1)
    return pairs.take(order), tokens.tolist()


def as_they_come(sizes: np.ndarray, **_: Any) -> np.ndarray:
    return np.arange(len(sizes))


def run_trl(precision: str, arguments: dict[str, Any], pairs: Any, batches: int) -> Any:
    """Train with TRL on the rows as they come; return its log and the clock."""
    import accelerate
    import datasets
    import torch
    import trl

    from causalign.lm.language_model import Lora, add_lora, load_language_model

    start = load_language_model("smollm2", precision=precision)
    model = add_lora(start, Lora(rank=16, dropout=0.0), seed=0)
    sides = zip(pairs.prompt, pairs.chosen, pairs.rejected, strict=True)
    rows = [{"prompt": p, "chosen": c, "rejected": r} for p, c, r in sides]
    with tempfile.TemporaryDirectory() as folder:
        trainer = trl.DPOTrainer(
            model=model.model,
            args=trl.DPOConfig(
                output_dir=folder,
                per_device_train_batch_size=BATCH,
                max_steps=batches,
                learning_rate=RATE,
                max_length=WINDOW,
                logging_steps=1,
                save_strategy="no",
                report_to="none",
                use_cpu=True,
                disable_tqdm=True,
                **arguments,
            ),
            train_dataset=datasets.Dataset.from_list(rows),
            processing_class=model.tokenizer,
        )
        trainer._get_train_sampler = lambda *_: torch.utils.data.SequentialSampler(rows)
        clock = Clock()
        clock.begin_at(trainer, "training_step")
        clock.time(trainer, "_compute_loss", "forward")
        clock.time(accelerate.Accelerator, "backward", "backward")
        clock.time(torch.optim.AdamW, "step", "optimiser")
        trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry], clock


def run_ours(precision: str, name: str, pairs: Any, batches: int) -> Any:
    """Train with one of our methods; return its log and the clock."""
    import accelerate
    import torch

    from causalign.lm import generate, reference
    from causalign.lm.trainer import ObjectiveTrainer
    from causalign.policy import causal_preference, rows

    rows.order_rows = causal_preference.order_rows = as_they_come
    clock = Clock()
    clock.begin_at(ObjectiveTrainer, "training_step")
    clock.time(ObjectiveTrainer, "compute_loss", "forward")
    clock.time(generate, "_draw", "generation")
    clock.time(accelerate.Accelerator, "backward", "backward")
    clock.time(torch.optim.AdamW, "step", "optimiser")
    with tempfile.TemporaryDirectory() as folder:
        reference.default_cache_folder = lambda: Path(folder)  # nothing is known beforehand
        fit = fitted(precision, name, pairs, batches, Path(folder) / "run")
    return fit.curve["loss"].to_pylist(), clock


def fitted(precision: str, name: str, pairs: Any, batches: int, out: Path) -> Any:
    import pyarrow as pa

    from causalign.logs import Logs
    from causalign.logs.roles import Roles
    from causalign.policy import DPO, PPO, CausalPreference, FreshSamples, Lora, Weighting

    lora = Lora(rank=16, dropout=0.0)
    if name == "dpo":
        return DPO(lora=lora, training=training(BATCH, batches, precision)).fit(pairs, out)
    prompts = [prompt for prompt in pairs.prompt for _ in range(2)]
    texts = [text for pair in zip(pairs.chosen, pairs.rejected, strict=True) for text in pair]
    if name == "ppo":
        method = PPO(
            lora=lora, training=training(BATCH, batches, precision), rollout_size=2 * BATCH,
            max_new_tokens=24, evaluation_texts=0,
        )  # fmt: skip
        return method.fit(prompts, out, reward=lengths)
    table = pa.table({"prompt": prompts, "text": texts, "y": [1.0, 0.0] * len(pairs)})
    method = CausalPreference(
        name, lora=lora, training=training(2 * BATCH, batches, precision), propensity="reference",
        weighting=Weighting(stop_below=1.0), validation_share=0.0,
        samples=FreshSamples(
            refresh_every=2, samples_per_row=1, max_new_tokens=24, evaluation_texts=0
        ),
    )  # fmt: skip
    logs = Logs.of(table, Roles(completion="text", outcome="y", prompt="prompt"))
    model = lengths if name == "doubly-robust" else None
    return method.fit(logs, out, reward=model)


def lengths(texts: Any, _prompts: Any) -> np.ndarray:
    return np.array([len(text) / 100 for text in texts])


def one_side(name: str, batches: int) -> None:
    """Run one side in this process and print what was measured as JSON."""
    import torch

    torch.set_num_threads(THREADS)
    folder = Path(os.environ["CAUSALIGN_DATA"])
    pairs, tokens = in_order(headline_pairs(folder, DRAWN), batches)
    side = TRL.get(name) or OURS[name]
    run = run_trl if name in TRL else run_ours
    losses, clock = run(side[0], side[1], pairs, batches)  # type: ignore[arg-type]
    status = Path("/proc/self/status").read_text()
    print(json.dumps({
        "losses": losses,
        "tokens": tokens,
        "steps": clock.timed_steps(),
        "memory": int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1e6,  # type: ignore[index]
    }))  # fmt: skip


def taking_turns(sides: list[str], batches: int, repeat: int) -> dict[str, list[Any]]:
    """Return what each side measured in each of its turns."""
    found: dict[str, list[Any]] = {side: [] for side in sides}
    # Threads that wait must not spin: neighbours on the machine would then count twice.
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": str(THREADS)}
    for turn in range(repeat):
        for side in sides:
            command = [sys.executable, __file__, "--side", side, "--batches", str(batches)]
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{side}: {done.stderr[-2000:]}")
            found[side].append(json.loads(done.stdout.splitlines()[-1]))
            print(f"turn {turn + 1}: {side}", file=sys.stderr, flush=True)
    return found


def speed(turns: list[Any]) -> float:
    """Return tokens per second: each step counts with its fastest turn."""
    seconds = np.min([[sum(parts.values()) for parts in turn["steps"]] for turn in turns], axis=0)
    return float(sum(turns[0]["tokens"][1:-1]) / seconds.sum())


def memory(turns: list[Any]) -> float:
    return float(np.median([turn["memory"] for turn in turns]))


def rates_table(found: dict[str, list[Any]]) -> list[str]:
    lines = [
        "| side | tokens a second of the processor | GB at peak | times as fast | "
        "share of memory | loss differs by |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for side, turns in found.items():
        rival = RIVAL["bfloat16" if "bfloat16" in side or "defaults" in side else "float32"]
        line = f"| {side} | {speed(turns):.0f} | {memory(turns):.2f} "
        if rival in found:
            line += f"| {speed(turns) / speed(found[rival]):.2f} "
            line += f"| {memory(turns) / memory(found[rival]):.2f} "
            same = side in TRL or OURS[side][1] == "dpo"
            missed = np.subtract(turns[0]["losses"], found[rival][0]["losses"])
            line += f"| {np.abs(missed).max():.1e} |" if same else "| another loss |"
        lines.append(line)
    return lines


def parts_table(found: dict[str, list[Any]]) -> list[str]:
    """Tell each part's share of the time of a step, in its fastest turn."""
    lines = [
        f"| side | {' | '.join(PARTS)} | seconds a step |",
        "| --- |" + " --- |" * (len(PARTS) + 1),
    ]
    for side, turns in found.items():
        totals = [sum(sum(parts.values()) for parts in turn["steps"]) for turn in turns]
        steps = turns[int(np.argmin(totals))]["steps"]
        shares = [sum(parts.get(name, 0.0) for parts in steps) / min(totals) for name in PARTS]
        cells = " | ".join(f"{share:.0%}" for share in shares)
        lines.append(f"| {side} | {cells} | {min(totals) / len(steps):.1f} |")
    return lines


def main(
    side: str = "", batches: int = 8, repeat: int = 3, only: str = "", write: str = ""
) -> None:
    """Compare on the real headlines; ``only`` keeps sides whose name holds it."""
    if not os.environ.get("CAUSALIGN_DATA"):
        print("The environment variable CAUSALIGN_DATA names no folder of real data.")
        sys.exit(0)
    if side:
        one_side(side, batches)
        return
    sides = [name for name in (*TRL, *OURS) if only in name]
    found = taking_turns(sides, batches, repeat)
    lines = [*rates_table(found), "", *parts_table(found)]
    print("\n".join(lines))
    if write:
        page = Path(write).read_text(encoding="utf-8")
        head, tail = page.split(START)[0], page.split(END)[1]
        body = "\n".join([START, *lines, END])
        Path(write).write_text(head + body + tail, encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
