"""Estimate h(C) on logs that no memory holds: least squares from sums over batches of rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, Protocol, Self, TypeVar

import numpy as np
from scipy import sparse
from scipy.linalg import block_diag

from causalign.checks.rows_behind import rows_behind_effects
from causalign.deconfound.effect import ConfounderEffect
from causalign.deconfound.inference import Covariance
from causalign.deconfound.method import BlockPlan
from causalign.deconfound.standard_errors import check_standard_errors
from causalign.deconfound.terms import Categories, LinearTerms, Slope, Term, combine_terms
from causalign.errors import InputError, RoleNotDeclared, SettingsError
from causalign.lm.cache import EmbeddingCache
from causalign.lm.embedded_logs import learn_encoder
from causalign.lm.embeddings import embed_block
from causalign.lm.encoder import Encoder
from causalign.lm.vector_block import is_sparse
from causalign.logs import Logs, LogScan, hash_column
from causalign.logs.covariates import require_variation
from causalign.logs.totals import gather
from causalign.stats.block_least_squares import BlockFit, BlockTotal, fit_blocks
from causalign.stats.block_sums import Block, Matrix, keep_zeros

# The cross products of so many columns, levels of categories among them, are 512 MiB.
MOST_COLUMNS = 8192
# Indicators of more levels than this are kept as the few numbers of them that are not zero.
FEW_LEVELS = 64
Names = tuple[str, ...]


class MethodOnBatches(Protocol):
    """A deconfounder that sums over rows determine."""

    @property
    def name(self) -> str:
        """Its name on the command line."""
        ...

    @property
    def covariance(self) -> Covariance:
        """``auto``, ``robust`` or ``clustered``."""
        ...

    def settings(self) -> dict[str, object]:
        """Return the settings as JSON can hold them."""
        ...


def fit_scan(
    method: MethodOnBatches, plan: BlockPlan, scan: LogScan, encoder: str | Encoder | None
) -> ConfounderEffect:
    """Fit a linear method on logs that are read batch by batch.

    Equal to the fit on the same rows in memory, without what needs the rows once more: first-stage
    F, tests of instruments. Categories are indicators, up to ``MOST_COLUMNS`` columns in all;
    raises `InputError` for more, and as the method's ``fit``.
    """
    cluster = _choose_cluster(method.covariance, scan)
    text = _read_text(scan, encoder, method.name) if plan.beside_features else None
    _require_levels(scan, plan)
    reader = _Reader(scan, plan, text, cluster, _count_levels(scan, plan))
    if len(reader.names) > MOST_COLUMNS:
        raise InputError(_too_wide(reader))

    def contrast(means: np.ndarray) -> np.ndarray:
        return np.asarray(block_diag(*(block for _, block in _show(reader, means))))

    fit = fit_blocks(
        reader, reader.names, contrast=contrast, kappa=plan.kappa, features=reader.text_width
    )
    return _as_effect(method, reader, fit)


@dataclass(frozen=True, slots=True, eq=False)
class _TextColumns:
    """Hold what reads the texts: an encoder, or columns that describe them."""

    encoder: Encoder | None
    columns: Names
    names: Names

    @property
    def is_sparse(self) -> bool:
        """Return whether most numbers are zero."""
        return self.encoder is not None and is_sparse(self.encoder)

    def read(self, logs: Logs) -> Matrix:
        """Return the features ``(b, p)``; a shift of all rows is the intercept's."""
        if self.encoder is None:
            return np.hstack([logs.covariate(name).columns()[0] for name in self.columns])
        values = embed_block(logs.texts, self.encoder, EmbeddingCache()).values
        kind = sparse.csr_array if sparse.issparse(values) else np.asarray
        return kind(values, dtype=np.float64)


B = TypeVar("B", bound=BlockTotal)


