"""Which pairs judge the rewards of a run, and which fit the benchmark of experiments."""

import logging
from dataclasses import dataclass, replace

import numpy as np

from causalign.errors import InputError, SettingsError
from causalign.logs import Logs, Pairs
from causalign.logs.covariates import number_labels
from causalign.logs.stories import join_units, rows_together
from causalign.recipe import Evaluation, Recipe
from causalign.reward import Pairwise
from causalign.stats.folds import group_folds
from causalign.stats.strata import crossed, quantile_strata

logger = logging.getLogger(__name__)

# With fewer an interval would say nothing; numbers are cut more coarsely until there are enough.
FEWEST_ALIKE, ENOUGH_ALIKE = 20, 50
CLASSES = {10: "tenth", 5: "fifth", 3: "third"}
WITH_TIES = -1.0
# Every pair of rows within a group is compared; so many fill the memory.
MOST_PAIRS = 20_000_000


@dataclass(frozen=True, slots=True)
class JudgingPairs:
    """Hold the pairs that fit the experimental reward and those that judge; None without any.

    ``choices`` are those that judge and those left out for their margin, ties too: what a choice
    earns on the others alone would be overstated. ``about`` says what judges, or why nothing does
    and what would.
    """

    experiment: Pairs | None
    test: Pairs | None
    about: str = ""
    choices: Pairs | None = None


def choose_pairs(logs: Logs, held_out: np.ndarray, recipe: Recipe) -> JudgingPairs:
    """Return the pairs as a recipe asks for them.

    Parameters
    ----------
    logs : Logs
        All rows, their outcome as it was logged.
    held_out : (n,) booleans
        The rows that judge.
    recipe : Recipe
    """
    given = recipe.evaluate
    if given.alike and (given.pairs is not None or given.pairs_by):
        raise SettingsError(
            "'evaluate' names what judges twice: give one of 'pairs', 'pairs_by' and 'alike'."
        )
    if given.alike:
        return _match_alike(logs.take(held_out, "held out"), given, recipe.seed)
    if given.pairs is not None:
        pairs, test = _read_pairs(logs, given.pairs, recipe.seed)
    elif given.pairs_by:
        pairs, test = _compare_rows(logs, held_out, given)
    else:
        return JudgingPairs(
            None,
            None,
            "What could: pairs of randomised texts (evaluate.pairs), columns within which texts "
            "compete (evaluate.pairs_by), or held-out rows alike in all confounders "
            "(evaluate.alike: true).",
        )
    if not test.any():
        raise SettingsError("No pair is held out to judge the rewards; raise 'data.held_out'.")
    judging = pairs.take(test)
    if len(np.unique(judging.group)) < 2:
        raise SettingsError(
            "All pairs that judge the rewards are of one group, so that no interval can be told. "
            "Name more columns in 'evaluate.pairs_by', or set 'evaluate.alike' instead."
        )
    benchmark = _choose_benchmark(pairs.take(~test), recipe.seed)
    if given.pairs is not None:
        return JudgingPairs(benchmark, judging, choices=judging if judging.has_margins else None)
    whole = replace(given, significance=None, minimum_margin=WITH_TIES)
    every, held = _compare_rows(logs, held_out, whole)
    return JudgingPairs(benchmark, judging, choices=every.take(held))


def _match_alike(logs: Logs, given: Evaluation, seed: int) -> JudgingPairs:
    """Match held-out rows that agree in all confounders, numbers cut into classes.

    Of rows that share a cluster or a text one stays, and each is in one pair at most: so the pairs
    are independent of each other.
    """
    order = np.random.default_rng(seed).permutation(len(logs))
    _, first = np.unique(rows_together(logs)[order], return_index=True)
    some = logs.take(np.sort(order[first]), "one row of each cluster or text")
    names = ", ".join(some.roles.confounders)
    for classes in CLASSES:
        every = _match(some, classes, seed)
        pairs = every.take(every.margin > given.minimum_margin)
        if len(pairs) >= ENOUGH_ALIKE:
            break
    if len(pairs) < FEWEST_ALIKE:
        return JudgingPairs(
            None,
            None,
            f"{len(pairs) or 'No'} pairs of held-out rows are alike in all of {names} and differ "
            f"in {logs.roles.outcome}; at least {FEWEST_ALIKE} are needed. What could judge: fewer "
            "columns (evaluate.pairs_by), or pairs of randomised texts (evaluate.pairs).",
        )
    about = (
        f"No experiment judges, but pairs of held-out rows alike in {names} (numbers in the same "
        f"{CLASSES[classes]}): what nobody recorded may still differ between them."
    )
    return JudgingPairs(None, pairs, about, every)


