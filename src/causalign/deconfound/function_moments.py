"""What both estimators of a function of confounders share: columns, held-out moments, findings."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from causalign.checks.completeness import (
    enough_for_a_function,
    held_out_moments,
    own_function,
    strength_for_a_function,
)
from causalign.deconfound.inference import positive_weights
from causalign.deconfound.rare_categories import categories_seen_once
from causalign.deconfound.surfaces import ColumnsOfLogs, read_columns
from causalign.deconfound.two_stage import moved_by_instruments
from causalign.errors import InputError, SettingsError
from causalign.logs import Logs
from causalign.logs.covariates import Covariate, design
from causalign.results import Finding
from causalign.stats.folds import group_folds
from causalign.stats.kernel_instruments import (
    KernelFirstStage,
    kernel_first_stage,
    linear_instruments,
)
from causalign.stats.kernel_widths import (
    CURVED,
    Widths,
    choose_widths,
    reduced_form_errors,
    violations_of_moments,
)
from causalign.stats.kernels import KernelFeatures, kernel_features, mixed_kernel
from causalign.stats.moment_sums import (
    Block,
    Blocks,
    MomentSums,
    held_out_violation,
    sums_by_fold,
    sums_of,
)

# Regressors of some rows: x (b, q).
Regressors = Callable[[slice], np.ndarray]
FEWEST_ROWS = 50
BLOCK = 8192
# Widths of the kernels are chosen on so many rows of a fold at most, whose cost then stays fixed.
ROWS_FOR_WIDTHS = 500
# What to use where no confounder needs an instrument.
FLEXIBLE = "DoubleML with a flexible learner"


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """Hold one estimation: confounders ``rows (n, d)``, test functions ψ of the instruments, y.

    ``linear (n, c)`` and ``linear_instruments (n, e)`` are the columns of a linear model; weights
    have mean 1.
    """

    covariates: tuple[Covariate, ...]
    instruments: tuple[Covariate, ...]
    read: ColumnsOfLogs
    rows: np.ndarray
    instrument_rows: np.ndarray
    test_functions: KernelFeatures
    y: np.ndarray
    weights: np.ndarray
    folds: np.ndarray
    linear: np.ndarray
    linear_names: tuple[str, ...]
    linear_instruments: np.ndarray
    moved: np.ndarray

    def blocks(self, regressors: Regressors) -> Blocks:
        """Return a function that walks through the rows, block by block."""

        def walk() -> Iterator[Block]:
            for start in range(0, len(self.y), BLOCK):
                rows = slice(start, start + BLOCK)
                x = np.hstack([regressors(rows), self.linear[rows]])
                yield rows, self.test_functions(self.instrument_rows[rows]), x, self.y[rows]

        return walk


@dataclass(frozen=True, slots=True, eq=False)
class FunctionMoments:
    """Hold the sums of k folds, the first stage, and the violations ``(k,)`` of two-stage."""

    folds: tuple[MomentSums, ...]
    first_stage: KernelFirstStage
    of_line: np.ndarray


def cut_rows(logs: Logs, folds: int, seed: int) -> np.ndarray:
    """Return the fold ``(n,)`` of each row; raise `InputError` for too few rows or clusters."""
    if len(logs) < FEWEST_ROWS:
        raise InputError(
            f"A function cannot be learned from {len(logs)} rows: at least {FEWEST_ROWS} are "
            "needed. Use TwoStageLeastSquares, which fits a line."
        )
    return group_folds(len(logs) if logs.clusters is None else logs.clusters, folds, seed)


def pose_problem(
    logs: Logs, exogenous: Sequence[str], folds: int, landmarks: int, seed: int
) -> Problem:
    """Lay out the estimation; exogenous confounders serve as their own instruments.

    Raises `RoleNotDeclared`, `SettingsError`, `InputError` for fewer than 50 rows, and
    `NotIdentified` for a confounder or an instrument with one value.
    """
    moved = moved_by_instruments(logs.roles, exogenous, FLEXIBLE)
    if folds < 2:
        raise SettingsError(f"folds must be at least 2, not {folds!r}.")
    member = cut_rows(logs, folds, seed)
    weights = positive_weights(logs)
    weights = weights / weights.mean()
    own = tuple(c for c in logs.confounders if c.name in exogenous)
    instruments = (*logs.instruments, *own)
    read, rows = read_columns(logs.confounders)
    read_instruments, Z = read_columns(instruments)
    test_functions = _choose_test_functions(
        Z, read_instruments.counts, weights, logs.outcome, member, landmarks, seed
    )
    linear, names = design(logs.confounders)
    return Problem(
        covariates=logs.confounders,
        instruments=instruments,
        read=read,
        rows=rows,
        instrument_rows=Z,
        test_functions=test_functions,
        y=logs.outcome,
        weights=weights,
        folds=member,
        linear=_standardise(linear, weights),
        linear_names=names,
        linear_instruments=_standardise(design(instruments)[0], weights),
        moved=np.array([name.split("[")[0] in moved for name in names]),
    )


def choose_features(problem: Problem, landmarks: int, seed: int) -> KernelFeatures:
    """Return features φ of the confounders, of widths that held-out moments like.

    A single confounder keeps the width of one standard deviation: intervals do not know that a
    width was chosen, and with one column choosing gains less than they lose.
    """
    few = _few_of_each_fold(problem.folds, seed)
    weights, psi = problem.weights[few], problem.test_functions(problem.instrument_rows[few])

    def features(rows: np.ndarray, w: np.ndarray, widths: Widths) -> KernelFeatures:
        kernel = mixed_kernel(rows, problem.read.counts, w, widths)
        return kernel_features(rows, kernel, landmarks=landmarks, seed=seed)

    def losses(widths: Widths) -> np.ndarray:
        phi = features(problem.rows[few], weights, widths)(problem.rows[few])
        block = slice(None), psi, phi, problem.y[few]
        return violations_of_moments(
            sums_by_fold(lambda: iter([block]), problem.folds[few], weights), slice(0, phi.shape[1])
        )

    several = len(problem.covariates) > 1
    widths = choose_widths(losses, problem.read.counts) if several else (1.0,)
    return features(problem.rows, problem.weights, widths)


def sum_moments(problem: Problem, regressors: Regressors) -> FunctionMoments:
    """Sum the moments of ``regressors`` and of the linear columns, which come after them."""
    sums = sums_by_fold(problem.blocks(regressors), problem.folds, problem.weights)
    last = slice(len(sums[0].squares) - problem.linear.shape[1], None)

    def linear_blocks() -> Iterator[Block]:
        yield slice(None), problem.linear_instruments, problem.linear, problem.y

    lines = linear_instruments(sums_by_fold(linear_blocks, problem.folds, problem.weights))
    total = sums_of(sums)
    left = [
        float(held_out_violation(total.without(held), held, last, line[:, None])[0])
        for held, line in zip(sums, lines, strict=True)
    ]
    return FunctionMoments(sums, kernel_first_stage(sums, last), np.array(left))


def check_moments(
    problem: Problem, moments: FunctionMoments, violations: np.ndarray, of_nothing: np.ndarray
) -> tuple[Finding, ...]:
    """Return what the logs tell about the instruments and about a function.

    ``violations (k,)`` are those of the function on k held-out folds, ``of_nothing`` of h = 0.
    """
    names = [n for n, moved in zip(problem.linear_names, problem.moved, strict=True) if moved]
    f, r2 = moments.first_stage.f[problem.moved], moments.first_stage.r2[problem.moved]
    return (
        strength_for_a_function(f, r2, names),
        enough_for_a_function(
            len(np.unique(problem.instrument_rows, axis=0)),
            len(problem.instruments),
            sum(not one.is_categorical for one in problem.covariates),
            problem.linear.shape[1],
            len(problem.covariates),
        ),
        own_function(np.maximum(r2, _same_order(problem)[problem.moved]), names),
        held_out_moments(violations, of_nothing, moments.of_line),
        categories_seen_once(problem.covariates),
    )


def moment_numbers(
    problem: Problem, moments: FunctionMoments, violations: np.ndarray, of_nothing: np.ndarray
) -> dict[str, float]:
    """Return the figures that both estimators give: see `check_moments`."""
    return {
        "violation": float(violations.mean()),
        "violation_of_nothing": float(of_nothing.mean()),
        "violation_of_line": float(moments.of_line.mean()),
        "first_stage_f": float(moments.first_stage.f[problem.moved].min()),
    }


def completeness_assumption(logs: Logs, exogenous: Sequence[str]) -> str:
    """Say under which condition the function is causal."""
    moved = [name for name in logs.roles.confounders if name not in exogenous]
    return (
        f"{', '.join(logs.roles.instruments)} moved the outcome only through {', '.join(moved)}, "
        "had nothing to do with the text, and moved them in enough ways to tell every part of the "
        "function (completeness)"
    )


def _choose_test_functions(
    Z: np.ndarray,
    levels: tuple[int, ...],
    weights: np.ndarray,
    y: np.ndarray,
    folds: np.ndarray,
    landmarks: int,
    seed: int,
) -> KernelFeatures:
    """Return ψ of the widths that tell best what the instruments do to the outcome.

    They keep their curves (the line alone is not offered): a test function that sees no bend lets
    every bend of h pass.
    """
    few = _few_of_each_fold(folds, seed)

    def features(rows: np.ndarray, w: np.ndarray, widths: Widths) -> KernelFeatures:
        kernel = mixed_kernel(rows, levels, w, widths)
        return kernel_features(rows, kernel, landmarks=landmarks, seed=seed)

    def losses(widths: Widths) -> np.ndarray:
        psi = features(Z[few], weights[few], widths)(Z[few])
        block = slice(None), psi, y[few, None], y[few]
        return reduced_form_errors(sums_by_fold(lambda: iter([block]), folds[few], weights[few]))

    return features(
        Z, weights, choose_widths(losses, levels, CURVED) if len(levels) > 1 else (1.0,)
    )


def _few_of_each_fold(folds: np.ndarray, seed: int) -> np.ndarray:
    order = np.random.default_rng(seed).permutation(len(folds))
    few = [order[folds[order] == fold][:ROWS_FOR_WIDTHS] for fold in np.unique(folds)]
    return np.sort(np.concatenate(few))


def _same_order(problem: Problem) -> np.ndarray:
    """Return the largest squared rank correlation of each linear column with an instrument.

    It is 1 for a monotone function of an instrument, however curved; 0 for categories.
    """
    # Here, because all of scipy.stats takes a while to import and one function is needed.
    from scipy.stats import rankdata

    numbers = [j for j, one in enumerate(problem.instruments) if not one.is_categorical]
    ranks = rankdata(problem.instrument_rows[:, numbers], axis=0)
    squares = np.zeros(problem.linear.shape[1])
    for one in problem.covariates:
        if not one.is_categorical and numbers:
            own = rankdata(one.values)
            squares[problem.linear_names.index(one.name)] = max(
                np.corrcoef(own, other)[0, 1] ** 2 for other in ranks.T
            )
    return squares


def _standardise(columns: np.ndarray, weights: np.ndarray) -> np.ndarray:
    centred = columns - np.average(columns, axis=0, weights=weights)
    return centred / np.sqrt(np.average(centred**2, axis=0, weights=weights))