@dataclass(slots=True, eq=False)
class _OfLogs(Generic[B]):
    """Gather over batches of logs what is gathered over blocks."""

    gathered: B
    read: Callable[[Logs], Block]

    def add(self, logs: Logs) -> None:
        """Add some rows."""
        for block in self.read(logs).cut():
            self.gathered.add(block)

    def merge(self, other: Self) -> None:
        """Add what was gathered over later rows."""
        self.gathered.merge(other.gathered)


@dataclass(frozen=True, slots=True, eq=False)
class _Reader:
    """Turn batches of logs into blocks of columns, and gather sums over them."""

    scan: LogScan
    plan: BlockPlan
    text: _TextColumns | None
    cluster: str | None
    counts: dict[str, np.ndarray]

    @property
    def confounders(self) -> Names:
        """Return the confounders in the order of their columns: exogenous, then the others."""
        return (*self.plan.own, *self.plan.moved)

    @property
    def text_width(self) -> int:
        """Return how many columns describe the text."""
        return 0 if self.text is None else len(self.text.names)

    @property
    def names(self) -> Names:
        """Return the names of all columns."""
        text = () if self.text is None else self.text.names
        parts = (*self.confounders, *self.plan.instruments)
        return (*text, *(name for part in parts for name in self.name_columns(part)))

    @property
    def is_sparse(self) -> bool:
        """Return whether exogenous columns are kept sparse."""
        if self.text is not None and self.text_width > FEW_LEVELS:
            return self.text.is_sparse
        return sum(len(self.levels(name)) for name in self.plan.own) > FEW_LEVELS

    def levels(self, name: str) -> tuple[str, ...]:
        """Return the levels that have an effect: of a column of categories, none of another."""
        column = self.scan.columns.get(name)
        if column is None or not column.levels:
            return ()
        return tuple(
            level for level, use in zip(column.levels, self._used(name), strict=True) if use
        )

    def name_columns(self, name: str) -> list[str]:
        """Return the names of the columns of a confounder or an instrument."""
        levels = self.levels(name)
        return [f"{name}[{level}]" for level in levels[1:]] if levels else [name]

    def first(self) -> Block:
        """Return the first rows."""
        return self.read(next(self.scan.batches()))

    def gather(self, start: Callable[[], B]) -> B:
        """Gather a total over all rows."""
        read = partial(_start_gathering, start, self.read)
        reads_text = self.text is not None and self.text.encoder is not None
        return gather(self.scan, read, texts=reads_text).gathered

    def read(self, logs: Logs) -> Block:
        """Return the block of a batch, less the rows that are alone in a category."""
        logs = self._leave_out(logs)
        weights = np.ones(len(logs)) if logs.weights is None else logs.weights
        if (weights <= 0).any():
            raise InputError(f"Weights in {logs.roles.weight!r} must be positive.")
        own = [self._columns(logs, name, wide=self.is_sparse) for name in self.plan.own]
        if self.text is not None:
            own = [self.text.read(logs), *own]
        return Block(
            y=logs.outcome,
            endogenous=self._stack(logs, self.plan.moved),
            exogenous=_join(own, len(logs), wide=self.is_sparse),
            instruments=self._stack(logs, self.plan.instruments),
            weights=weights,
            full=self._find_full() if self.is_sparse else None,
            clusters=None
            if self.cluster is None
            else hash_column(logs.data[self.cluster], 0, "clusters"),
        )

    def _find_full(self) -> np.ndarray:
        """Return which exogenous columns hold a number in every row: those of numbers."""
        widths = [(name, len(self.name_columns(name))) for name in self.plan.own]
        own = [np.full(width, not self.levels(name)) for name, width in widths]
        return np.concatenate([np.zeros(self.text_width, dtype=bool), *own])

    def _used(self, name: str) -> np.ndarray:
        """Return which levels of a column of categories have an effect."""
        counts = self.counts[name]
        return np.asarray(counts > 1 if self.plan.leaves_out_single_rows else counts > 0)

    def _leave_out(self, logs: Logs) -> Logs:
        used = np.ones(len(logs), dtype=bool)
        for name in self.plan.own:
            if self.levels(name):
                used &= self._used(name)[logs.covariate(name).values]
        return logs if used.all() else logs.take(used, "not alone in a category")

    def _stack(self, logs: Logs, names: Names) -> np.ndarray:
        parts = [self._columns(logs, name, wide=False) for name in names]
        return np.hstack([np.zeros((len(logs), 0)), *parts])

    def _columns(self, logs: Logs, name: str, *, wide: bool) -> Matrix:
        """Return a covariate as columns, categories against their first level."""
        covariate = logs.covariate(name)
        if not covariate.is_categorical:
            return np.asarray(covariate.values[:, None])
        used = self._used(name)
        # The first level that has an effect has no column.
        code = np.where(used, np.cumsum(used) - 2, -1)[covariate.values]
        rows = np.flatnonzero(code >= 0)
        shape = (len(code), int(used.sum()) - 1)
        columns = sparse.csr_array((np.ones(len(rows)), (rows, code[rows])), shape=shape)
        return columns if wide else np.asarray(columns.toarray())


