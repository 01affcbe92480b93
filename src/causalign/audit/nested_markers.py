"""Make one marker of words and phrases that lie within each other, so that each is told once."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from causalign.audit.vocabulary import TextMarkers
from causalign.lm.words import join_overlapping, parts_of, phrases_within

# A phrase in at least this share of the texts of a part of it comes together with that part.
TOGETHER = 0.8
NESTED = ("word", "phrase")
SEEN = (*NESTED, "punctuation", "emoji")


def merge_variants(markers: TextMarkers) -> TextMarkers:
    """Make one marker of those that come together, without looking at any outcome.

    These are a phrase and a part of it, of whose texts it stands in at least 80 %, and whatever
    stands in exactly the same texts. The longest of those that nearly all the texts of the cluster
    hold names it and is tested; the others are its variants.
    """
    counts, kinds = markers.rows, markers.kinds
    length = [len(parts_of(name)) for name in markers.names]
    place = {n: j for j, n in enumerate(markers.names) if kinds[j] in NESTED}
    root = list(range(len(markers)))
    for first, *others in _in_the_same_texts(markers):
        for other in others:
            _unite(root, first, other)
    for j, name in enumerate(markers.names):
        for part in phrases_within(name) if kinds[j] in NESTED else ():
            i = place.get(part)
            if i is not None and counts[j] >= TOGETHER * counts[i]:
                _unite(root, i, j)
    clusters: dict[int, list[int]] = {}
    for j in range(len(markers)):
        clusters.setdefault(_find(root, j), []).append(j)
    chosen, names, variants = [], [], []
    for members in clusters.values():
        most = max(counts[j] for j in members)
        full = [j for j in members if counts[j] >= TOGETHER * most]
        best = min(full, key=lambda j: (-length[j], -len(markers.names[j]), j))
        same = [markers.names[j] for j in full if counts[j] == counts[best] and kinds[j] in NESTED]
        chosen.append(best)
        nested, name = kinds[best] in NESTED, markers.names[best]
        names.append(join_overlapping(name, same) if nested else name)
        others = sorted((j for j in members if j != best), key=lambda j: (-counts[j], j))
        variants.append(tuple(markers.names[j] for j in others if markers.names[j] != names[-1]))
    named = markers.take(chosen)
    own = tuple(
        "phrase" if len(parts_of(name)) > length[j] and kind in NESTED else kind
        for name, kind, j in zip(names, named.kinds, chosen, strict=True)
    )
    return TextMarkers(tuple(names), own, tuple(variants), named.columns, named.left_out)


def parts_within(markers: TextMarkers) -> list[tuple[int, ...]]:
    """Return for each marker the places of others that lie within it: of "not good", "good".

    Only those that stand in more texts (of equal ones, the first): a part cannot be rarer.
    """
    counts = markers.rows
    place: dict[str, int] = {}
    for j, (name, variants) in enumerate(zip(markers.names, markers.variants, strict=True)):
        if markers.kinds[j] in NESTED:
            place |= dict.fromkeys((name, *variants), j)
    parts = []
    for j, name in enumerate(markers.names):
        inside = phrases_within(name) if markers.kinds[j] in NESTED else []
        at = {place[part] for part in inside if part in place}
        parts.append(tuple(i for i in sorted(at) if (-counts[i], i) < (-counts[j], j)))
    return parts


def fold(
    markers: TextMarkers,
    parts: Sequence[Sequence[int]],
    stays: NDArray[np.bool_],
    strength: NDArray[np.float64],
) -> TextMarkers:
    """Make variants of a part of theirs of those that do not stay, ``stays (m,)``; return the rest.

    The part is the one with the greatest ``strength (m,)``, of equal ones the rarest. A marker
    without parts must stay.
    """
    counts = markers.rows
    into = np.arange(len(markers))
    # The most frequent first, so that a part has its place before what contains it.
    order = np.argsort(-counts, kind="stable")
    for j in order:
        if not stays[j]:
            into[j] = into[min(parts[j], key=lambda i: (-strength[into[i]], counts[i], i))]
    variants = [list(own) for own in markers.variants]
    for j in order:
        if into[j] != j:
            variants[into[j]] += [markers.names[j], *markers.variants[j]]
    whole = TextMarkers(
        markers.names, markers.kinds, tuple(map(tuple, variants)), markers.columns, markers.left_out
    )
    return whole.take(np.flatnonzero(stays))


def _in_the_same_texts(markers: TextMarkers) -> list[list[int]]:
    columns = markers.columns
    columns.sort_indices()
    same: dict[bytes, list[int]] = {}
    for j, (a, b) in enumerate(pairwise(columns.indptr)):
        if markers.kinds[j] in SEEN:
            same.setdefault(columns.indices[a:b].tobytes(), []).append(j)
    return list(same.values())


def _find(root: list[int], j: int) -> int:
    while root[j] != j:
        root[j] = root[root[j]]
        j = root[j]
    return j


def _unite(root: list[int], i: int, j: int) -> None:
    a, b = _find(root, i), _find(root, j)
    # The smaller place stays the root, so that the order of uniting does not matter.
    root[max(a, b)] = min(a, b)
