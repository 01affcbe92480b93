"""Length and diversity of generated texts: what a better reward may have been bought with."""

import re
import zlib
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa

from causalign.errors import InputError
from causalign.logs.long_texts import read_beginnings


def measure_diversity(generations: Mapping[str, Sequence[str]]) -> pa.Table:
    """Return length and diversity of what each policy wrote.

    Distinct shares fall with the number of words, and compression rises with it. So every policy
    is cut to the number of words of the shortest, texts in their order. Of a text of more than
    20,000 characters the beginning is read.

    Parameters
    ----------
    generations : mapping of str to sequence of str
        The texts of each policy.

    Returns
    -------
    pyarrow.Table
        One row for each policy: ``words`` is the mean number of words; ``distinct_1`` and
        ``distinct_2`` the share of words and of word pairs that are different; ``compression`` the
        ratio of the texts' size to their compressed size, high where texts repeat each other;
        ``repeated`` the share of texts that equal an earlier one.

    Raises
    ------
    InputError
        When a policy wrote no word.

    References
    ----------
    Li et al. (2016), arXiv:1510.03055, for distinct-n; Shaib et al. (2024), arXiv:2403.00553, who
    found compression to agree with self-BLEU at a fraction of its cost.
    """
    split = {name: [re.findall(r"\w+", t.casefold()) for t in read_beginnings(texts)]
             for name, texts in generations.items()}  # fmt: skip
    sizes = {name: sum(map(len, texts)) for name, texts in split.items()}
    for name, size in sizes.items():
        if size == 0:
            raise InputError(f"{name!r} wrote no word, so its diversity is undefined.")
    rows = []
    for name, texts in split.items():
        cut = _first_words(texts, min(sizes.values()))
        pairs = [p for t in cut for p in pairwise(t)]
        words = [w for t in cut for w in t]
        flat = "\n".join(" ".join(t) for t in cut).encode("utf-8", "replace")
        given = list(generations[name])
        rows.append(
            {
                "policy": name,
                "texts": len(given),
                "words": float(np.mean([len(t) for t in texts])),
                "distinct_1": len(set(words)) / len(words),
                "distinct_2": len(set(pairs)) / len(pairs) if pairs else float("nan"),
                "compression": len(flat) / len(zlib.compress(flat, 9)),
                "repeated": 1 - len(set(given)) / len(given),
            }
        )
    return pa.Table.from_pylist(rows)


def _first_words(texts: list[list[str]], count: int) -> list[list[str]]:
    shortened: list[list[str]] = []
    for text in texts:
        if count <= 0:
            break
        shortened.append(text[:count])
        count -= len(text)
    return shortened
