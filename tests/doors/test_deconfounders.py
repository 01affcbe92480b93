"""Every estimator of h(C): the same settings through Python, command line and recipe."""

import json

import numpy as np
import pytest

import causalign as ca
from causalign.deconfound import METHODS

BASE = {"completion": "text", "outcome": "y", "confounders": ["price"]}


def roles_of(method: type) -> dict:
    """Return roles with instruments where the method asks for them."""
    try:
        method().check_roles(ca.Roles(**BASE))
    except ca.errors.RoleNotDeclared:
        return BASE | {"instruments": ["cost"]}
    return BASE


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_a_deconfounder_gives_the_same_numbers_by_every_door(doors, tmp_path, name):
    known = METHODS[name].__dataclass_fields__
    settings = {"epochs": 5} if "epochs" in known else {}
    roles = roles_of(METHODS[name])
    train, path = doors.train(roles)

    method = ca.config.choose(METHODS, {"method": name, **settings}, "deconfound")
    adjusted, section = ca.deconfound.adjust_logs(method, train, doors.encoder)
    named = [*doors.options(roles), "--encoder", doors.encoder, "--method", name]
    doors.call("deconfound", path, *named, *doors.assignments(settings), "--out", tmp_path / "cli")
    run = doors.run_recipe(roles, deconfound={"method": name, **settings})

    for folder in (tmp_path / "cli", run / "2-deconfound"):
        stored = ca.Logs.load(folder)
        assert stored.roles == adjusted.roles
        np.testing.assert_array_equal(stored.outcome, adjusted.outcome)
        if adjusted.weights is not None:
            np.testing.assert_array_equal(stored.weights, adjusted.weights)
        numbers = json.loads((folder / "result.json").read_text())["numbers"]
        assert numbers == pytest.approx(dict(section.numbers), nan_ok=True)
    moved = adjusted.outcome if adjusted.weights is None else adjusted.weights
    assert not np.array_equal(moved, train.outcome)
