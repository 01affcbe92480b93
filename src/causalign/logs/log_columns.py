"""Read the columns of logs by the roles that they play."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from causalign.errors import ColumnNotFound, RoleNotDeclared, nearest
from causalign.logs import intake
from causalign.logs.columns import settle_values
from causalign.logs.covariates import Covariate, codes, covariate, numeric
from causalign.logs.pairs import join_prompts
from causalign.logs.roles import Roles


@dataclass(frozen=True, slots=True, repr=False)
class LogColumns:
    """Hold a table whose columns have causal roles, and return them as stages read them."""

    data: pa.Table
    roles: Roles
    history: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        intake.check_columns(self.data, self.roles)

    def __len__(self) -> int:
        return int(self.data.num_rows)

    @property
    def completions(self) -> list[str]:
        """The texts, n strings."""
        return list(self.data[self.roles.completion].to_pylist())

    @property
    def prompts(self) -> list[str] | None:
        """The prompts, n strings, or None when there is no such role."""
        prompt = self.roles.prompt
        return None if prompt is None else list(self.data[prompt].to_pylist())

    @property
    def texts(self) -> list[str]:
        """What an encoder reads, n strings: each completion, below its prompt if any."""
        return join_prompts(self.completions, self.prompts)

    @property
    def outcome(self) -> np.ndarray:
        """The outcome ``(n,)``: the column, or its rate when there are trials."""
        return self.rate(self.roles.outcome)

    def rate(self, name: str) -> np.ndarray:
        """Return the outcome or a guardrail ``(n,)``, by the trials where there are any."""
        values = self.numbers(name)
        return values if self.roles.trials is None else values / self.trials

    @property
    def trials(self) -> np.ndarray:
        """The numbers of trials ``(n,)``."""
        self.require("trials")
        return self.numbers(str(self.roles.trials))

    @property
    def weights(self) -> np.ndarray | None:
        """The row weights ``(n,)`` or None."""
        return None if self.roles.weight is None else self.numbers(self.roles.weight)

    @property
    def confounders(self) -> tuple[Covariate, ...]:
        """The confounders in the order in which they are named."""
        return tuple(self.covariate(name) for name in self.roles.confounders)

    @property
    def instruments(self) -> tuple[Covariate, ...]:
        """The instruments in the order in which they are named."""
        return tuple(self.covariate(name) for name in self.roles.instruments)

    @property
    def audience(self) -> tuple[Covariate, ...]:
        """What was known of the readers, in the order in which it is named."""
        return tuple(self.covariate(name) for name in self.roles.audience)

    @property
    def features(self) -> np.ndarray | None:
        """The columns that describe the text ``(n, p)`` or None."""
        if not self.roles.features:
            return None
        return np.column_stack([self.covariate(n).columns()[0] for n in self.roles.features])

    @property
    def groups(self) -> np.ndarray:
        """Integer codes ``(n,)`` of the groups; every row its own when there is no role."""
        group = self.roles.group
        return np.arange(len(self)) if group is None else self.codes_of(group)

    @property
    def clusters(self) -> np.ndarray | None:
        """Integer codes ``(n,)`` of the clusters (else groups), or None.

        Of two ways to cluster the first: it is the one that folds and splits keep together.
        """
        names = self.roles.cluster_columns()
        return self.codes_of(names[0]) if names else None

    @property
    def cluster_ways(self) -> np.ndarray | None:
        """Integer codes of the clusters, ``(n,)`` or ``(n, 2)`` for two ways, or None."""
        ways = [self.codes_of(name) for name in self.roles.cluster_columns()]
        if not ways:
            return None
        return ways[0] if len(ways) == 1 else np.column_stack(ways)

    def numbers(self, name: str) -> np.ndarray:
        """Return any column as floats ``(n,)``; raise `InputError` when it is not numbers."""
        return numeric(name, self._settled(name, "outcome"))

    def covariate(self, name: str) -> Covariate:
        """Return any column as a `Covariate`; raise `InputError` when it cannot be one."""
        column = self._settled(name, "confounders")
        return covariate(name, column, categorical=name in self.roles.categorical)

    def codes_of(self, name: str) -> np.ndarray:
        """Return integer codes ``(n,)`` of any column's values, -1 where missing."""
        return codes(self._column(name))[0]

    def require(self, *names: str) -> None:
        """Raise `RoleNotDeclared` unless every named role is declared."""
        free = [c for c in self.data.column_names if c not in self.roles.columns()]
        for name in names:
            if not getattr(self.roles, name):
                others = f"columns without a role: {', '.join(free) or 'none'}"
                raise RoleNotDeclared(f"These logs declare no {name} ({others}).", name)

    def _settled(self, name: str, role: str) -> pa.ChunkedArray:
        """Return a column as the boundary settled it, or settle one that has no role."""
        column = self._column(name)
        if name in self.roles.columns():
            return column
        return settle_values(name, column, role, self.data.schema.field(name))

    def _column(self, name: str) -> pa.ChunkedArray:
        if name not in (names := self.data.column_names):
            raise ColumnNotFound(f"The table has no column {name!r}; {nearest(name, names)}")
        return self.data.column(names.index(name))
