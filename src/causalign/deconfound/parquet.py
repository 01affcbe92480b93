"""Estimate h(C) from Parquet larger than memory: two passes over record batches."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy.linalg import block_diag

from causalign.checks.rows_behind import rows_behind_effects
from causalign.deconfound.effect import ConfounderEffect
from causalign.deconfound.method import BlockPlan, LinearDeconfounder
from causalign.deconfound.terms import Categories, LinearTerms, Slope, Term, combine_terms
from causalign.deconfound.two_stage import instruments_assumption, moved_by_instruments
from causalign.errors import ColumnNotFound, InputError, SettingsError, UnreadableFile, nearest
from causalign.logs.covariates import Covariate, covariate, numeric
from causalign.logs.roles import Roles
from causalign.stats.block_least_squares import Block, BlockFit, fit_blocks

# Reads each column through a small window instead of a whole row group at once.
BUFFER_BYTES = 1 << 16


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
        A Parquet file, or a folder of them.
    roles : Roles
        The roles of the columns.
    batch_rows : int
        How many rows are read at once.

    Returns
    -------
    ConfounderEffect
        The effect, with the finding on the rows that carry it (DE104).

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
    files = _find_files(path, roles)
    source = _ParquetRows(tuple(files), roles, _read_levels(files, roles, batch_rows), batch_rows)
    own, moved, instruments, assumption = _divide_columns(plan, roles)
    text = roles.features if plan.beside_features else ()
    labels = _names(source, (*text, *own, *moved, *instruments))
    blocks = partial(_read_blocks, source, (*text, *own), moved, instruments, cluster)
    skipped = len(_names(source, text))

    def contrast(means: np.ndarray) -> np.ndarray:
        shown = _show(source, (*own, *moved), means[skipped:])
        matrix = block_diag(*(block for _, block in shown))
        return np.hstack([np.zeros((len(matrix), skipped)), matrix])

    fit = fit_blocks(blocks, tuple(labels), contrast=contrast, kappa=plan.kappa)
    return _as_effect(method, source, fit, assumption, skipped, (*own, *moved))


@dataclass(frozen=True, slots=True)
class _ParquetRows:
    files: tuple[Path, ...]
    roles: Roles
    levels: dict[str, tuple[str, ...]]
    batch_rows: int

    def columns(self) -> list[str]:
        wanted = self.roles.columns()
        return [name for name, role in wanted.items() if role not in ("completion", "prompt")]


Names = tuple[str, ...]


def _as_effect(
    method: LinearDeconfounder,
    source: "_ParquetRows",
    fit: BlockFit,
    assumption: str,
    skipped: int,
    confounders: Names,
) -> ConfounderEffect:
    """Turn the coefficients, first ``skipped`` of the text, into the effect of the confounders."""
    spent = len(fit.coefficients) + 1
    linear = _read_terms(
        source,
        confounders,
        fit.means[skipped:],
        fit.coefficients[skipped:],
        fit.covariance[skipped:, skipped:],
    )
    return ConfounderEffect(
        method=method.name,
        names=linear.names,
        estimates=linear.estimates,
        covariance=linear.covariance,
        terms=linear.terms,
        observations=fit.rows,
        outcome=source.roles.outcome,
        assumption=assumption,
        findings=(
            rows_behind_effects(linear.names, fit.carried, fit.rows, clustered=bool(fit.clusters)),
        ),
        carried=fit.carried,
        degrees_of_freedom=float(fit.clusters - 1 if fit.clusters else fit.rows - spent),
        numbers={"kappa": fit.kappa},
        settings=method.settings(),
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


def _find_files(path: str | os.PathLike[str], roles: Roles) -> list[Path]:
    given = Path(path)
    files = sorted(given.rglob("*.parquet")) if given.is_dir() else [given]
    if not files or not files[0].exists():
        raise UnreadableFile(f"There is no Parquet file at {str(path)!r}. Check the path.")
    for file in files:
        _check_columns(file, roles)
    return files


def _check_columns(file: Path, roles: Roles) -> None:
    try:
        names = pq.read_schema(file).names
    except (pa.ArrowException, OSError) as error:
        raise UnreadableFile(f"{str(file)!r} is damaged or no Parquet file: {error}") from error
    for name, role in roles.columns().items():
        if name not in names:
            raise ColumnNotFound(
                f"Role {role!r} names the column {name!r}, which {file.name} does not have; "
                f"{nearest(name, names)}"
            )


def _batches(files: Sequence[Path], columns: Sequence[str], rows: int) -> Iterator[pa.Table]:
    """Read batch after batch; one thread and no read-ahead keep memory at one batch."""
    for file in files:
        with pq.ParquetFile(file, pre_buffer=False, buffer_size=BUFFER_BYTES) as reader:
            for batch in reader.iter_batches(rows, columns=list(columns), use_threads=False):
                if batch.num_rows:
                    yield pa.Table.from_batches([batch])


def _read_levels(files: Sequence[Path], roles: Roles, rows: int) -> dict[str, tuple[str, ...]]:
    schema = pq.read_schema(files[0])
    numbers = (*roles.confounders, *roles.instruments, *roles.features)
    named = [n for n in numbers if n in roles.categorical or _is_text(schema.field(n).type)]
    values: dict[str, set[str]] = {name: set() for name in named}
    for table in _batches(files, named, rows) if named else ():
        for name in named:
            text = pc.cast(pc.unique(table[name]), pa.large_string())
            if text.null_count:
                raise InputError(f"Column {name!r} has missing values. Fill them in first.")
            values[name] |= set(text.to_pylist())
    return {name: tuple(sorted(levels)) for name, levels in values.items()}


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_dictionary(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)
    )


def _names(source: _ParquetRows, columns: Sequence[str]) -> list[str]:
    names: list[str] = []
    for name in columns:
        levels = source.levels.get(name)
        names += [name] if levels is None else [f"{name}[{level}]" for level in levels[1:]]
    return names


def _read(source: _ParquetRows, table: pa.Table, names: Sequence[str]) -> np.ndarray:
    if not names:
        return np.zeros((table.num_rows, 0))
    parts = []
    for name in names:
        levels = source.levels.get(name)
        one = covariate(name, table[name], categorical=levels is not None)
        if levels is not None:
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
        y = numeric(roles.outcome, table[roles.outcome])
        if roles.trials is not None:
            y = y / numeric(roles.trials, table[roles.trials])
        weights = np.ones(len(y))
        if roles.weight is not None:
            weights = numeric(roles.weight, table[roles.weight])
            if (weights <= 0).any():
                raise InputError(f"Weights in {roles.weight!r} must be positive.")
        yield Block(
            y=y,
            endogenous=_read(source, table, moved),
            exogenous=_read(source, table, own),
            instruments=_read(source, table, instruments),
            weights=weights,
            clusters=None if cluster is None else np.array(table[cluster].to_pylist()),
        )


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
        levels = source.levels.get(name)
        own = slice(start, start + contrast.shape[1])
        start = own.stop
        if levels is None:
            terms.append(Slope(name, float(coefficients[own][0]), float(means[own][0])))
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
        levels = source.levels.get(name)
        if levels is None:
            shown.append(((name,), np.ones((1, 1))))
            start += 1
            continue
        width = len(levels) - 1
        contrast = np.vstack([np.zeros(width), np.eye(width)]) - means[start : start + width]
        shown.append((tuple(f"{name}[{level}]" for level in levels), contrast))
        start += width
    return shown
