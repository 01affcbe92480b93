"""Lay prompts and completions out in rows, with as little padding and repetition as possible."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from causalign.lm.completions import Completions, Ids

Batch = dict[str, Tensor]
# A token's layers cost about as much as its attention to so many others: six times the width of
# the states by arithmetic, 1,152 for a small model and 3,456 for SmolLM2; masks make it dearer.
_TOKENS_LIKE_LAYERS = 1024


def lay_out(completions: Completions, *, share_prompts: bool) -> Batch:
    """Lay out completions as the tensors that :func:`causalign.lm.logprob.sequence_logprobs` reads.

    ``input_ids`` (r, t); for each of the N completion tokens ``source``, the flat position whose
    hidden state predicts it, ``target``, its id, and ``owner``, its completion; ``length`` (n,).
    Neighbours with the same prompt stand behind one copy of it, ``prompt | first | second``,
    where that is less work; ``segment`` (r, t) then numbers the parts of a row
    and ``position_ids`` count on from the prompt in each.

    Padding stands on the right, where causal attention never looks, so no row needs a mask.
    """
    alone = [[index] for index in range(len(completions))]
    grouped = _neighbours(completions.prompts) if share_prompts else alone
    rows = grouped if _work(completions, grouped) < _work(completions, alone) else alone
    width = max(_width(completions, row) for row in rows)
    ids = np.zeros((len(rows), width), dtype=np.int64)
    position = np.zeros((len(rows), width), dtype=np.int64)
    segment = np.full((len(rows), width), -1, dtype=np.int64)
    source: list[NDArray[np.int64]] = []
    for number, row in enumerate(rows):
        prompt = completions.prompts[row[0]]
        here = len(prompt)
        ids[number, :here], segment[number, :here] = prompt, 0
        position[number, :here] = np.arange(here)
        for part, index in enumerate(row, start=1):
            tokens = completions.completions[index]
            end = here + len(tokens)
            ids[number, here:end], segment[number, here:end] = tokens, part
            position[number, here:end] = len(prompt) + np.arange(len(tokens))
            predictor = np.concatenate([[len(prompt) - 1], np.arange(here, end - 1)])
            source.append(number * width + predictor[: len(tokens)])
            here = end
    lengths = completions.lengths
    target = np.fromiter((i for part in completions.completions for i in part), dtype=np.int64)
    batch = {
        "input_ids": torch.from_numpy(ids),
        "source": torch.from_numpy(np.concatenate(source)),  # (N,)
        "target": torch.from_numpy(target),  # (N,)
        "owner": torch.from_numpy(np.repeat(np.arange(len(lengths)), lengths)),  # (N,)
        "length": torch.from_numpy(lengths),  # (n,)
    }
    if len(rows) < len(completions):
        batch |= {
            "position_ids": torch.from_numpy(position),
            "segment": torch.from_numpy(segment),
        }
    return batch


def order_rows(
    sizes: NDArray[np.int64], *, batch_size: int, steps: int, seed: int
) -> NDArray[np.int64]:
    """Order rows so that batches are of like lengths: those to read, ``(steps * batch_size,)``.

    Every pass shuffles the rows, sorts pools of 32 batches by length, and shuffles the batches.
    Each row is read once before any is read twice. The same seed gives the same order.
    """
    generator = np.random.default_rng([seed, 0x0BDE])
    pool = 32 * batch_size
    needed = steps * batch_size
    passes: list[NDArray[np.int64]] = []
    while sum(len(rows) for rows in passes) < needed:
        rows = generator.permutation(len(sizes))
        rows = np.concatenate(
            [
                chunk[np.argsort(sizes[chunk], kind="stable")]
                for chunk in np.split(rows, range(pool, len(rows), pool))
            ]
        )
        whole = len(rows) // batch_size * batch_size
        batches = generator.permutation(rows[:whole].reshape(-1, batch_size))
        passes.append(np.concatenate([batches.ravel(), rows[whole:]]))
    return np.concatenate(passes)[:needed]


def _neighbours(prompts: Sequence[Ids]) -> list[list[int]]:
    """Group completions that follow each other and have the same prompt."""
    rows: list[list[int]] = []
    for index, prompt in enumerate(prompts):
        if rows and prompts[rows[-1][0]] == prompt:
            rows[-1].append(index)
        else:
            rows.append([index])
    return rows


def _width(completions: Completions, row: Sequence[int]) -> int:
    return len(completions.prompts[row[0]]) + sum(len(completions.completions[i]) for i in row)


def _work(completions: Completions, rows: Sequence[Sequence[int]]) -> int:
    """Return what padded rows cost: each token its layers, and a look at every other of its row."""
    width = max(_width(completions, row) for row in rows)
    return len(rows) * width * (width + _TOKENS_LIKE_LAYERS)