def _match(logs: Logs, classes: int, seed: int) -> Pairs:
    """Match rows of equal confounders, numbers in the same of so many equally full classes."""
    codes = crossed(
        [
            c.values if c.is_categorical else quantile_strata(c.values, classes)
            for c in logs.confounders
        ]
    )
    stratum = "alike"
    while stratum in logs.data.column_names:
        stratum += "_"
    marked = replace(logs, data=logs.data.append_column(stratum, [codes]))
    pairs = marked.matched_pairs((stratum,), seed=seed, minimum_margin=WITH_TIES)
    return replace(pairs, group=np.arange(len(pairs)))


def _read_pairs(logs: Logs, path: str, seed: int) -> tuple[Pairs, np.ndarray]:
    """Return the pairs of a file, and which of them judge: half of the groups."""
    pairs = Pairs.read(path)
    if logs.prompts is None:
        pairs = replace(pairs, prompt=None)
    elif pairs.prompt is None:
        raise SettingsError(
            "'evaluate.pairs' needs a column 'prompt': rewards of logs with prompts read them."
        )
    story = _join_pairs(pairs)
    names = np.unique(story)
    half = np.random.default_rng(seed).permutation(names)[: len(names) // 2]
    return pairs, np.isin(story, half)


def _compare_rows(logs: Logs, held_out: np.ndarray, given: Evaluation) -> tuple[Pairs, np.ndarray]:
    """Return every pair of rows that agree in some columns, and which of them judge."""
    _require_room(logs, given.pairs_by)
    pairs = logs.pairs(
        given.pairs_by, significance=given.significance, minimum_margin=given.minimum_margin
    )
    if pairs.rows is None or not len(pairs):
        raise SettingsError("No two rows make a pair; see 'evaluate.pairs_by'.")
    if logs.roles.group is not None:
        pairs = replace(pairs, group=logs.groups[pairs.rows[:, 0]])
    # A pair that straddles the split would put its texts on both sides.
    sides = held_out[pairs.rows]
    whole = sides[:, 0] == sides[:, 1]
    return pairs.take(whole), sides[whole, 0]


def _require_room(logs: Logs, columns: tuple[str, ...]) -> None:
    joint = np.column_stack([logs.codes_of(name) for name in columns])
    _, sizes = np.unique(joint, axis=0, return_counts=True)
    count = int((sizes * (sizes - 1) // 2).sum())
    if count > MOST_PAIRS:
        raise InputError(
            f"The columns of 'evaluate.pairs_by' ({', '.join(columns)}) make {count:,} pairs of "
            f"rows, more than {MOST_PAIRS:,}. Name more columns, or set 'evaluate.alike' instead."
        )


def _choose_benchmark(pairs: Pairs, seed: int) -> Pairs | None:
    """Return the pairs that fit the experimental reward; None where they are too few for one."""
    try:
        group_folds(pairs.group, Pairwise().folds, seed)
    except InputError as refusal:
        logger.info("no reward is fitted on pairs: %s", refusal)
        return None
    return pairs


def _join_pairs(pairs: Pairs) -> np.ndarray:
    """Return ``(m,)`` what both halves keep apart: groups of pairs that share a text are one."""
    texts = number_labels([*pairs.chosen, *pairs.rejected])
    story = join_units(np.tile(pairs.group, 2), texts)
    return pairs.group if story is None else story[: len(pairs)]
