"""Propensities that are logarithms or not, and those that cannot be."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from causalign.errors import InputError, RoleNotDeclared, SettingsError
from causalign.logs import Logs, Roles
from causalign.policy.propensity import log_propensities, logged_propensities, uniform_design


def test_probabilities_and_their_logarithms_are_told_apart():
    p = np.array([0.5, 1.0, 1e-12])
    assert np.allclose(log_propensities(p), np.log(p))
    assert np.allclose(log_propensities(np.log(p)), np.log(p))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([0.5, 0.0], "0 in row 1"),
        ([0.5, 1.5], "1.5 in row 1, above 1"),
        ([12.5, 80.0], "above 1"),
        ([-3.0, 0.5], "mixes"),
        ([0.5, np.nan], "nan in row 1"),
        ([-np.inf, -1.0], "-inf in row 0"),
        ([], "one number for each row"),
    ],
)
def test_propensities_that_cannot_be_are_refused(values, said):
    with pytest.raises(InputError, match=said):
        log_propensities(values)


def test_a_uniform_design_counts_the_texts_of_each_prompt():
    table = pa.table(
        {"q": ["a", "a", "a", "b"], "t": ["x", "y", "x", "z"], "y": [1.0, 2.0, 3.0, 4.0]}
    )
    logs = Logs.of(table, Roles(completion="t", outcome="y", prompt="q"))
    assert np.allclose(uniform_design(logs), -np.log([2, 2, 2, 1]))


def test_the_source_of_propensities_must_be_named(logs):
    bare = replace(logs, roles=replace(logs.roles, propensity=None))
    with pytest.raises(RoleNotDeclared, match="Roles\\(propensity"):
        logged_propensities(bare, None, None)
    assert logged_propensities(bare, "reference", None) is None
    with pytest.raises(InputError, match="1 log-propensities for 192"):
        logged_propensities(logs, None, [-1.0])
    with pytest.raises(SettingsError, match="'guess'"):
        logged_propensities(logs, "guess", None)
