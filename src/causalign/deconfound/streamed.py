"""Estimate h(C) from Parquet larger than memory: two passes over record batches."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from causalign.covariates import Covariate, covariate, numeric
from causalign.deconfound import additive, ordinary
from causalign.deconfound.additive import Additive
from causalign.deconfound.effect import ConfounderEffect
from causalign.deconfound.limited_information import LimitedInformation
from causalign.deconfound.ordinary import OrdinaryLeastSquares
from causalign.deconfound.terms import Average, terms_about
from causalign.deconfound.two_stage import TwoStageLeastSquares, instruments_assumption
from causalign.errors import ColumnNotFound, InputError, SettingsError, UnreadableFile, nearest
from causalign.roles import Roles
from causalign.stats.streamed import Block, fit_blocks

__all__ = ["fit_parquet"]

# Reads each column through a small window instead of a whole row group at once.
BUFFER_BYTES = 1 << 16

Method = OrdinaryLeastSquares | TwoStageLeastSquares | LimitedInformation | Additive


def fit_parquet(
    method: Method, path: str | os.PathLike[str], roles: Roles, *, batch_rows: int = 8_192
) -> ConfounderEffect:
    """Fit a linear method on a Parquet file or a folder of them, in memory that rows do not grow.

    Equal to ``method.fit(Logs.read(path, roles))`` for ordinary and two-stage least squares, LIML
    and the additive estimator (whose text features are the columns of the role ``features``, and
    whose categories are indicator columns here, so that few hundred levels fit). Only columns of
    numbers and categories are read; texts stay on disk. Diagnostics that need the rows once more
    (first-stage F, categories seen once) are not computed. Clusters are one sum each in memory.

    Raises `UnreadableFile`, `ColumnNotFound`, `InputError`, `NotIdentified`, and `SettingsError`
    for what needs all rows at once (``penalty``, ``shrink``, ``fuller``, formulas, two clusters).
    """
    kappa = _kappa(method)
    if len(roles.cluster_columns()) > 1 and method.covariance != "robust":
        raise SettingsError("Clustering two ways needs all rows at once. Name one column.")
    files = _files(path)
    for file in files:
        _require_columns(file, roles)
    source = _Source(tuple(files), roles, _levels(files, roles, batch_rows), batch_rows)
    own, moved = _split(method, roles)
    instruments = roles.instruments if moved else ()
    labels = tuple(_names(source, (*_text_columns(method, roles), *own, *moved, *instruments)))
    blocks = partial(
        _blocks, source, (*_text_columns(method, roles), *own), moved, instruments, method
    )
    fit = fit_blocks(blocks, labels, kappa=kappa)
    skipped = len(_names(source, _text_columns(method, roles)))
    linear = terms_about(
        _averages(source, (*own, *moved), fit.means[skipped:]),
        fit.coefficients[skipped:],
        fit.covariance[skipped:, skipped:],
    )
    spent = len(fit.coefficients) + 1
    name, assumption = _told(method, roles, moved)
    return ConfounderEffect(
        method=name,
        names=linear.names,
        estimates=linear.estimates,
        covariance=linear.covariance,
        terms=linear.terms,
        observations=fit.rows,
        outcome=roles.outcome,
        assumption=assumption,
        findings=(),
        degrees_of_freedom=float(fit.clusters - 1 if fit.clusters else fit.rows - spent),
        numbers={"kappa": fit.kappa},
        settings=asdict(method),
    )


@dataclass(frozen=True, slots=True)
class _Source:
    files: tuple[Path, ...]
    roles: Roles
    levels: dict[str, tuple[str, ...]]
    batch_rows: int

    def columns(self) -> list[str]:
        wanted = self.roles.columns()
        return [name for name, role in wanted.items() if role not in ("completion", "prompt")]


def _text_columns(method: Method, roles: Roles) -> tuple[str, ...]:
    """Return the columns that stand for the text: those of the additive estimator only."""
    return roles.features if isinstance(method, Additive) else ()


def _kappa(method: Method) -> Any:
    if method.formula is not None or getattr(method, "instrument_formula", None) is not None:
        raise SettingsError("A formula needs all rows at once, for its knots and combinations.")
    if isinstance(method, Additive) and (method.penalty is not None or method.shrink):
        raise SettingsError("Additive(penalty=..., shrink=...) needs all rows at once.")
    if isinstance(method, LimitedInformation):
        if method.fuller:
            raise SettingsError("LimitedInformation(fuller=...) needs all rows at once.")
        return "liml"
    return method.kappa if isinstance(method, TwoStageLeastSquares) else 1.0


def _told(method: Method, roles: Roles, moved: Sequence[str]) -> tuple[str, str]:
    """Return the method's name and its assumption, as fits in memory tell them."""
    if isinstance(method, OrdinaryLeastSquares):
        return "ordinary", ordinary.ASSUMPTION
    if isinstance(method, Additive):
        return "additive", additive.ASSUMPTION
    name = "two-stage" if isinstance(method, TwoStageLeastSquares) else "limited-information"
    return name, instruments_assumption(roles, moved)


