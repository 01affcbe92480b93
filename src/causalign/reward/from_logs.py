"""What a reward method takes from logs: rows or pairs, weights, groups, conditions, texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from causalign.errors import InputError, RoleNotDeclared, SettingsError
from causalign.logs import Logs, Roles
from causalign.logs.covariates import design
from causalign.logs.stories import rows_together
from causalign.reward.examples import Examples
from causalign.stats.strata import crossed, quantile_strata

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class LearningRows:
    """Hold what there is to learn from: n rows of the logs, or n pairs of rows.

    ``sides`` ``(n, s)`` are positions in the logs, s = 1 for outcomes and s = 2, the chosen side
    first, for pairs; ``groups`` ``(n,)`` says what folds and validation keep together.
    """

    logs: Logs
    sides: NDArray[np.int64]
    weights: NDArray[np.float64] | None
    groups: NDArray[np.int64]

    def vectors(self, vectors: Vectors) -> list[NDArray[np.float64]]:
        """Return the vectors ``(n, d)`` of each side, out of those of all rows of the logs."""
        return [vectors[side].astype(np.float64) for side in self.sides.T]

    def examples(self, vectors: Vectors, *, confounders: bool = True) -> Examples:
        """Return the examples of a network, with objectives and confounders of the logs."""
        logs = self.logs
        objectives = columns = None
        if logs.roles.objective is not None:
            labels = np.array(logs.data[logs.roles.objective].to_pylist(), dtype=object)
            objectives = labels[self.sides[:, 0]]
        if confounders and logs.roles.confounders:
            columns = design(logs.confounders)[0][self.sides]  # (n, s, k)
        make = partial(Examples.of_outcomes, vectors, logs.outcome)
        if self.sides.shape[1] == 2:
            make = partial(Examples.of_pairs, vectors, *self.sides.T)
        return make(
            weights=self.weights,
            groups=self.groups,
            objectives=objectives,
            confounders=columns,
        )

    def texts(self, column: Sequence[str], side: int = 0) -> list[str]:
        """Return the texts of one side, out of those of all rows of the logs."""
        return [column[row] for row in self.sides[:, side]]


def learning_rows(logs: Logs, *, pairs: bool) -> LearningRows:
    """Return the rows of the logs, or every pair of rows within a group that differ in outcome.

    Raises ``InputError`` if there is no pair.
    """
    if not pairs:
        rows = np.arange(len(logs))[:, None]
        return LearningRows(logs, rows, logs.weights, rows_together(logs))
    compared = logs.pairs()
    if compared.rows is None or len(compared) == 0:
        raise InputError("No two rows of a group differ in text and outcome, so there is no pair.")
    return LearningRows(logs, compared.rows, compared.weight, compared.group)


def require_group(what: str, roles: Roles) -> None:
    """Raise ``RoleNotDeclared`` if no group says which texts competed."""
    if roles.group is None:
        raise RoleNotDeclared(f"{what} compares texts that competed.", "group")


def refuse_guardrails(method: str, roles: Roles) -> None:
    """Raise ``SettingsError`` for guardrails, of a method that learns one outcome."""
    if roles.guardrails:
        raise SettingsError(
            f"The method {method!r} learns one outcome, and these logs have guardrails: "
            f"{', '.join(roles.guardrails)}. Use the method 'ridge', or leave them out."
        )


def require_confounder(method: str, roles: Roles) -> None:
    """Raise ``RoleNotDeclared`` without a confounder."""
    if not roles.confounders:
        raise RoleNotDeclared(f"The method {method!r} needs a confounder.", "confounders")


def environment_codes(logs: Logs) -> NDArray[np.int64] | None:
    """Return which rows had equal conditions: confounders crossed, numbers cut at deciles."""
    codes = [c.values if c.is_categorical else quantile_strata(c.values) for c in logs.confounders]
    return crossed(codes) if codes else None