def _start_gathering(start: Callable[[], B], read: Callable[[Logs], Block]) -> _OfLogs[B]:
    return _OfLogs(start(), read)


def _join(parts: Sequence[Matrix], rows: int, *, wide: bool) -> Matrix:
    if not parts:
        return np.zeros((rows, 0))
    if wide:
        return sparse.csr_array(sparse.hstack(list(map(keep_zeros, parts)), format="csr"))
    return np.hstack([p if isinstance(p, np.ndarray) else p.toarray() for p in parts])


def _read_text(scan: LogScan, encoder: str | Encoder | None, method: str) -> _TextColumns:
    """Return what reads the texts; raise `RoleNotDeclared` where nothing does."""
    if encoder is not None:
        learnt = learn_encoder(scan, encoder)
        return _TextColumns(learnt, (), tuple(f"text feature {i}" for i in range(learnt.dimension)))
    names = scan.roles.features
    if not names:
        raise RoleNotDeclared(
            f"The method {method} compares texts by their features, and these logs declare "
            'none. Name an encoder, as in fit(logs, encoder="hashing+style").',
            "features",
        )
    labels = []
    for name in names:
        column = scan.columns.get(name)
        levels = () if column is None else column.levels
        labels += [f"{name}[{level}]" for level in levels[1:]] if levels else [name]
    return _TextColumns(None, names, tuple(labels))


def _require_levels(scan: LogScan, plan: BlockPlan) -> None:
    """Raise `NotIdentified` for a category of one level."""
    first = next(scan.batches(texts=False))
    for name in (*plan.own, *plan.moved):
        covariate = first.covariate(name)
        if covariate.is_categorical and len(covariate.levels) < 2:
            require_variation("confounder", covariate)


class _LevelCounts:
    """Gather the rows of each level of categories."""

    def __init__(self, levels: dict[str, int]) -> None:
        self.counts = {name: np.zeros(size, dtype=np.int64) for name, size in levels.items()}

    def add(self, logs: Logs) -> None:
        """Add some rows."""
        for name, known in self.counts.items():
            known += np.bincount(logs.covariate(name).values, minlength=len(known))

    def merge(self, other: Self) -> None:
        """Add what was gathered over later rows."""
        for name, known in self.counts.items():
            known += other.counts[name]


def _count_levels(scan: LogScan, plan: BlockPlan) -> dict[str, np.ndarray]:
    """Return the rows of each level of each category, in what is left of the files."""
    names = (*plan.own, *plan.moved, *plan.instruments)
    columns = {name: scan.columns[name] for name in names if name in scan.columns}
    levels = {name: len(column.levels) for name, column in columns.items() if column.levels}
    if levels and (scan.changes or scan.drop_incomplete):
        return gather(scan, partial(_LevelCounts, levels), texts=False).counts
    return {name: columns[name].counts for name in levels}


