"""The templates of CONTRIBUTING make methods that work."""

import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import causalign as ca
from causalign.stats.least_squares import ordinary

TEXT = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text("utf-8")
TEMPLATES = {
    name: block
    for block in re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    for name in re.findall(r"^class (My\w+)\(", block, flags=re.MULTILINE)
}


def make(name: str, monkeypatch, **given):
    module = types.ModuleType(f"template_{name.lower()}")
    module.__dict__.update(given)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(TEMPLATES[name], "CONTRIBUTING.md", "exec"), module.__dict__)
    return getattr(module, name)


def test_the_estimator_fits_logs_and_says_what_it_lacks(monkeypatch):
    method = make("MyEstimator", monkeypatch, my_regression=lambda y, C, _: ordinary(y, C))
    logs = ca.simulate.Pricing(rows=300, seed=1).simulate().logs
    effect = method().fit(logs)
    assert effect.method == "my-estimator"
    assert not np.allclose(effect.adjust(logs).outcome, logs.outcome)
    with pytest.raises(ca.errors.RoleNotDeclared):
        method().check_roles(ca.Roles(completion="t", outcome="y"))


def test_the_reward_takes_rows_from_logs(monkeypatch):
    method = make("MyReward", monkeypatch)
    seen = {}
    monkeypatch.setattr(method, "fit_arrays", lambda self, X, y, **rows: seen.update(rows, X=X))
    logs = ca.simulate.Newsletter(rows=60, pairs=2).simulate().logs
    with pytest.raises(AttributeError):  # the template's fit_arrays returns nothing
        method().fit(logs, "hashing")
    assert len(seen["X"]) == len(seen["groups"]) == 60


def test_the_policy_method_is_one(monkeypatch):
    pytest.importorskip("peft")
    assert isinstance(make("MyMethod", monkeypatch)(), ca.policy.PolicyMethod)
