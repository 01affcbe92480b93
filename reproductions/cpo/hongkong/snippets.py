"""Texts of two or three snippets, no two about the same thing: who wrote them, and exact sums.

A text is drawn snippet by snippet: each is as likely as the others among those whose treatment the
text does not have yet. So P_R is known. A policy bends this by one logit for each treatment (or for
each snippet), and its value is a sum over the orders in which treatments can follow each other.
"""

import os
import sys
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import Tensor

__all__ = ["TREATMENTS", "Texts", "every_order", "log_policy", "read"]

TREATMENTS = ("treatycommit", "brave", "evil", "flag", "threat", "economy", "treatyviolation")
LENGTHS = (2, 3)


@dataclass(frozen=True)
class Texts:
    """Hold n texts: the treatments of their snippets in order ``(n, 3)``, -1 for none.

    ``sizes`` (7,) is the number of snippets of each treatment, ``lengths`` the share of texts with
    two and with three snippets, ``outcome`` (n,) the support that was stated, 0 to 100.
    """

    order: np.ndarray
    outcome: np.ndarray
    sizes: np.ndarray
    lengths: dict[int, float]

    def present(self) -> np.ndarray:
        """Return which treatments each text has, ``(n, 7)`` of 0 and 1."""
        return (self.order[:, :, None] == np.arange(len(TREATMENTS))).any(axis=1).astype(float)

    def take(self, rows: np.ndarray) -> "Texts":
        """Return the texts at these positions."""
        return Texts(self.order[rows], self.outcome[rows], self.sizes, self.lengths)


def read(name: str) -> Texts:
    """Read wave 1 of Fong and Grimmer; raise ``SystemExit`` where the file is not."""
    path = Path(name)
    if not path.exists():
        path = Path(os.environ.get("CAUSALIGN_DATA", ".")) / name
    if not path.exists():
        sys.exit(f"There is no file {name}. Set CAUSALIGN_DATA to its folder, or give --data FILE.")
    rows = pq.read_table(path).to_pylist()
    treatment = _treatment_of_each_snippet(rows)
    order = np.full((len(rows), 3), -1)
    for row, values in enumerate(rows):
        order[row, : values["numtexts"]] = [treatment[s] for s in _snippets(values)]
    sizes = np.bincount(list(treatment.values()), minlength=len(TREATMENTS))
    lengths = {k: float(np.mean([r["numtexts"] == k for r in rows])) for k in LENGTHS}
    return Texts(order, np.array([float(r["resp"]) for r in rows]), sizes, lengths)


def _snippets(row: dict) -> list[str]:
    return [row[name] for name in ("text1", "text2", "text3") if row[name]]


def _treatment_of_each_snippet(rows: list[dict]) -> dict[str, int]:
    """Return what each snippet is about: the one treatment that all texts with it have."""
    held: dict[str, np.ndarray] = {}
    for row in rows:
        has = np.array([row[name] for name in TREATMENTS], dtype=bool)
        for snippet in _snippets(row):
            held[snippet] = held.get(snippet, True) & has
    unclear = [snippet for snippet, has in held.items() if has.sum() != 1]
    if unclear:
        raise SystemExit(f"{len(unclear)} snippets do not have one treatment each.")
    return {snippet: int(has.argmax()) for snippet, has in held.items()}


def log_policy(logits: Tensor, order: Tensor, sizes: Tensor) -> Tensor:
    """Return log of the probability of treatments in this order, given their number, ``(n,)``.

    ``Π_j n_c e^{θ_c} / Σ_{c' not used before j} n_c' e^{θ_c'}``; with θ = 0 it is P_R.
    """
    mass = sizes * logits.exp()
    there, at = order >= 0, order.clamp(min=0)
    taken = torch.nn.functional.one_hot(at, len(sizes)) * there[:, :, None]
    allowed = 1 - taken.cumsum(1) + taken
    free = (allowed * mass).sum(-1)
    return torch.where(there, mass[at].log() - free.log(), 0.0).sum(1)


def every_order(lengths: dict[int, float]) -> tuple[Tensor, Tensor]:
    """Return all orders of treatments ``(o, 3)``, -1 for none, and the share of their length."""
    parts = [torch.tensor(list(permutations(range(len(TREATMENTS)), k))) for k in lengths]
    padded = [torch.nn.functional.pad(part, (0, 3 - part.shape[1]), value=-1) for part in parts]
    share = [
        torch.full((len(p),), lengths[k]).double() for k, p in zip(lengths, parts, strict=True)
    ]
    return torch.cat(padded), torch.cat(share)
