"""Networks against an adversary of kernels: curves found, and the same ones every time."""

import builtins
import json

import numpy as np
import pyarrow as pa
import pytest

from causalign.deconfound import METHODS, NeuralInstruments, TwoStageLeastSquares
from causalign.errors import ExtraNotInstalled, SettingsError
from causalign.logs import Logs
from causalign.logs.roles import Roles
from causalign.results import Verdict
from causalign.simulate import NonlinearInstruments

STATED = {"abs": 0.05, "sin": 0.05}


def errors(curve, seed, rows=2000, **settings):
    """Return the mean squared errors of the networks, of regressions and of a line."""
    design = NonlinearInstruments(curve, rows=rows, seed=seed).simulate()
    truth = design.confounder_effect - design.confounder_effect.mean()
    x, y = (design.logs.numbers(name) for name in ("price", "outcome"))
    found = NeuralInstruments(**settings).fit(design.logs).predict(design.logs)
    line = TwoStageLeastSquares().fit(design.logs).predict(design.logs)
    fits = [np.polyval(np.polyfit(x, y, degree), x) for degree in (1, 3, 7)]
    naive = min(np.mean((fit - fit.mean() - truth) ** 2) for fit in fits)
    return np.mean((found - truth) ** 2), naive, np.mean((line - truth) ** 2)


@pytest.mark.parametrize("curve", ["abs", "sin"])
def test_finds_a_curve_where_regressions_and_lines_fail(curve):
    pytest.importorskip("torch")
    found, naive, line = errors(curve, seed=0, rows=1000, folds=2, steps=200)
    assert found < STATED[curve]
    assert found < 0.4 * naive
    assert found < 0.8 * line


@pytest.mark.slow
@pytest.mark.parametrize("curve", ["abs", "sin"])
def test_finds_the_curves_on_average(curve):
    pytest.importorskip("torch")
    found, naive, line = np.mean([errors(curve, seed) for seed in range(5)], axis=0)
    assert found < 0.5 * STATED[curve]
    assert found < 0.2 * naive
    assert found < 0.5 * line


def mixed(n=300):
    """Return logs whose instrument for the room is a copy of it."""
    rng = np.random.default_rng(0)
    z, u = rng.normal(size=(2, n))
    room = rng.integers(0, 3, n)
    return pa.table(
        {
            "text": np.arange(n).astype(str),
            "y": z + u + room,
            "price": z + u,
            "room": np.array(["flat", "house", "loft"])[room],
            "cost": z,
            "copy": np.array(["a", "b", "c"])[room],
            "w": rng.uniform(0.5, 2, n),
        }
    )


def logs_of(table):
    roles = Roles(
        "text", "y", confounders=("price", "room"), instruments=("cost", "copy"), weight="w"
    )
    return Logs.of(table, roles)


def test_same_seed_same_numbers_and_everything_is_told():
    torch = pytest.importorskip("torch")
    given, quick = logs_of(mixed()), NeuralInstruments(folds=2, steps=40)
    state = torch.random.get_rng_state()
    first, second = quick.fit(given), quick.fit(given)
    assert torch.equal(state, torch.random.get_rng_state())
    np.testing.assert_array_equal(first.estimates, second.estimates)
    other = NeuralInstruments(folds=2, steps=40, seed=1).fit(given)
    assert not np.allclose(first.estimates, other.estimates)
    assert np.average(first.predict(given), weights=given.weights) == pytest.approx(0, abs=1e-8)
    assert np.isnan(first.standard_errors).all()
    assert first.names[-3:] == ("room[flat]", "room[house]", "room[loft]")
    section = first.section()
    json.dumps({**section.details, **section.numbers})
    assert section.figures[0].svg.startswith("<svg")
    verdicts = {finding.code: finding.verdict for finding in first.findings}
    assert verdicts["ID206"] is Verdict.FAIL
    assert METHODS["neural-instruments"] is NeuralInstruments


def test_an_unknown_category_is_an_average_one():
    pytest.importorskip("torch")
    table = mixed()
    effect = NeuralInstruments(folds=2, steps=40).fit(logs_of(table))
    strange = table.set_column(3, "room", pa.array(["tent"] * 300))
    assert effect.terms[0].unknown(logs_of(strange)) == 300
    found = effect.predict(logs_of(strange))
    levels = [
        effect.predict(logs_of(table.set_column(3, "room", pa.array([level] * 300))))
        for level in ("flat", "house", "loft")
    ]
    assert (found >= np.min(levels, axis=0) - 0.3).all()
    assert (found <= np.max(levels, axis=0) + 0.3).all()


def test_without_torch_the_message_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **more):
        if name == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ExtraNotInstalled, match=r"pip install 'causalign\[lm\]'"):
        NeuralInstruments().fit(logs_of(mixed()))


@pytest.mark.parametrize(
    "wrong", [{"width": 0}, {"steps": 0}, {"learning_rate": 0.0}, {"weight_decay": -1.0}]
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        NeuralInstruments(**wrong)
