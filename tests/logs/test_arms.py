"""Arms of tests, the stories that they tell, and what a log shares with them."""

import numpy as np
import pyarrow as pa

from causalign import Logs, Roles
from causalign.logs.arms import match_log, number_stories, read_arms


def test_tests_that_share_a_text_are_unseen_together():
    test = np.array([0, 0, 1, 1, 2, 2, 3, 3])
    text = np.array([0, 1, 1, 2, 3, 4, 4, 0])
    story = number_stories(test, text)
    assert len(np.unique(story)) == 1
    text[-2:] = [5, 6]
    assert [len(np.unique(number_stories(test, text)[test == t])) for t in range(4)] == [1] * 4
    assert len(np.unique(number_stories(test, text))) == 3


def test_rows_of_a_log_are_matched_to_tests_by_text_and_to_their_rows_by_test_and_text():
    tested = {"text": list("abbc"), "clicks": [1, 2, 3, 4], "shown": [9] * 4, "test": [0, 0, 1, 1]}
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
