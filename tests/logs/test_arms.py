"""Arms of tests, the stories that they tell, and what a log shares with them."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from causalign import Logs, Roles
from causalign.errors import InputError
from causalign.logs.arms import match_log, read_arms


def test_rows_of_a_log_are_matched_to_tests_by_text_and_to_their_rows_by_test_and_text():
    others = [f"other {i}" for i in range(20)]
    tested = {"text": [*"abbc", *others], "clicks": [1, 2] * 12, "shown": [9] * 24}
    tested["test"] = [i // 2 for i in range(24)]
    roles = Roles("text", "clicks", trials="shown", group="test")
    experiments = Logs.of(pa.table(tested), roles)
    arms = read_arms(experiments, "this")
    table = pa.table({"text": list("acz"), "y": [1.0, 2.0, 3.0], "test": [0, 0, 9]})
    shared = match_log(Logs.of(table, Roles("text", "y")), experiments, arms)
    assert shared.arm.tolist() == [0, -1, -1]
    assert shared.own.tolist() == [False, True, True]
    assert shared.story.tolist() == [0, 0, -1]
    apart = match_log(Logs.of(table.drop_columns("test"), Roles("text", "y")), experiments, arms)
    assert apart.own.all()


def test_one_test_alone_is_refused_in_words():
    one = {"text": ["a", "b", "c"], "clicks": [1, 2, 3], "shown": [9, 9, 9], "test": [0, 0, 1]}
    logs = Logs.of(pa.table(one), Roles("text", "clicks", trials="shown", group="test"))
    with pytest.raises(InputError, match="One test alone has two different texts"):
        read_arms(logs, "this")


def test_texts_are_compared_beside_the_same_other_parts():
    """An image that earns much does not speak for the headline that it stood beside."""
    rng = np.random.default_rng(0)
    table = {"text": [], "image": [], "clicks": [], "shown": [], "test": []}
    for test in range(40):
        for image, rate in (("plain", 0.1), ("bright", 0.4)):
            for text in (f"{test} a", f"{test} b"):
                if (image, text[-1]) == ("plain", "b") and test % 2:
                    continue  # so that b stands beside the bright image more often
                table["text"].append(text)
                table["image"].append(image)
                table["clicks"].append(int(rng.binomial(4000, rate)))
                table["shown"].append(4000)
                table["test"].append(test)
    roles = Roles("text", "clicks", trials="shown", group="test", confounders=["image"])
    arms = read_arms(Logs.of(pa.table(table), roles), "this")
    assert len(arms.rows) == 20 * 4 + 20 * 2  # half of the tests have one headline beside "plain"
    assert len(np.unique(arms.test)) == 60
    assert len(np.unique(arms.story)) == 40
    is_b = np.array([table["text"][row].endswith("b") for row in arms.rows])
    means = np.bincount(arms.test, weights=arms.outcome) / np.bincount(arms.test)
    beyond = arms.outcome - means[arms.test]
    assert abs(beyond[is_b].mean()) < 0.03
    ignoring = read_arms(Logs.of(pa.table(table), replace(roles, confounders=())), "this")
    naive = (
        ignoring.outcome
        - (np.bincount(ignoring.test, weights=ignoring.outcome) / np.bincount(ignoring.test))[
            ignoring.test
        ]
    )
    is_b = np.array([table["text"][row].endswith("b") for row in ignoring.rows])
    assert naive[is_b].mean() > 0.1
