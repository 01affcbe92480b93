import numpy as np

from causalign.checks.rows_behind import rows_behind_effects
from causalign.results import Verdict


def test_it_names_the_effects_that_few_rows_carry():
    carried = np.array([200.0, 4.05, 9.0, 1.0, 3.0])
    found = rows_behind_effects(list("abcde"), carried, 600, clustered=False)
    assert (found.code, found.verdict) == ("DE104", Verdict.WARN)
    assert "4 of 5 effects" in found.explanation
    assert "d (1.0), e (3.0), b (4.0) and 1 more" in found.explanation
    assert "no interval" in found.explanation
    assert found.numbers["fewest"] == 1.0


def test_ten_are_enough_and_clusters_are_called_so():
    found = rows_behind_effects(["a"], np.array([10.0]), 600, clustered=True)
    assert found.verdict is Verdict.PASS
    assert "10 clusters" in found.explanation
    found = rows_behind_effects(["a"], np.array([9.9]), 600, clustered=True)
    assert found.verdict is Verdict.WARN
    assert "no interval" not in found.explanation


def test_unknown_numbers_are_not_judged():
    found = rows_behind_effects(["a"], np.array([np.nan]), 600, clustered=False)
    assert found.verdict is Verdict.NOT_APPLICABLE
