"""What permutation weighting returns: weights for the rows, and the balance that they reach."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from causalign.errors import InputError
from causalign.logs import Logs
from causalign.results import Finding, Section

__all__ = ["Balance", "BalancingWeights"]


@dataclass(frozen=True, slots=True, eq=False)
class Balance:
    """Hold correlations ``(p, k)`` of p text features with k confounders, before and after."""

    names: tuple[str, ...]
    before: np.ndarray
    after: np.ndarray

    @property
    def typical_before(self) -> np.ndarray:
        """Return the root mean square correlation with each confounder ``(k,)``, unweighted."""
        return np.sqrt(np.mean(self.before**2, axis=0))

    @property
    def typical_after(self) -> np.ndarray:
        """Return the root mean square correlation with each confounder ``(k,)``, weighted."""
        return np.sqrt(np.mean(self.after**2, axis=0))


@dataclass(frozen=True, slots=True, eq=False)
class BalancingWeights:
    """Hold weights under which text and confounders are (nearly) independent.

    ``weights (n,)``, of mean 1, belong to the rows of the logs that were fitted, in their order;
    they do not contain the weights that those logs had. ``effective_rows`` counts both.
    """

    weights: np.ndarray
    balance: Balance
    effective_rows: float
    auc: float
    clipped: float
    assumption: str
    findings: tuple[Finding, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    def table(self) -> pa.Table:
        """Return, for each confounder column, its correlations with the text features.

        ``typical`` is the root mean square over features, ``largest`` the largest absolute value.
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
        """Return logs whose weight is the old one times the new; the history gains one line.

        Raises `InputError` unless there are as many rows as were fitted.
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

    def summary(self) -> str:
        """Return a few lines that a person can read: balance, effective rows, findings."""
        lines = [
            f"Weights that balance text and confounders, {len(self.weights)} rows worth "
            f"{self.effective_rows:.0f}, {self.clipped:.1%} of the weights capped"
        ]
        lines += [
            f"  {row['name']}: typical correlation with the text {row['typical_before']:.3f} before"
            f", {row['typical_after']:.3f} after"
            for row in self.table().to_pylist()
        ]
        lines.append(f"Holds if: {self.assumption}")
        lines += [finding.line() for finding in self.findings]
        return "\n".join(lines)

    def section(self) -> Section:
        """Return the stage as the report tells it."""
        before, after = self.balance.typical_before.max(), self.balance.typical_after.max()
        return Section(
            stage="deconfound",
            question="Can the rows be weighted so that text and confounders are independent?",
            answer=f"The typical correlation of text and confounder went from {before:.3f} to "
            f"{after:.3f}; the weighted rows are worth {self.effective_rows:.0f} of "
            f"{len(self.weights)}.",
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
