"""Texts of two or three treatments: with which probability each was written.

The file shows the design: a text is a commitment by treaty and one or two of six other treatments,
or two of the six; all sets of a kind are equally likely, their order is random, and each treatment
is worded by one of its snippets at random. So P_R is known. A policy bends it by one logit for each
treatment, and every expectation is a sum over 36 sets.
"""

import sys
from dataclasses import dataclass
from itertools import combinations
from math import factorial
from pathlib import Path
from typing import Any

import numpy as np
from tilted import Logged, Support

from causalign.logs.reading import read_table

__all__ = ["CONFOUNDER", "KINDS", "SETS", "TREATMENTS", "Worded", "of_two", "read", "worded"]

TREATMENTS = ("treatycommit", "brave", "evil", "flag", "threat", "economy", "treatyviolation")
# The coefficients of the paper's confounder; its intercept is set so that C is even.
CONFOUNDER = np.array([2.68, 1.85, 0.14, -2.12, -2.07, -0.94, 0.75])
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
class Worded:
    """Hold the words of n texts, and log P_R of these words given the set of treatments (n,).

    ``snippets`` are those that each text is made of, ``treatment`` says whose each snippet is.
    """

    texts: list[str]
    snippets: list[tuple[str, ...]]
    treatment: dict[str, int]
    log_wording: np.ndarray


def read(path: Path) -> Logged:
    """Read wave 1 of Fong and Grimmer; raise ``SystemExit`` where it is not what it should be."""
    rows: list[dict[str, Any]] = read_table(path).to_pylist()
    present = _present(rows)
    same = (present[:, None, :] == SETS).all(axis=2)
    if not same.any(axis=1).all():
        sys.exit("A text has treatments that the design does not allow.")
    chosen = same.argmax(axis=1)
    edges = np.cumsum([len(kind) for kind in KINDS])
    shares = np.bincount(np.searchsorted(edges, chosen, side="right"), minlength=3) / len(rows)
    each = [[share / len(kind)] * len(kind) for share, kind in zip(shares, KINDS, strict=True)]
    outcome = np.array([float(row["resp"]) for row in rows])
    return Logged(chosen, outcome, Support(SETS, np.log(np.concatenate(each))))


def worded(path: Path) -> Worded:
    """Read the texts; a set of k treatments has k! orders, and each a number of snippets."""
    rows: list[dict[str, Any]] = read_table(path).to_pylist()
    present = _present(rows) > 0
    snippets = [tuple(filter(None, (row["text1"], row["text2"], row["text3"]))) for row in rows]
    # The one treatment that all texts with a snippet share is the snippet's.
    held: dict[str, np.ndarray] = {}
    for said, has in zip(snippets, present, strict=True):
        for snippet in said:
            held[snippet] = held.get(snippet, True) & has
    if any(of.sum() != 1 for of in held.values()):
        sys.exit("A snippet belongs to no treatment, or to several.")
    orders = np.log([factorial(count) for count in present.sum(axis=1)])
    choices = present @ np.log(np.sum(list(held.values()), axis=0))
    return Worded(
        [row["text"] for row in rows],
        snippets,
        {snippet: int(of.argmax()) for snippet, of in held.items()},
        -(orders + choices),
    )


def of_two(texts: Logged) -> tuple[np.ndarray, Logged]:
    """Return which texts have two treatments, and these alone, P_R given that there are two."""
    rows = np.flatnonzero(texts.features().sum(axis=1) == 2)
    kept = np.flatnonzero(SETS.sum(axis=1) == 2)
    probability = np.exp(texts.support.log_probability[kept])
    support = Support(SETS[kept], np.log(probability / probability.sum()))
    chosen = np.searchsorted(kept, texts.chosen[rows])
    return rows, Logged(chosen, texts.outcome[rows], support)


def _present(rows: list[dict[str, Any]]) -> np.ndarray:
    return np.array([[row[name] for name in TREATMENTS] for row in rows], dtype=float)