def _choose_cluster(covariance: str, scan: LogScan) -> str | None:
    """Return the column of the clusters, if errors are clustered; one way only."""
    ways = () if covariance == "robust" else scan.roles.cluster_columns()
    if len(ways) > 1:
        raise SettingsError("Clustering two ways needs all rows at once. Name one column.")
    if covariance == "clustered" and not ways:
        raise RoleNotDeclared(
            "These logs declare neither cluster nor group, so that errors cannot be clustered; "
            "covariance='robust' does not cluster.",
            "cluster",
        )
    return ways[0] if ways else None


def _too_wide(reader: _Reader) -> str:
    """Say how many columns there would be, and whose levels most of them are."""
    names = (*reader.confounders, *reader.plan.instruments)
    most = max(names, key=lambda name: len(reader.levels(name)))
    count = len(reader.levels(most))
    levels = f", of which {count:,} are levels of {most!r}," if count else ""
    return (
        f"{len(reader.scan):,} rows with {len(reader.names):,} columns{levels} are too many for "
        f"sums over batches of rows (at most {MOST_COLUMNS:,}). Merge rare levels of the category; "
        "or read all rows at once, `Logs.read`: `additive` and `ordinary` then absorb it."
    )


def _as_effect(method: MethodOnBatches, reader: _Reader, fit: BlockFit) -> ConfounderEffect:
    """Turn the coefficients into the effect of the confounders."""
    spent = 1 + fit.features + len(fit.coefficients)
    linear = _read_terms(reader, fit)
    counts = (fit.clusters,) if fit.clusters else ()
    covariance, errors = check_standard_errors(linear, counts, exact=fit.exact)
    return ConfounderEffect(
        method=method.name,
        names=linear.names,
        estimates=linear.estimates,
        covariance=covariance,
        terms=linear.terms,
        observations=fit.rows,
        outcome=reader.scan.roles.outcome,
        assumption=reader.plan.assumption,
        findings=(
            rows_behind_effects(linear.names, fit.carried, fit.rows, clustered=bool(counts)),
            *errors,
        ),
        carried=fit.carried,
        degrees_of_freedom=float(fit.clusters - 1 if fit.clusters else fit.rows - spent),
        numbers={"kappa": fit.kappa},
        settings=method.settings(),
    )


def _read_terms(reader: _Reader, fit: BlockFit) -> LinearTerms:
    """Turn coefficients into terms relative to the average row.

    Categories, coded against their first level, become deviations from their average with the
    shares of their levels, so that no category is special and all have intervals.
    """
    terms: list[Term] = []
    shown = _show(reader, fit.means)
    start = 0
    for name, (_, contrast) in zip(reader.confounders, shown, strict=True):
        levels = reader.levels(name)
        own = slice(start, start + contrast.shape[1])
        start = own.stop
        if not levels:
            slope, mean = float(fit.coefficients[own][0]), float(fit.means[own][0])
            kind = reader.scan.kinds[name]
            terms.append(Slope(name, slope, mean, kind))
            continue
        deviations = (contrast @ fit.coefficients[own]).tolist()
        terms.append(Categories(name, dict(zip(levels, deviations, strict=True))))
    return combine_terms(terms, shown, fit.coefficients, fit.covariance)


def _show(reader: _Reader, means: np.ndarray) -> list[tuple[tuple[str, ...], np.ndarray]]:
    """Return, for each confounder, what is shown of it, and the matrix from coefficients to it."""
    shown: list[tuple[tuple[str, ...], np.ndarray]] = []
    start = 0
    for name in reader.confounders:
        levels = reader.levels(name)
        if not levels:
            shown.append(((name,), np.ones((1, 1))))
            start += 1
            continue
        width = len(levels) - 1
        contrast = np.vstack([np.zeros(width), np.eye(width)]) - means[start : start + width]
        shown.append((tuple(f"{name}[{level}]" for level in levels), contrast))
        start += width
    return shown
