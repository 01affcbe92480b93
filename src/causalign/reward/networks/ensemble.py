"""Fit many networks together: seeds, settings and training subsets as members of one stack."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from causalign.errors import InputError
from causalign.logs import Logs
from causalign.reward.estimates import NetworkFit
from causalign.reward.examples import UNITS, Examples, class_values
from causalign.reward.findings import best_epoch_inside, both_kinds_of_labels, dropped_pairs
from causalign.reward.from_logs import Vectors, learning_rows
from causalign.reward.heads import ClassHead, NetworkHead, ObjectiveHeads
from causalign.reward.networks.architecture import Architecture
from causalign.reward.networks.batches import Tensors
from causalign.reward.networks.layers import Scales
from causalign.reward.networks.stack import MemberPlan, TrainedMember, members_at_once, train
from causalign.stats.folds import group_folds

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """Name one network to fit: its settings, its examples, its training and validation rows.

    Parameters
    ----------
    network : a network such as Perceptron
    examples : Examples
    rows : integers, optional
        Positions of the training examples; all that do not validate, unless given.
    validation_rows : integers, optional
        Positions of the validation examples; a share of the groups, cut by the seed of the network,
        unless given.
    """

    network: Architecture
    examples: Examples
    rows: ArrayLike | None = None
    validation_rows: ArrayLike | None = None


class RewardNetwork(Architecture):
    """A network as a reward method: fitted on logs, or on examples."""

    __slots__ = ()

    # False: no columns are made of the confounders, which may have thousands of levels.
    reads_confounders: ClassVar[bool] = True

    def _fit_logs(self, logs: Logs, vectors: Vectors) -> NetworkFit:
        rows = learning_rows(logs, pairs=self.compares)
        return self.fit_examples(rows.examples(vectors, confounders=self.reads_confounders))

    def fit_examples(
        self,
        examples: Examples,
        *,
        rows: ArrayLike | None = None,
        validation_rows: ArrayLike | None = None,
    ) -> NetworkFit:
        """Fit on examples, and keep the epoch that validates best.

        Several fits at once are faster: see :func:`causalign.reward.fit_together`.

        Parameters
        ----------
        examples : Examples
        rows : integers, optional
            Positions of the training examples; all that do not validate, unless given.
        validation_rows : integers, optional
            Positions of the validation examples; a share of the groups, cut by ``seed``, unless
            given.

        Raises
        ------
        InputError
            If the examples do not fit the network.
        SettingsError
            If training diverges.
        """
        return fit_together([Member(self, examples, rows, validation_rows)])[0]


def fit_together(members: Sequence[Member]) -> list[NetworkFit]:
    """Fit all members, those of one kind in one stack; return their fits in the same order.

    Members of one kind share the network (up to its seed and its ``varying`` settings) and the
    examples; they may differ in rows. Their layers are stacked, every product is taken for all of
    them at once, and each keeps the epoch that validates best for itself. A member does not depend
    on its neighbours: fitted alone with the same seed, it gives the same reward up to rounding.

    Parameters
    ----------
    members : sequence of Member

    Returns
    -------
    list of NetworkFit

    Raises
    ------
    InputError
        If examples or rows do not fit.
    SettingsError
        If training diverges.
    """
    kinds: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for position, member in enumerate(members):
        network = member.network
        free = (*network.varying, "seed")
        alike = [getattr(network, f.name) for f in fields(network) if f.name not in free]
        kinds[type(network), id(member.examples), *alike].append(position)
    fits: dict[int, NetworkFit] = {}
    for positions in kinds.values():
        fits |= dict(zip(positions, _fit_kind([members[p] for p in positions]), strict=True))
    return [fits[position] for position in range(len(members))]


def _fit_kind(members: Sequence[Member]) -> list[NetworkFit]:
    network, examples = members[0].network, members[0].examples
    training = network.training
    network.check(examples)
    center, scale = _feature_scales(examples)
    by_class = network.loss in ("multi-class", "ordinal")
    classes = class_values(examples) if by_class else np.empty(0)
    label = np.searchsorted(classes, examples.target) if by_class else np.zeros(len(examples), int)
    standardised = ((examples.features - center) / scale).astype(np.float32)
    tensors = Tensors.of(examples, standardised, label, training.precision, training.device)
    layers = network.layers(examples)
    plans = []
    for member in members:
        rows, validation_rows = _split_rows(member)
        _check_rows(examples, rows, validation_rows, label if by_class else None, classes)
        target = _target_scale(network.loss, examples, rows)
        start = network.start(examples.target[rows[examples.weight[rows] > 0]])
        settings = {name: float(getattr(member.network, name)) for name in network.varying}
        plans.append(
            MemberPlan(member.network.seed, rows, validation_rows, target, settings, start)
        )
    size = members_at_once(layers, tensors.target.device)
    fits = []
    for first in range(0, len(plans), size):
        part = plans[first : first + size]
        for plan, trained in zip(
            part, train(network, layers, tensors, part, training), strict=True
        ):
            scales = Scales((center, scale), plan.target, classes, examples.objectives)
            head = network.head(trained.weights, scales)
            fits.append(_network_fit(network, examples, plan, trained, head))
    return fits


def _network_fit(
    network: Architecture,
    examples: Examples,
    plan: MemberPlan,
    trained: TrainedMember,
    head: NetworkHead | ClassHead | ObjectiveHeads,
) -> NetworkFit:
    """Gather what training left into a result."""
    epochs = np.arange(1, len(trained.training_loss) + 1)
    validation: list[float | None] = list(trained.validation) or [None] * len(epochs)
    table = pa.table(
        {
            "epoch": epochs,
            "training_loss": list(trained.training_loss),
            "validation": pa.array(validation, pa.float64()),
            "kept": epochs == trained.best_epoch,
        }
    )
    findings = [best_epoch_inside(trained.best_epoch, trained.validation)]
    if examples.are_pairs:
        findings.append(dropped_pairs(examples.identical, len(examples)))
    if network.loss == "logistic" and examples.objectives:
        findings.append(both_kinds_of_labels(examples, plan.rows))
    return NetworkFit(
        method=network.name,
        head=head,
        seed=plan.seed,
        epochs=table,
        validation_name="accuracy" if network.compares else "negative loss",
        units=UNITS[network.loss],
        numbers={
            "rows": float(len(plan.rows)),
            "validation_rows": float(len(plan.validation_rows)),
            "features": float(examples.features.shape[1]),
            "best_epoch": float(trained.best_epoch),
            "training_loss": trained.training_loss[trained.best_epoch - 1],
            "validation": validation[trained.best_epoch - 1],
        },
        findings=tuple(findings),
    )


def _feature_scales(examples: Examples) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of the features, ``(d,)`` each; a constant stays 0."""
    X = examples.features
    spread = X.std(axis=0, dtype=np.float64)
    return X.mean(axis=0, dtype=np.float64), np.where(spread > 0, spread, 1.0)


def _target_scale(loss: str, examples: Examples, rows: Rows) -> tuple[float, float]:
    """Return mean and standard deviation of a quantity in the training rows."""
    if loss != "squared-error":
        return 0.0, 1.0
    mean, spread = examples.target_scale(rows)
    if spread == 0:
        raise InputError(f"The outcome is {mean:g} in all training rows; nothing can be learned.")
    return mean, spread


def _split_rows(member: Member) -> tuple[Rows, Rows]:
    """Return the positions of training and of validation examples."""
    size = len(member.examples)
    rows = None if member.rows is None else _positions("rows", member.rows, size)
    if member.validation_rows is not None:
        validation = _positions("validation_rows", member.validation_rows, size)
    else:
        validation = _cut(member, np.arange(size) if rows is None else rows)
        rows = rows if rows is None else np.setdiff1d(rows, validation)
    if rows is None:
        rows = np.setdiff1d(np.arange(size), validation)
    if np.intersect1d(rows, validation).size:
        raise InputError(
            "Some rows are in training and in validation; give disjoint rows and validation_rows."
        )
    if not rows.size:
        raise InputError("No rows are left to train on; give fewer validation rows.")
    return rows, validation


def _cut(member: Member, rows: Rows) -> Rows:
    training = member.network.training
    if training.validation_share == 0:
        return np.empty(0, dtype=np.int64)
    groups = member.examples.groups[rows]
    fold = group_folds(groups, training.validation_folds, member.network.seed)
    return np.asarray(rows[fold == 0])


def _positions(name: str, rows: ArrayLike, size: int) -> Rows:
    positions = np.asarray(rows)
    if positions.size == 0:
        return np.empty(0, dtype=np.int64)
    if positions.ndim != 1 or not np.issubdtype(positions.dtype, np.integer):
        raise InputError(f"{name} must be whole positions (n,) of examples.")
    if positions.min() < 0 or positions.max() >= size:
        raise InputError(f"{name} names positions outside the {size} examples.")
    return positions.astype(np.int64)


def _check_rows(
    examples: Examples,
    rows: Rows,
    validation: Rows,
    label: NDArray[np.int64] | None,
    classes: NDArray[np.float64],
) -> None:
    """Raise ``InputError`` where a class or an objective is scored but in no training row."""
    counted = rows[examples.weight[rows] > 0]
    if not counted.size:
        raise InputError("The training rows all have weight zero.")
    if validation.size and not examples.weight[validation].any():
        raise InputError("The validation rows all have weight zero.")
    if label is not None:
        unseen = np.setdiff1d(np.arange(len(classes)), label[counted])
        if unseen.size:
            raise InputError(
                f"No training row has the class {classes[unseen[0]]:g}; a reward for it cannot be "
                "learned. Merge rare classes, or train on more rows."
            )
    if examples.objective is not None:
        missing = np.setdiff1d(np.arange(len(examples.objectives)), examples.objective[counted])
        if missing.size:
            raise InputError(
                f"No training row has the objective {examples.objectives[missing[0]]!r}; its head "
                "would stay as it was drawn. Remove these examples, or train on more rows."
            )