def _split(method: Method, roles: Roles) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the confounders that need no instrument and those that do."""
    if not roles.confounders:
        raise SettingsError("Name the confounders in `Roles(confounders=...)`.")
    if not isinstance(method, TwoStageLeastSquares | LimitedInformation):
        return roles.confounders, ()
    return method.exogenous, tuple(c for c in roles.confounders if c not in method.exogenous)


def _files(path: str | os.PathLike[str]) -> list[Path]:
    given = Path(path)
    found = sorted(given.rglob("*.parquet")) if given.is_dir() else [given]
    if not found or not found[0].exists():
        raise UnreadableFile(f"There is no Parquet file at {str(path)!r}. Check the path.")
    return found


def _require_columns(file: Path, roles: Roles) -> None:
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
        with pq.ParquetFile(file, pre_buffer=False, buffer_size=BUFFER_BYTES) as opened:
            for batch in opened.iter_batches(rows, columns=list(columns), use_threads=False):
                if batch.num_rows:
                    yield pa.Table.from_batches([batch])


def _levels(files: Sequence[Path], roles: Roles, rows: int) -> dict[str, tuple[str, ...]]:
    schema = pq.read_schema(files[0])
    numbers = (*roles.confounders, *roles.instruments, *roles.features)
    named = [n for n in numbers if n in roles.categorical or _is_text(schema.field(n).type)]
    found: dict[str, set[str]] = {name: set() for name in named}
    for table in _batches(files, named, rows) if named else ():
        for name in named:
            text = pc.cast(pc.unique(table[name]), pa.large_string())
            if text.null_count:
                raise InputError(f"Column {name!r} has missing values. Fill them in first.")
            found[name] |= set(text.to_pylist())
    return {name: tuple(sorted(levels)) for name, levels in found.items()}


def _is_text(kind: pa.DataType) -> bool:
    return (
        pa.types.is_dictionary(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)
    )


def _names(source: _Source, columns: Sequence[str]) -> list[str]:
    found: list[str] = []
    for name in columns:
        levels = source.levels.get(name)
        found += [name] if levels is None else [f"{name}[{level}]" for level in levels[1:]]
    return found


def _read(source: _Source, table: pa.Table, names: Sequence[str]) -> np.ndarray:
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


def _blocks(
    source: _Source,
    own: Sequence[str],
    moved: Sequence[str],
    instruments: Sequence[str],
    method: Method,
) -> Iterator[Block]:
    roles = source.roles
    ways = () if method.covariance == "robust" else roles.cluster_columns()
    cluster = ways[0] if ways else None
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


def _averages(source: _Source, names: Sequence[str], means: np.ndarray) -> list[Average]:
    """Give each confounder its mean, or the shares of its levels, from the columns' means."""
    found, start = [], 0
    for name in names:
        levels = source.levels.get(name)
        if levels is None:
            found.append(Average(name, float(means[start])))
            start += 1
            continue
        others = means[start : start + len(levels) - 1]
        shares = np.concatenate([[1 - others.sum()], others])
        found.append(Average(name, levels=levels, shares=shares))
        start += len(levels) - 1
    return found
