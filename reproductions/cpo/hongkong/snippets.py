"""Texts of two or three treatments: with which probability each was written, and exact sums.

The file shows the design: a text is a commitment by treaty and one or two of six other treatments,
or two of the six; all sets of a kind are equally likely, their order is random, and each treatment
is worded by one of its snippets at random. So P_R is known. A policy bends it by one logit for each
treatment, and every expectation is a sum over 36 sets.
"""

import sys
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import Tensor

__all__ = ["SETS", "TREATMENTS", "Design", "Texts", "log_policy", "read"]

TREATMENTS = ("treatycommit", "brave", "evil", "flag", "threat", "economy", "treatyviolation")
OTHERS = range(1, len(TREATMENTS))
# With the commitment and one other, with it and two others, two others without it.
KINDS = (
    [(0, c) for c in OTHERS],
    [(0, *pair) for pair in combinations(OTHERS, 2)],
    list(combinations(OTHERS, 2)),
)
SETS = np.array(
    [[c in chosen for c in range(len(TREATMENTS))] for kind in KINDS for chosen in kind]
).astype(float)


@dataclass(frozen=True)
class Design:
    """Hold P_R of the 36 sets: the share of each kind, divided evenly."""

    shares: tuple[float, ...]

    def log_probability(self) -> np.ndarray:
        """Return log P_R, ``(36,)``."""
        each = [
            [share / len(kind)] * len(kind) for share, kind in zip(self.shares, KINDS, strict=True)
        ]
        return np.log(np.concatenate(each))


@dataclass(frozen=True)
class Texts:
    """Hold n texts: which of the 36 sets each has ``(n,)``, and the support that was stated."""

    chosen: np.ndarray
    outcome: np.ndarray
    design: Design

    def present(self) -> np.ndarray:
        """Return which treatments each text has, ``(n, 7)`` of 0 and 1."""
        return SETS[self.chosen]

    def take(self, rows: np.ndarray) -> "Texts":
        """Return the texts at these positions."""
        return Texts(self.chosen[rows], self.outcome[rows], self.design)


def read(path: Path) -> Texts:
    """Read wave 1 of Fong and Grimmer; raise ``SystemExit`` where it is not what it should be."""
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    present = np.array([[row[name] for name in TREATMENTS] for row in rows], dtype=float)
    same = (present[:, None, :] == SETS).all(axis=2)
    if not same.any(axis=1).all():
        sys.exit("A text has treatments that the design does not allow.")
    chosen = same.argmax(axis=1)
    edges = np.cumsum([len(kind) for kind in KINDS])
    shares = np.bincount(np.searchsorted(edges, chosen, side="right"), minlength=3) / len(rows)
    outcome = np.array([float(row["resp"]) for row in rows])
    return Texts(chosen, outcome, Design(tuple(shares)))


def log_policy(logits: Tensor, design: Design) -> Tensor:
    """Return ``log π = log P_R + Σ_c θ_c z_c - log Z`` of the 36 sets."""
    tilted = torch.tensor(design.log_probability()) + torch.tensor(SETS) @ logits
    return tilted.log_softmax(0)
