"""Estimate h(C) from Parquet larger than memory: two passes over record batches."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy.linalg import block_diag

from causalign.checks.rows_behind import rows_behind_effects
from causalign.deconfound.effect import ConfounderEffect
from causalign.deconfound.method import BlockPlan, LinearDeconfounder
from causalign.deconfound.standard_errors import check_standard_errors
from causalign.deconfound.terms import Categories, LinearTerms, Slope, Term, combine_terms
from causalign.deconfound.two_stage import instruments_assumption, moved_by_instruments
from causalign.errors import ColumnNotFound, InputError, SettingsError, UnreadableFile, nearest
from causalign.logs.columns import require_usable, require_whole, settle_column
from causalign.logs.covariates import Covariate, Kind, covariate, numeric
from causalign.logs.kinds import COVARIATES, NUMBERS, Column
from causalign.logs.listing import LogFile, list_files
from causalign.logs.reading import settle_text
from causalign.logs.roles import Roles
from causalign.logs.storage import open_column
from causalign.stats.block_least_squares import Block, BlockFit, fit_blocks

# Reads each column through a small window instead of a whole row group at once.
BUFFER_BYTES = 1 << 16
# The cross products of so many columns, levels of categories among them, are 128 MiB.
MOST_COLUMNS = 4096


def fit_parquet(
    method: LinearDeconfounder,
    path: str | os.PathLike[str],
    roles: Roles,
    *,
    batch_rows: int = 8_192,
) -> ConfounderEffect:
    """Fit a linear method on Parquet files, in memory that rows do not grow.

    Equal to ``method.fit(Logs.read(path, roles))`` for ordinary and two-stage least squares, LIML
    and the additive estimator (whose text features are the columns of the role ``features``, and
    whose categories are indicator columns here, so that few hundred levels fit). Only columns of
    numbers and categories are read; texts stay on disk. Diagnostics that need the rows once more
    (first-stage F, categories seen once) are not computed, only on how many rows each effect
    rests. Clusters are one sum each in memory.

    Parameters
    ----------
    method : deconfounder
        `OrdinaryLeastSquares`, `TwoStageLeastSquares`, LIML or `Additive`.
    path : path
        A Parquet file, a folder or a glob of them; names of folders such as ``week=3`` are columns.
    roles : Roles
        The roles of the columns.
    batch_rows : int
        How many rows are read at once.

    Returns
    -------
    ConfounderEffect
        The effect, with the findings on the rows that carry it (DE104) and on standard errors
        (DE105).

    Raises
    ------
    UnreadableFile, ColumnNotFound, RoleNotDeclared, InputError, NotIdentified
        When the files, the roles or the values cannot be used.
    SettingsError
        For what needs all rows at once: ``penalty``, ``shrink``, ``fuller``, formulas, two ways to
        cluster.
    """
    method.check_roles(roles)
    plan = method.plan_blocks()
    cluster = _choose_cluster(method.covariance, roles)
    files = list_files(path, ("parquet",))
    for file in files:
        _check_columns(file, roles)
    written, kinds = _read_written(files, roles, batch_rows)
    source = _ParquetRows(files, roles, written, kinds, batch_rows)
    own, moved, instruments, assumption = _divide_columns(plan, roles)
    text = roles.features if plan.beside_features else ()
    labels = _names(source, (*text, *own, *moved, *instruments))
    blocks = partial(_read_blocks, source, (*text, *own), moved, instruments, cluster)
    if len(labels) > MOST_COLUMNS:
        raise InputError(_too_wide(source, len(labels)))
    confounders = (*own, *moved)

    def contrast(means: np.ndarray) -> np.ndarray:
        return np.asarray(block_diag(*(block for _, block in _show(source, confounders, means))))

    fit = fit_blocks(
        blocks,
        tuple(labels),
        contrast=contrast,
        kappa=plan.kappa,
        features=len(_names(source, text)),
    )
    return _as_effect(method, source, fit, assumption, confounders)


@dataclass(frozen=True, slots=True)
class _ParquetRows:
    files: tuple[LogFile, ...]
    roles: Roles
    written: dict[str, "_DistinctCells"]
    kinds: dict[str, Kind]
    batch_rows: int

    def levels(self, name: str) -> tuple[str, ...]:
        """Return the levels of a column of categories, none of another one."""
        return self.written[name].levels if name in self.written else ()

    def columns(self) -> list[str]:
        wanted = self.roles.columns()
        return [name for name, role in wanted.items() if role not in ("completion", "prompt")]


Names = tuple[str, ...]


def _as_effect(
    method: LinearDeconfounder,
    source: "_ParquetRows",
    fit: BlockFit,
    assumption: str,
    confounders: Names,
) -> ConfounderEffect:
    """Turn the coefficients into the effect of the confounders."""
    spent = 1 + fit.features + len(fit.coefficients)
    linear = _read_terms(source, confounders, fit.means, fit.coefficients, fit.covariance)
    counts = (fit.clusters,) if fit.clusters else ()
    covariance, errors = check_standard_errors(linear, counts, exact=fit.exact)
    return ConfounderEffect(
        method=method.name,
        names=linear.names,
        estimates=linear.estimates,
        covariance=covariance,
        terms=linear.terms,
        observations=fit.rows,
        outcome=source.roles.outcome,
        assumption=assumption,
        findings=(
            rows_behind_effects(linear.names, fit.carried, fit.rows, clustered=bool(counts)),
            *errors,
        ),
        carried=fit.carried,
        degrees_of_freedom=float(fit.clusters - 1 if fit.clusters else fit.rows - spent),
        numbers={"kappa": fit.kappa},
        settings=method.settings(),
    )


def _too_wide(source: "_ParquetRows", width: int) -> str:
    """Say how many columns there would be, and whose levels most of them are."""
    rows = sum(pq.read_metadata(file.path).num_rows for file in source.files)
    most = max(source.written, key=lambda name: len(source.levels(name)), default="")
    count = len(source.levels(most)) if most else 0
    levels = f", of which {count:,} are levels of {most!r}," if count else ""
    return (
        f"{rows:,} rows with {width:,} columns{levels} are too many for sums over blocks of rows "
        f"(at most {MOST_COLUMNS:,}). Read the rows at once: `additive` and `ordinary` then absorb "
        "a category; or merge its rare levels."
    )


def _divide_columns(plan: BlockPlan, roles: Roles) -> tuple[Names, Names, Names, str]:
    """Return exogenous and endogenous confounders, instruments, and what must hold."""
    if plan.assumption is not None:
        return roles.confounders, (), (), plan.assumption
    moved = moved_by_instruments(roles, plan.exogenous)
    return plan.exogenous, moved, roles.instruments, instruments_assumption(roles, moved)


def _choose_cluster(covariance: str, roles: Roles) -> str | None:
    """Return the column of the clusters, if errors are clustered; one way only."""
    ways = () if covariance == "robust" else roles.cluster_columns()
    if len(ways) > 1:
        raise SettingsError("Clustering two ways needs all rows at once. Name one column.")
    return ways[0] if ways else None


def _check_columns(file: LogFile, roles: Roles) -> None:
    try:
        names = [*pq.read_schema(file.path).names, *(name for name, _ in file.partitions)]
    except (pa.ArrowException, OSError) as error:
        raise UnreadableFile(
            f"{str(file.path)!r} is damaged or no Parquet file: {error}"
        ) from error
    for name, role in roles.columns().items():
        if name not in names:
            raise ColumnNotFound(
                f"Role {role!r} names the column {name!r}, which {file.path.name} does not have; "
                f"{nearest(name, names)}"
            )


def _batches(files: Sequence[LogFile], columns: Sequence[str], rows: int) -> Iterator[pa.Table]:
    """Read batch after batch; one thread and no read-ahead keep memory at one batch."""
    for file in files:
        with pq.ParquetFile(file.path, pre_buffer=False, buffer_size=BUFFER_BYTES) as reader:
            inside = [name for name in columns if name in reader.schema_arrow.names]
            for batch in reader.iter_batches(rows, columns=inside, use_threads=False):
                if batch.num_rows:
                    table = settle_text(pa.Table.from_batches([batch]))
                    yield file.add_partitions(table)


@dataclass(frozen=True, slots=True, eq=False)
class _DistinctCells:
    """Cells of a column of strings or names: each different one, and what it is."""

    cells: pa.Array
    values: pa.Array
    levels: tuple[str, ...]


def _read_written(
    files: Sequence[LogFile], roles: Roles, rows: int
) -> tuple[dict[str, _DistinctCells], dict[str, Kind]]:
    """Decide what columns are, as `Logs.read` does: strings and names from all their cells.

    Returns what was written in these, and the kind of every covariate.
    """
    names = _numbers_and_covariates(roles)
    first: dict[str, Column] = {}
    seen: dict[str, list[pa.Array]] = {}
    kinds: dict[str, Kind] = {}
    for table in _batches(files, names, rows):
        for name in names:
            column = _open(table, name)
            of_names = column.named or name in roles.categorical
            if pa.types.is_large_string(column.values.type) or of_names:
                first.setdefault(name, column)
                seen.setdefault(name, []).append(pc.unique(column.values))
            elif name not in kinds and roles.columns()[name] in COVARIATES:
                empty = replace(column, values=column.values.slice(0, 0))
                values, _ = settle_column(name, roles.roles_of(name), empty)
                kinds[name] = covariate(name, values).kind
    written: dict[str, _DistinctCells] = {}
    for name, parts in seen.items():
        try:
            cells = pc.unique(pa.chunked_array(parts))
        except pa.ArrowException as error:
            raise InputError(f"The files hold {name!r} in several types.") from error
        column = replace(first[name], values=cells)
        values, reading = settle_column(name, roles.roles_of(name), column)
        require_usable(reading)
        if reading.missing or reading.odd:
            cell = (reading.first_odd or reading.first_missing).partition("holds ")[2] or "null"
            raise InputError(
                f"{reading.title} has missing or odd values such as {cell}. Correct them, or use "
                "Logs.read, which can leave out their rows."
            )
        categorical = name in roles.categorical
        one = covariate(name, values, categorical=categorical)
        written[name] = _DistinctCells(cells, values.combine_chunks(), one.levels)
        kinds[name] = one.kind
    return written, kinds


def _numbers_and_covariates(roles: Roles) -> list[str]:
    return [name for name, role in roles.columns().items() if role in (*NUMBERS, *COVARIATES)]


def _open(table: pa.Table, name: str) -> Column:
    position = table.column_names.index(name)
    column = open_column(
        table.column(position), table.schema.field(position), table.schema.metadata
    )
    if column.unreadable:
        raise InputError(f"Column {name!r} {column.unreadable}.")
    return column


def _names(source: _ParquetRows, columns: Sequence[str]) -> list[str]:
    names: list[str] = []
    for name in columns:
        levels = source.levels(name)
        names += [f"{name}[{level}]" for level in levels[1:]] if levels else [name]
    return names


def _settle(source: _ParquetRows, table: pa.Table, name: str) -> pa.ChunkedArray:
    """Return a column of a batch as what it is in all batches."""
    column, written = _open(table, name), source.written.get(name)
    if written is not None:
        place = pc.index_in(column.values, pa.array(written.cells))
        return pa.chunked_array([written.values.take(place)])
    settled, reading = settle_column(name, source.roles.roles_of(name), column)
    require_usable(reading)
    require_whole(reading)
    return settled


def _read(source: _ParquetRows, table: pa.Table, names: Sequence[str]) -> np.ndarray:
    if not names:
        return np.zeros((table.num_rows, 0))
    parts = []
    for name in names:
        levels = source.levels(name)
        one = covariate(name, _settle(source, table, name), categorical=bool(levels))
        if one.kind != source.kinds[name]:
            raise InputError(
                f"The files hold {name!r} as {source.kinds[name]} and as {one.kind}. Make the "
                "column of one type in all files."
            )
        if levels:
            known = np.searchsorted(np.array(levels), np.array(one.levels))
            one = Covariate(name, "categorical", known[one.values], levels)
        parts.append(one.columns()[0])
    return np.hstack(parts)


def _read_blocks(
    source: _ParquetRows,
    own: Sequence[str],
    moved: Sequence[str],
    instruments: Sequence[str],
    cluster: str | None,
) -> Iterator[Block]:
    roles = source.roles
    for table in _batches(source.files, source.columns(), source.batch_rows):
        y = numeric(roles.outcome, _settle(source, table, roles.outcome))
        if roles.trials is not None:
            y = y / numeric(roles.trials, _settle(source, table, roles.trials))
        weights = np.ones(len(y))
        if roles.weight is not None:
            weights = numeric(roles.weight, _settle(source, table, roles.weight))
            if (weights <= 0).any():
                raise InputError(f"Weights in {roles.weight!r} must be positive.")
        yield Block(
            y=y,
            endogenous=_read(source, table, moved),
            exogenous=_read(source, table, own),
            instruments=_read(source, table, instruments),
            weights=weights,
            clusters=None if cluster is None else _read_clusters(source, table, cluster),
        )


def _read_clusters(source: _ParquetRows, table: pa.Table, name: str) -> np.ndarray:
    """Return the names of the clusters ``(b,)``, alike in all batches."""
    labels = _settle(source, table, name).cast(pa.large_string())
    return np.asarray(labels.to_pylist())


def _read_terms(
    source: _ParquetRows,
    names: Sequence[str],
    means: np.ndarray,
    coefficients: np.ndarray,
    covariance: np.ndarray,
) -> LinearTerms:
    """Turn coefficients into terms relative to the average row.

    Categories, coded against their first level, become deviations from their average with the
    shares of their levels, so that no category is special and all have intervals.
    """
    terms: list[Term] = []
    shown = _show(source, names, means)
    start = 0
    for name, (_, contrast) in zip(names, shown, strict=True):
        levels = source.levels(name)
        own = slice(start, start + contrast.shape[1])
        start = own.stop
        if not levels:
            slope, mean = float(coefficients[own][0]), float(means[own][0])
            terms.append(Slope(name, slope, mean, source.kinds[name]))
            continue
        deviations = (contrast @ coefficients[own]).tolist()
        terms.append(Categories(name, dict(zip(levels, deviations, strict=True))))
    return combine_terms(terms, shown, coefficients, covariance)


def _show(
    source: _ParquetRows, names: Sequence[str], means: np.ndarray
) -> list[tuple[tuple[str, ...], np.ndarray]]:
    """Return, for each column, what is shown of it and the matrix from its coefficients to that."""
    shown: list[tuple[tuple[str, ...], np.ndarray]] = []
    start = 0
    for name in names:
        levels = source.levels(name)
        if not levels:
            shown.append(((name,), np.ones((1, 1))))
            start += 1
            continue
        width = len(levels) - 1
        contrast = np.vstack([np.zeros(width), np.eye(width)]) - means[start : start + width]
        shown.append((tuple(f"{name}[{level}]" for level in levels), contrast))
        start += width
    return shown
