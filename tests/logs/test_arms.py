"""Arms of tests, the stories that they tell, and what a log shares with them."""

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
