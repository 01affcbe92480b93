"""Widths of a kernel's curves, column by column: those under which held-out folds are told best."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from causalign.stats.kernel_instruments import RADII, coefficient_paths, left_over
from causalign.stats.moment_sums import MomentSums, held_out_violation, sums_of

Floats = NDArray[np.float64]
Widths = tuple[float, ...]
# Which of the widths offered, for each column.
Places = tuple[int, ...]
# In standard deviations of a column, widest first: the line alone, and curves.
WIDTHS = (np.inf, 2.0, 1.0, 0.5, 0.25, 0.125, 0.0625)
CURVED = WIDTHS[2:]
# Ridge penalties of the reduced form, for each row.
RIDGES = np.geomspace(1e-8, 1e3, 23)


def choose_widths(
    losses: Callable[[Widths], Floats], levels: tuple[int, ...], offered: Widths = WIDTHS
) -> Widths:
    """Return widths from ``offered`` by coordinate descent, from 1 and from the widest.

    ``losses(widths)`` are those of k held-out folds. A column's width moves to the next narrower or
    wider one while this gains, on average over folds, more than the standard error of the gain;
    descent ends when no column moves. Where it ends elsewhere from 1 for every column than from the
    widest, the lower loss decides. ``levels[j] > 0`` marks categories, which have no width.
    """
    numbers = [j for j, count in enumerate(levels) if not count]
    known: dict[Places, Floats] = {}

    def look_up(places: Places) -> Floats:
        if places not in known:
            known[places] = losses(tuple(offered[i] for i in places))
        return known[places]

    starts = {(offered.index(1.0),) * len(levels), (0,) * len(levels)}
    ends = [_descend(look_up, start, numbers, len(offered)) for start in sorted(starts)]
    best = min(ends, key=lambda places: float(look_up(places).mean()))
    return tuple(offered[i] for i in best)


def _descend(
    look_up: Callable[[Places], Floats], at: Places, numbers: list[int], offered: int
) -> Places:
    moved = True
    while moved:
        moved = False
        for j, step in ((j, step) for j in numbers for step in (1, -1)):
            new = _move(at, j, step)
            while 0 <= new[j] < offered and _gains(look_up(at) - look_up(new)):
                at, moved = new, True
                new = _move(at, j, step)
    return at


def violations_of_moments(folds: tuple[MomentSums, ...], columns: slice) -> Floats:
    """Return the held-out violation of moments ``(k,)`` of h on ``x[columns]``, best penalty."""
    total, losses = sums_of(folds), []
    for held in folds:
        train = total.without(held)
        path = coefficient_paths(train, columns, RADII[1])[0]
        losses.append(held_out_violation(train, held, columns, path))
    return _at_the_best(np.array(losses))


def reduced_form_errors(folds: tuple[MomentSums, ...]) -> Floats:
    """Return the held-out mean square ``(k,)`` of x[0] less its ridge on ψ, best penalty.

    With the outcome for x this is how well the test functions tell what the instruments do to it:
    a bend of ``E[y | Z]`` that ψ cannot follow is one that no violation of moments shows.
    """
    total, losses = sums_of(folds), []
    first = np.zeros(len(RIDGES), dtype=np.int64)
    for held in folds:
        train = total.without(held)
        centre, means = train.means
        about = train.cross_about(centre)
        spectrum, V = eigh(train.gram_about(centre), check_finite=False)
        target = about[:, 1] - about[:, 0] * means[0]
        shrunk = np.clip(spectrum, 0, None)[:, None] + RIDGES * train.rows
        beta = V @ ((V.T @ target)[:, None] / shrunk)
        losses.append(left_over(train, held, first, beta) / held.rows)
    return _at_the_best(np.array(losses))


def _move(places: Places, column: int, step: int) -> Places:
    return (*places[:column], places[column] + step, *places[column + 1 :])


def _at_the_best(losses: Floats) -> Floats:
    best: Floats = losses[:, losses.mean(axis=0).argmin()]
    return best


def _gains(gain: Floats) -> bool:
    return bool(gain.mean() > gain.std(ddof=1) / np.sqrt(len(gain)))
