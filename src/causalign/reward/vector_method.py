"""Methods that learn from vectors of texts: what all of them do with logs."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from causalign.errors import SettingsError
from causalign.lm.embedded_logs import embed_logs
from causalign.lm.embeddings import Embeddings
from causalign.lm.encoder import Encoder
from causalign.logs import Logs, LogScan, Roles, require_memory
from causalign.reward.estimates import LinearHeadFit, NetworkFit
from causalign.reward.from_logs import Vectors, learning_rows, refuse_guardrails, require_group
from causalign.reward.model import RewardFit
from causalign.stats.logistic_path import LogisticPath
from causalign.stats.penalties import check_penalties
from causalign.stats.ridge_path import RidgePath

logger = logging.getLogger(__name__)


class VectorMethod(ABC):
    """Learn from vectors of the rows of logs, or of the pairs of their groups."""

    __slots__ = ()

    name: ClassVar[str]
    reads_vectors: ClassVar[bool] = True
    reads_experiments: ClassVar[bool] = False

    @property
    def compares(self) -> bool:
        """Whether it learns from pairs of rows of a group, rather than from outcomes."""
        return False

    def check_roles(self, roles: Roles) -> None:
        """Raise ``RoleNotDeclared`` if pairs are compared and no group says which competed."""
        refuse_guardrails(self.name, roles)
        if self.compares:
            require_group(f"The method {self.name!r}", roles)

    def check_logs(self, logs: Logs | LogScan) -> None:
        """Raise before anything costly runs when the method cannot learn from these logs."""
        self.check_roles(logs.roles)
        rows = require_memory(logs, f"The method {self.name!r}")
        self._check_groups(learning_rows(rows, pairs=self.compares).groups)

    def _check_groups(self, groups: NDArray[np.int64]) -> None:  # noqa: B027
        """Raise ``InputError`` if folds or validation need more groups than there are."""

    def fit(
        self,
        logs: Logs | LogScan,
        encoder: str | Encoder | None = None,
        *,
        out: str | Path | None = None,  # noqa: ARG002
        progress: bool = False,
    ) -> RewardFit:
        """Fit on the outcome of logs, or on every pair of rows of a group that differ in it.

        Clusters, else rows of one text, are kept together by folds and validation; weights,
        confounders and objectives are those of the logs, and rows of equal conditions those that
        agree in the confounders, numbers cut at their deciles. See
        :meth:`causalign.reward.RewardMethod.fit`.
        """
        self.check_roles(logs.roles)
        logs = require_memory(logs, f"The method {self.name!r}")
        embeddings, scorer = self._embed(logs, encoder, progress)
        logger.info("%s on %d rows of %s", self, len(logs), logs.roles.outcome)
        return RewardFit.of(
            self,
            self._fit_logs(logs, embeddings.vectors),
            scorer,
            texts=len(embeddings.vectors),
            truncated=embeddings.truncated,
            reads_prompt=logs.prompts is not None,
        )

    @abstractmethod
    def _fit_logs(self, logs: Logs, vectors: Vectors) -> LinearHeadFit | NetworkFit:
        """Fit on logs and the vectors of all their rows."""

    def _embed(
        self, logs: Logs, encoder: str | Encoder | None, progress: bool
    ) -> tuple[Embeddings, Encoder]:
        """Return the vectors of the logs, and the encoder that new texts are scored with."""
        embeddings = embed_logs(logs, encoder, progress=progress)
        return embeddings, embeddings.encoder


@dataclass(frozen=True, slots=True)
class LinearMethod(VectorMethod):
    """Fit a linear head with a penalty that cross-validation chooses."""

    penalties: Sequence[float] | None = None
    folds: int = 5
    choose: Literal["minimum", "one-standard-error", "ranking"] = "minimum"
    seed: int = 0

    rules: ClassVar[tuple[str, ...]] = ("minimum", "one-standard-error")

    def __post_init__(self) -> None:
        if self.choose not in self.rules:
            raise SettingsError(
                f"choose must be one of {', '.join(self.rules)}; found {self.choose!r}."
            )
        if self.penalties is not None:
            check_penalties(self.penalties)


def path_table(path: RidgePath | LogisticPath, chosen: int) -> pa.Table:
    """Return the path of penalties as a table with one row for each."""
    return pa.table(
        {
            "penalty": path.penalties,
            "cv_error": path.cv_error,
            "cv_standard_error": path.cv_standard_error,
            "chosen": np.arange(len(path.penalties)) == chosen,
        }
    )


def path_numbers(path: RidgePath | LogisticPath, chosen: int) -> dict[str, float]:
    """Return the penalty that was chosen, the best one, and how well unseen rows are predicted."""
    error = float(path.cv_error[chosen])
    return {
        "features": float(path.coefficients.shape[1]),
        "penalty": float(path.penalties[chosen]),
        "best_penalty": float(path.penalties[path.best]),
        "cv_error": error,
        "cv_r2": 1 - error / path.null_error if path.null_error > 0 else 0.0,
    }
