"""Test whether columns move an outcome beside the text, and whether the text shows what they do."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from causalign.stats.confounder_part import invert
from causalign.stats.fold_ridge import FoldRidge
from causalign.stats.predictability import (
    Groups,
    Predictability,
    cross_fit_predictions,
    score_predictions,
)
from causalign.stats.row_blocks import RowBlocks

Floats = NDArray[np.float64]

# A column of which the text leaves less than this is tested without the text.
LITTLE_LEFT = 0.1


@dataclass(frozen=True, slots=True)
class OnOneScale:
    """Hold what was seen on one scale of the outcome.

    ``moves`` is how well the column predicts what the text leaves of the outcome, ``shows`` how
    well the text predicts what the column does to it; None without text features.
    """

    moves: Predictability
    shows: Predictability | None

    @property
    def p_value(self) -> float:
        """Return the p-value of "not both": the larger one; that of moving without features."""
        return self.moves.p_value if self.shows is None else max(self.moves.p_value, self._shown)

    @property
    def share(self) -> float:
        """Return the share of the outcome that recognising the column would explain."""
        shown = 1.0 if self.shows is None else max(self.shows.score, 0.0)
        return max(self.moves.score, 0.0) * shown

    @property
    def _shown(self) -> float:
        assert self.shows is not None
        return self.shows.p_value


@dataclass(frozen=True, slots=True)
class ConfoundingTest:
    """Hold the test of one column: on the outcome as it is and on its ranks, where they differ.

    A heavy tail hides what happens to most rows from a test of means; a test of ranks is blind to
    what happens in the tail alone. So both are made and the better one counts, at twice its
    p-value (Bonferroni). ``beside_text`` is False where the text determines the column, so that
    it was tested with nothing taken out: what either did cannot be told apart.
    """

    scales: tuple[OnOneScale, ...]
    beside_text: bool = True

    @property
    def as_it_is(self) -> OnOneScale:
        """Return what was seen on the outcome as it is."""
        return self.scales[0]

    @property
    def strongest(self) -> OnOneScale:
        """Return what was seen on the scale that speaks most for confounding."""
        return min(self.scales, key=lambda one: (one.p_value, -one.share))

    @property
    def p_value(self) -> float:
        """Return the p-value of "it does not both move the outcome and show in the text"."""
        return min(1.0, len(self.scales) * self.strongest.p_value)

    @property
    def moves_p_value(self) -> float:
        """Return the p-value of "it does not move the outcome"."""
        return min(1.0, len(self.scales) * min(one.moves.p_value for one in self.scales))


def confounding_tests(
    bases: Sequence[RowBlocks],
    outcome: Floats,
    groups: Groups,
    *,
    text: FoldRidge | None = None,
    folds: int = 5,
    seed: int = 0,
) -> tuple[ConfoundingTest, ...]:
    """Test each column, given by a basis ``(n, k)`` of its functions, for confounding.

    In ``s(y) = g(T) + h(C) + e`` the text's part is taken out of both sides by cross-fitted ridge
    (Robinson 1988): ``u = s(y) - E[s(y) | T]``, ``V = B - E[B | T]``. The column moves the outcome
    when V predicts u on rows that the fit did not see; the text shows what it does when it
    predicts ``ĥ = B γ``, γ by least squares of u on V. Without a text u and V are centred only,
    and so where the text leaves less than a tenth of a column: nothing can be seen beside it then.
    Each column is tested alone, so that of two that say the same neither hides the other. ``s`` is
    the identity and the normal scores of the ranks; if y is independent of C given T, it is so on
    any scale.

    Assumption: the features hold what the text does; rows of different ``groups`` are independent.
    """
    if not bases:
        return ()
    Y = outcome_scales(outcome)
    Y, cut = Y - Y.mean(axis=0), {"folds": folds, "seed": seed}
    seen, fits = [], []
    for basis in bases:
        one = _OneColumn.of(basis, Y, text)
        fits.append(cross_fit_predictions(one.columns, one.outcome, groups, **cut))
        seen.append((one.outcome, one.effect, one.beside_text))
    shown = None
    if text is not None:
        shown = text.fit(
            RowBlocks.of(np.hstack([effect for _, effect, _ in seen]))
        ).predicted.whole()
    tests, scales = [], Y.shape[1]
    for j, ((u, effect, beside), fit) in enumerate(zip(seen, fits, strict=True)):
        own = None if shown is None else shown[:, j * scales : (j + 1) * scales]
        each = [_on_one_scale(s, fit, u, own, effect, groups) for s in range(scales)]
        tests.append(ConfoundingTest(tuple(each), beside))
    return tuple(tests)


@dataclass(frozen=True, slots=True, eq=False)
class _OneColumn:
    """What is tested of one column: V and u, and what the column does, ``effect (n, scales)``."""

    columns: RowBlocks
    outcome: Floats
    effect: Floats
    beside_text: bool

    @staticmethod
    def of(basis: RowBlocks, Y: Floats, text: FoldRidge | None) -> "_OneColumn":
        scales, ones = Y.shape[1], np.ones(len(Y))
        centred = RowBlocks.side_by_side(RowBlocks.of(Y), basis.shift(basis.mean(ones)))
        used, cross, beside = centred, centred.gram(ones), True
        if text is not None:
            rest = text.rest(centred).hold()
            remains = rest.gram(ones)
            slopes = invert(cross[scales:, scales:]) @ cross[scales:, 0]
            left, whole = (slopes @ part[scales:, scales:] @ slopes for part in (remains, cross))
            # Whether the text leaves enough of what the column does to the outcome by itself.
            beside = bool(left >= LITTLE_LEFT * whole)
            if beside:
                used, cross = rest, remains
        slopes = invert(cross[scales:, scales:]) @ cross[scales:, :scales]
        u = used.columns(slice(0, scales)).whole()
        return _OneColumn(used.columns(slice(scales, None)), u, basis.times(slopes), beside)


def _on_one_scale(
    s: int, fit: Floats, target: Floats, shown: Floats | None, effect: Floats, groups: Groups
) -> OnOneScale:
    moves = score_predictions(fit[:, [s]], target[:, s], groups)
    if shown is None:
        return OnOneScale(moves, None)
    return OnOneScale(moves, score_predictions(shown[:, [s]], effect[:, s], groups))


def outcome_scales(outcome: Floats) -> Floats:
    """Return the outcome and the normal scores of its ranks ``(n, 2)``; ``(n, 1)`` of two values.

    Van der Waerden's scores: the normal quantile of rank / (n + 1), ties sharing their mean rank.
    """
    # Here, because all of scipy.stats takes a while to import and one function is needed.
    from scipy.stats import rankdata

    y = np.asarray(outcome, dtype=np.float64)
    if len(np.unique(y)) <= 2:
        return y[:, None]
    return np.column_stack([y, ndtri(rankdata(y) / (len(y) + 1))])


def holm(p_values: Sequence[float]) -> Floats:
    """Return Holm's adjusted p-values: any error among them at most at the level (Holm 1979)."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted
