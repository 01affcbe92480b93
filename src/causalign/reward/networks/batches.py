"""Examples as tensors, and batches of them for several members at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from causalign.reward.examples import Examples


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Hold b examples for each of m members.

    ``features`` ``(m, b·s, d)``, side by side within an example; ``target`` ``(m, b)``,
    standardised if the outcome is a quantity; ``label`` the class code; ``weight`` is 0 for
    padding; ``confounders`` ``(m, b, s, k)``, standardised; ``routes`` the examples by
    objective ``(m·K·cap,)`` and their way back ``(m·b,)``; ``settings`` what varies
    between members, each ``(m,)``.
    """

    features: Tensor
    target: Tensor
    label: Tensor
    weight: Tensor
    margin: Tensor
    objective: Tensor | None
    confounders: Tensor | None
    routes: tuple[Tensor, Tensor] | None
    settings: Mapping[str, Tensor]
    sides: int
    objectives: int

    def per_side(self, values: Tensor) -> Tensor:
        """Return ``(m, b·s, ...)`` as ``(m, b, s, ...)``."""
        members, rows = values.shape[:2]
        return values.reshape(members, rows // self.sides, self.sides, *values.shape[2:])


@dataclass(frozen=True, slots=True, eq=False)
class Tensors:
    """Hold the examples once, for all members; ``features`` in the precision of the products."""

    features: Tensor
    sides: Tensor
    target: Tensor
    label: Tensor
    weight: Tensor
    margin: Tensor
    objective: Tensor | None
    confounders: Tensor | None
    codes: NDArray[np.int64] | None
    objectives: int

    @classmethod
    def of(
        cls,
        examples: Examples,
        features: NDArray[np.float32],
        label: NDArray[np.int64],
        precision: str,
        device: str | None,
    ) -> "Tensors":
        """Return examples as tensors, with features as the network sees them."""
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        confounders = _standardise_confounders(examples)
        codes = examples.objective
        number = partial(torch.as_tensor, dtype=torch.float32, device=device)
        return cls(
            torch.as_tensor(features, dtype=getattr(torch, precision), device=device),
            torch.as_tensor(examples.sides, device=device),
            number(examples.target),
            torch.as_tensor(label, device=device),
            number(examples.weight),
            number(examples.margin),
            None if codes is None else torch.as_tensor(codes, device=device),
            None if confounders is None else number(confounders),
            codes,
            max(1, len(examples.objectives)),
        )

    def batch(
        self,
        rows: NDArray[np.int64],
        real: NDArray[np.bool_],
        target_scale: Tensor,
        settings: Mapping[str, Tensor],
    ) -> Batch:
        """Gather rows ``(m, b)``; those not ``real`` get weight zero."""
        device = self.target.device
        index = torch.from_numpy(rows).to(device)
        members, size = rows.shape
        count = self.sides.shape[1]
        flat = self.sides[index].reshape(-1)  # (m·b·s,)
        features = self.features.index_select(0, flat).reshape(members, size * count, -1)
        routes = None if self.codes is None else _routes(self.codes[rows], self)
        weight = self.weight[index]
        if not real.all():
            weight = weight * torch.from_numpy(real).to(device)
        return Batch(
            features,
            (self.target[index] - target_scale[:, :1]) / target_scale[:, 1:],
            self.label[index],
            weight,
            self.margin[index],
            None if self.objective is None else self.objective[index],
            None if self.confounders is None else self.confounders[index],
            routes,
            settings,
            count,
            self.objectives,
        )


def _standardise_confounders(examples: Examples) -> NDArray[np.float64] | None:
    """Return confounders ``(n, s, k)`` with mean 0 and variance 1; a constant stays 0."""
    if examples.confounders is None:
        return None
    values = examples.confounders
    center, scale = values.mean(axis=(0, 1)), values.std(axis=(0, 1))
    return np.asarray((values - center) / np.where(scale > 0, scale, 1.0))


def _routes(codes: NDArray[np.int64], tensors: Tensors) -> tuple[Tensor, Tensor]:
    """Return, for codes ``(m, b)``, the examples of each objective, padded, and the way back.

    Each head then reads its own examples and no others: the work does not grow with the number of
    objectives. Padding repeats an example whose score nobody takes back.
    """
    members, size = codes.shape
    kinds = tensors.objectives
    counts = np.stack([(codes == k).sum(axis=1) for k in range(kinds)], axis=1)  # (m, K)
    cap = int(counts.max())
    order = np.argsort(codes, axis=1, kind="stable")  # (m, b), by objective
    starts = np.cumsum(counts, axis=1) - counts
    sorted_codes = np.take_along_axis(codes, order, axis=1)
    rank = np.arange(size) - np.take_along_axis(starts, sorted_codes, axis=1)
    member = np.arange(members)[:, None]
    slot = (member * kinds + sorted_codes) * cap + rank  # (m, b), where an example goes
    place = np.repeat(np.arange(members) * size, kinds * cap)
    place[slot.ravel()] = (member * size + order).ravel()
    back = np.empty((members, size), dtype=np.int64)
    np.put_along_axis(back, order, slot, axis=1)
    device = tensors.target.device
    return torch.from_numpy(place).to(device), torch.from_numpy(back.ravel()).to(device)
