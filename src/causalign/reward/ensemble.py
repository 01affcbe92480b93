"""Fit many networks together: seeds, settings and training subsets as members of one stack."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalign.errors import ExtraNotInstalled, InputError
from causalign.reward.examples import Examples
from causalign.reward.network_fit import NetworkFit, network_fit
from causalign.reward.networks.network import Network, Scales
from causalign.reward.networks.outcome_kinds import class_values
from causalign.reward.training import Training
from causalign.stats.folds import group_folds

__all__ = ["Member", "fit_together"]

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """Name one network to fit: its settings, its examples, the rows that teach and that judge.

    ``rows`` and ``validation_rows`` are positions in the examples. Without ``validation_rows`` a
    share of the groups judges, cut by ``seed``; without ``rows`` all others teach.
    """

    network: Network
    examples: Examples
    training: Training = field(default_factory=Training)
    seed: int = 0
    rows: ArrayLike | None = None
    validation_rows: ArrayLike | None = None


def fit_together(members: Sequence[Member]) -> list[NetworkFit]:
    """Fit all members, those of one kind in one stack; return their fits in the same order.

    Members of one kind share the network (up to its ``varying`` settings), the examples and the
    training settings; they may differ in seed and rows. Their layers are stacked, every product is
    taken for all of them at once, and each keeps the epoch that validates best for itself. A member
    does not depend on its neighbours: fitted alone with the same seed, it gives the same reward up
    to rounding.

    Raises ``InputError`` if examples or rows do not fit, ``ExtraNotInstalled`` without torch.
    """
    try:
        import torch  # noqa: F401
    except ImportError as missing:
        raise ExtraNotInstalled(
            "Fitting networks needs torch, which is not installed: `pip install 'causalign[lm]'`. "
            "RidgeReward and PairwiseReward work without."
        ) from missing
    kinds: dict[Any, list[int]] = defaultdict(list)
    for position, member in enumerate(members):
        kinds[_kind(member)].append(position)
    fits: dict[int, NetworkFit] = {}
    for positions in kinds.values():
        fits |= dict(zip(positions, _fit_kind([members[p] for p in positions]), strict=True))
    return [fits[position] for position in range(len(members))]


def _kind(member: Member) -> Any:
    """Return what members must share to be stacked."""
    network = member.network
    alike = replace(network, **dict.fromkeys(network.varying, 1.0))  # type: ignore[type-var]
    return alike, member.training, id(member.examples)


def _fit_kind(members: Sequence[Member]) -> list[NetworkFit]:
    from causalign.reward.batches import Tensors
    from causalign.reward.fitting import Plan, members_at_once, train

    network, examples, training = members[0].network, members[0].examples, members[0].training
    network.check(examples)
    center, scale = _feature_scales(examples)
    by_class = network.loss in ("multi-class", "ordinal")
    classes = class_values(examples) if by_class else np.empty(0)
    label = np.searchsorted(classes, examples.target) if by_class else np.zeros(len(examples), int)
    seen = ((examples.features - center) / scale).astype(np.float32)
    tensors = Tensors.of(examples, seen, label, training.precision, training.device)
    layers = network.layers(examples)
    plans = []
    for member in members:
        rows, judges = _rows(member)
        _check_rows(examples, rows, judges, label if by_class else None, classes)
        target = _target_scale(network.loss, examples, rows)
        start = network.start(examples.target[rows[examples.weight[rows] > 0]])
        settings = {name: float(getattr(member.network, name)) for name in network.varying}
        plans.append(Plan(member.seed, rows, judges, target, settings, start))
    size = members_at_once(layers, tensors.target.device)
    fits = []
    for first in range(0, len(plans), size):
        part = plans[first : first + size]
        for plan, trained in zip(
            part, train(network, layers, tensors, part, training), strict=True
        ):
            scales = Scales((center, scale), plan.target, classes, examples.objectives)
            head = network.head(trained.weights, scales)
            fits.append(network_fit(network, examples, plan, trained, head))
    return fits


def _feature_scales(examples: Examples) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of the features, ``(d,)`` each; a constant stays 0."""
    X = examples.features
    spread = X.std(axis=0, dtype=np.float64)
    return X.mean(axis=0, dtype=np.float64), np.where(spread > 0, spread, 1.0)


def _target_scale(loss: str, examples: Examples, rows: Rows) -> tuple[float, float]:
    """Return mean and standard deviation of a quantity in the rows that teach."""
    if loss != "squared-error":
        return 0.0, 1.0
    y, w = examples.target[rows], examples.weight[rows]
    if not w.any():
        raise InputError("The rows that teach all have weight zero.")
    mean = float(np.average(y, weights=w))
    spread = float(np.sqrt(np.average((y - mean) ** 2, weights=w)))
    if spread == 0:
        raise InputError(f"The outcome is {mean:g} in all rows that teach; nothing can be learned.")
    return mean, spread


def _rows(member: Member) -> tuple[Rows, Rows]:
    """Return the positions that teach and that judge."""
    size = len(member.examples)
    rows = None if member.rows is None else _positions("rows", member.rows, size)
    if member.validation_rows is not None:
        judges = _positions("validation_rows", member.validation_rows, size)
    else:
        judges = _cut(member, np.arange(size) if rows is None else rows)
        rows = rows if rows is None else np.setdiff1d(rows, judges)
    if rows is None:
        rows = np.setdiff1d(np.arange(size), judges)
    if np.intersect1d(rows, judges).size:
        raise InputError("Some rows both teach and judge; give disjoint rows and validation_rows.")
    if not rows.size:
        raise InputError("No rows are left to teach; give fewer validation rows.")
    return rows, judges


def _cut(member: Member, rows: Rows) -> Rows:
    share = member.training.validation_share
    if share == 0:
        return np.empty(0, dtype=np.int64)
    folds = max(2, round(1 / share))
    return rows[group_folds(member.examples.groups[rows], folds, member.seed) == 0]


def _positions(name: str, rows: ArrayLike, size: int) -> Rows:
    found = np.asarray(rows)
    if found.size == 0:
        return np.empty(0, dtype=np.int64)
    if found.ndim != 1 or not np.issubdtype(found.dtype, np.integer):
        raise InputError(f"{name} must be whole positions (n,) of examples.")
    if found.min() < 0 or found.max() >= size:
        raise InputError(f"{name} names positions outside the {size} examples.")
    return found.astype(np.int64)


def _check_rows(
    examples: Examples,
    rows: Rows,
    judges: Rows,
    label: NDArray[np.int64] | None,
    classes: NDArray[np.float64],
) -> None:
    """Raise ``InputError`` where a class or an objective is judged or scored but never taught."""
    taught = rows[examples.weight[rows] > 0]
    if not taught.size:
        raise InputError("The rows that teach all have weight zero.")
    if judges.size and not examples.weight[judges].any():
        raise InputError("The rows that judge all have weight zero.")
    if label is not None:
        unseen = np.setdiff1d(np.arange(len(classes)), label[taught])
        if unseen.size:
            raise InputError(
                f"No row that teaches has the class {classes[unseen[0]]:g}; a reward for it cannot "
                "be learned. Merge rare classes, or teach with more rows."
            )
    if examples.objective is not None:
        missing = np.setdiff1d(np.arange(len(examples.objectives)), examples.objective[taught])
        if missing.size:
            raise InputError(
                f"No row that teaches has the objective {examples.objectives[missing[0]]!r}; its "
                "head would stay as it was drawn. Remove these examples, or teach with more rows."
            )
