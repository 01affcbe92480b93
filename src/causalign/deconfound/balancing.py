"""What permutation weighting returns: weights for the rows, and the balance that they reach."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pyarrow as pa

from causalign.deconfound.method import Adjustment
from causalign.errors import InputError
from causalign.logs import Logs
from causalign.results import Finding, Section


@dataclass(frozen=True, slots=True, eq=False)
class Balance:
    """Hold correlations ``(p, k)`` of p text features with k confounders, before and after."""

    names: tuple[str, ...]
    before: np.ndarray
    after: np.ndarray

    @property
    def typical_before(self) -> np.ndarray:
        """The root mean square correlation with each confounder ``(k,)``, unweighted."""
        return _root_mean_square(self.before)

    @property
    def typical_after(self) -> np.ndarray:
        """The root mean square correlation with each confounder ``(k,)``, weighted."""
        return _root_mean_square(self.after)


def _root_mean_square(columns: np.ndarray) -> np.ndarray:
    root: np.ndarray = np.sqrt(np.mean(columns**2, axis=0))
    return root


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class BalancingWeights(Adjustment):
    """Hold weights under which text and confounders are (nearly) independent.

    Parameters
    ----------
    weights : (n,) array
        Of mean 1, for the rows of the logs that were fitted, in their order; they do not contain
        the weights that those logs had.
    balance : Balance
        The correlations of text and confounders before and after.
    effective_rows : float
        How many rows of equal weight the weighted rows are worth, the logs' own weights included.
    auc : float
        How well a classifier tells real rows from shuffled ones; .5 is independence.
    clipped : float
        The share of the weights that was capped.
    assumption : str
        Under which condition the weights make a comparison causal.
    findings : tuple of Finding
        What was checked.
    settings : mapping
        The settings of the method.
    """

    is_of_rows: ClassVar[bool] = True

    weights: np.ndarray
    balance: Balance
    effective_rows: float
    auc: float
    clipped: float
    assumption: str
    findings: tuple[Finding, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict)

    def table(self) -> pa.Table:
        """Return the correlations of each confounder column with the text features.

        Returns
        -------
        pyarrow.Table
            ``typical`` is the root mean square over features, ``largest`` the largest absolute
            value, before and after weighting.
        """
        return pa.table(
            {
                "name": pa.array(self.balance.names, pa.string()),
                "typical_before": self.balance.typical_before,
                "typical_after": self.balance.typical_after,
                "largest_before": np.abs(self.balance.before).max(axis=0),
                "largest_after": np.abs(self.balance.after).max(axis=0),
            }
        )

    def weight(self, logs: Logs) -> Logs:
        """Multiply the weights of the logs by these.

        Parameters
        ----------
        logs : Logs
            The logs that were fitted, all rows of them.

        Returns
        -------
        Logs
            Logs whose weight is the old one times the new; their history has one line more.

        Raises
        ------
        InputError
            Unless there are as many rows as were fitted.
        """
        if len(logs) != len(self.weights):
            raise InputError(
                f"These weights belong to {len(self.weights)} rows; the logs have {len(logs)}. "
                "Weight the logs that were fitted, before rows are taken from them."
            )
        old = np.ones(len(logs)) if logs.weights is None else logs.weights
        note = (
            f"weighted so that the text is independent of {', '.join(logs.roles.confounders)} "
            f"(method permutation-weighting, worth {self.effective_rows:.0f} of {len(logs)} rows)"
        )
        return logs.with_weights(old * self.weights, note)

    def adjust(self, logs: Logs) -> Logs:  # type: ignore[override]  # of no scan
        """Weight the rows, as `weight` does; the outcome stays as it is.

        Parameters
        ----------
        logs : Logs
            The logs that were fitted, all rows of them.

        Returns
        -------
        Logs
            Logs whose weight is the old one times the new.
        """
        return self.weight(logs)

    def answer(self) -> str:
        """Return in a sentence what came out."""
        before, after = self.balance.typical_before.max(), self.balance.typical_after.max()
        return (
            f"The typical correlation of text and confounder went from {before:.3f} to "
            f"{after:.3f}; the weighted rows are worth {self.effective_rows:.0f} of "
            f"{len(self.weights)}."
        )

    def details(self) -> Sequence[str]:
        """Return the balance of each confounder, the share of capped weights, the assumption."""
        lines = [
            f"  {row['name']}: typical correlation with the text {row['typical_before']:.3f} before"
            f", {row['typical_after']:.3f} after"
            for row in self.table().to_pylist()
        ]
        return [
            *lines,
            f"{self.clipped:.1%} of the weights capped",
            f"Holds if: {self.assumption}",
        ]

    def section(self) -> Section:
        """Return the stage as the report tells it."""
        return Section(
            stage="deconfound",
            question="Can the rows be weighted so that text and confounders are independent?",
            answer=self.answer(),
            assumption=self.assumption,
            numbers={
                "observations": len(self.weights),
                "effective_rows": self.effective_rows,
                "auc": self.auc,
                "clipped": self.clipped,
            },
            tables={"balance": self.table()},
            findings=self.findings,
            details={"method": "permutation-weighting", **self.settings},
        )
