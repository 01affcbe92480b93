"""The arms of experiments: which texts competed in which test, and how well each did."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from causalign.errors import InputError, RoleNotDeclared
from causalign.logs.stories import join_units
from causalign.logs.table import Logs

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Arms:
    """Hold m arms of tests: one text in one test each, or in one package of the test.

    Attributes
    ----------
    rows : (m,) integers
        A row of the logs that holds the arm's text.
    outcome : (m,) array
        Log-odds where trials are declared, else means.
    variance : (m,) array
        Of the outcome by sampling alone; without replicates one over the arm's weight.
    known : bool
        Whether ``variance`` is in squared units of the outcome, or only relative.
    in_odds : bool
        Whether outcomes are log-odds of an event.
    test : (m,) integers
        What is compared: arms of one test, in the same package where parts of it are declared.
    story : (m,) integers
        Tests that share a text, one by way of another, are one story; each test is its own where
        one story would hold more than a fifth of the arms.
    """

    rows: NDArray[np.int64]
    outcome: Array
    variance: Array
    known: bool
    in_odds: bool
    test: NDArray[np.int64]
    story: NDArray[np.int64]


def read_arms(logs: Logs, what: str) -> Arms:
    """Return the arms of logs whose texts were randomised within the role ``group``.

    With trials the outcome of an arm is its empirical log-odds, with variance
    1/(s + ½) + 1/(n - s + ½). Otherwise rows of one text in one test are one arm: its mean, with
    the pooled variance of rows within arms over its weight.

    Categories among the role ``confounders`` are other parts of the package that a test varied,
    such as the image beside a headline. Their effects are factors of each test: texts are then
    compared where all of them are the same. Numbers are not read: texts were randomised.

    Raises ``RoleNotDeclared`` without a group; ``InputError`` if fewer than two tests have two
    different texts, or none of them differ in outcome.
    """
    if logs.roles.group is None:
        raise RoleNotDeclared(f"{what} compares texts that competed.", "group")
    text, whole_test = logs.codes_of(logs.roles.completion), logs.groups
    parts = [logs.codes_of(name) for name in logs.roles.confounders if _is_category(logs, name)]
    test = np.unique(np.column_stack([whole_test, *parts]), axis=0, return_inverse=True)[1].ravel()
    weight = np.ones(len(logs)) if logs.weights is None else logs.weights
    pair, arm = np.unique(np.column_stack([test, text]), axis=0, return_inverse=True)
    arm = arm.ravel()
    arms_of = np.bincount(pair[:, 0])
    usable = (arms_of[pair[:, 0]] > 1) & (np.bincount(arm, weights=weight) > 0)
    if not usable.any():
        raise InputError(
            "No test has two different texts, so nothing was compared. Does the group name the "
            "tests within which texts were randomised, and do confounders name only other parts "
            "of the package?"
        )
    outcome, variance, known = _summarise(logs, arm, weight)
    compared = np.flatnonzero(usable)
    test_of = np.unique(pair[compared, 0], return_inverse=True)[1].ravel()
    if len(np.unique(whole_test[np.isin(arm, compared)])) == 1:
        raise InputError(
            "One test alone has two different texts. Give two or more, so that what one teaches "
            "can be judged by another."
        )
    first = np.unique(arm, return_index=True)[1]
    if np.ptp(outcome[compared] - _mean_within(outcome[compared], test_of)) == 0:
        raise InputError("The arms of every test have the same outcome: nothing can be learned.")
    of_arm = np.unique(whole_test[first[compared]], return_inverse=True)[1].ravel()
    story = join_units(of_arm, pair[compared, 1])
    return Arms(
        first[compared],
        outcome[compared],
        variance[compared],
        known,
        logs.roles.trials is not None,
        test_of,
        of_arm if story is None else story,
    )


@dataclass(frozen=True, slots=True, eq=False)
class SharedRows:
    """Hold what the n rows of a log share with m arms of experiments.

    Attributes
    ----------
    arm : (n,) integers
        The arm that the row is itself a part of, in the same test with the same text; -1 for none.
    story : (n,) integers
        The story of arms that show the row's text, -1 where none does.
    """

    arm: NDArray[np.int64]
    story: NDArray[np.int64]

    @property
    def own(self) -> NDArray[np.bool_]:
        """Rows that are no rows of the experiments, ``(n,)``."""
        return np.asarray(self.arm < 0)

    def folds(self, arms: Arms, cut: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the fold ``(n,)`` whose arms show a row's text, -1 for none.

        Parameters
        ----------
        arms : Arms
        cut : (m,) integers
            The fold of each arm, whole stories in one; -1 for arms that are in none.
        """
        of_story = np.full(int(arms.story.max()) + 2, -1)  # the last is read at -1: no story
        np.maximum.at(of_story, arms.story, cut)
        return np.asarray(of_story[self.story])


def match_log(logs: Logs, experiments: Logs, arms: Arms) -> SharedRows:
    """Return which rows of a log are rows of experiments too, or show a text of their arms.

    Parameters
    ----------
    logs, experiments : Logs
    arms : Arms
        Of the experiments.
    """
    texts = experiments.texts
    story_of = {texts[row]: story for row, story in zip(arms.rows, arms.story, strict=True)}
    story = np.array([story_of.get(text, -1) for text in logs.texts], dtype=np.int64)
    arm = np.full(len(logs), -1)
    group = experiments.roles.group
    if group is not None and group in logs.data.column_names:
        tests = experiments.data[group].to_pylist()
        arm_of = {(tests[row], texts[row]): place for place, row in enumerate(arms.rows)}
        here = zip(logs.data[group].to_pylist(), logs.texts, strict=True)
        arm = np.array([arm_of.get(row, -1) for row in here], dtype=np.int64)
    return SharedRows(arm, story)


def require_same_scale(logs: Logs, experiments: Logs) -> None:
    """Raise ``InputError`` for a log of rates beside experiments, which are read as log-odds."""
    if logs.roles.trials is not None and experiments.roles.trials is not None:
        raise InputError(
            "The experiments are read as log-odds and the log holds rates. Put the log on the "
            "scale 'logit' before it is deconfounded."
        )


def _is_category(logs: Logs, name: str) -> bool:
    kind = logs.data.schema.field(name).type
    return name in logs.roles.categorical or not (
        pa.types.is_floating(kind) or pa.types.is_integer(kind)
    )


def _summarise(logs: Logs, arm: NDArray[np.int64], weight: Array) -> tuple[Array, Array, bool]:
    """Return outcome and variance of each arm, and whether the variance has the outcome's unit."""
    if logs.roles.trials is not None:
        successes = np.bincount(arm, weights=logs.outcome * logs.trials)
        failures = np.bincount(arm, weights=logs.trials) - successes
        odds = np.log((successes + 0.5) / (failures + 0.5))
        return odds, 1 / (successes + 0.5) + 1 / (failures + 0.5), True
    total = np.bincount(arm, weights=weight)
    usable = np.maximum(total, np.finfo(float).tiny)
    mean = np.bincount(arm, weights=weight * logs.outcome) / usable
    spare = len(logs) - len(total)
    within = float(weight @ (logs.outcome - mean[arm]) ** 2) / max(spare, 1)
    # With a replicate for every other arm or more, what rows of one text differ by is noise.
    known = spare >= len(total) / 2 and within > 0
    return mean, (within if known else 1.0) / usable, known


def _mean_within(values: Array, group: NDArray[np.int64]) -> Array:
    return (np.bincount(group, weights=values) / np.bincount(group))[group]
