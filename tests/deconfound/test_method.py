"""What every deconfounder says of itself, where its text features come from, how results look."""

import inspect

import numpy as np
import pyarrow as pa
import pytest

from causalign.deconfound import (
    METHODS,
    Additive,
    ConfounderEffect,
    OrdinaryLeastSquares,
    PermutationWeighting,
    TwoStageLeastSquares,
    UnobservedConfounding,
    add_sensitivity,
)
from causalign.errors import InputError, RoleNotDeclared, SettingsError
from causalign.logs import Logs
from causalign.logs.roles import Roles
from causalign.results import Result

HOSTILE = "<script>alert(1)</script>"


def table(n=80, site=("here", "there")):
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=(2, n))
    price = z + x + rng.normal(size=n)
    return pa.table(
        {
            "text": [f"mail {i % 20} of {i}" for i in range(n)],
            "y": 2 * price + x + rng.normal(size=n),
            "price": price,
            "site": [site[i % len(site)] for i in range(n)],
            "x": x,
            "z": z,
        }
    )


def logs(data=None, **roles):
    declared = {"confounders": ("price",), "instruments": ("z",)} | roles
    return Logs.of(table() if data is None else data, Roles("text", "y", **declared))


class Lengths:
    """An encoder that needs no library: two numbers for each text."""

    name, revision, dimension, worth_caching = "lengths", "1", 2, False

    def encode(self, texts):
        return np.array([[len(t), t.count("1")] for t in texts], dtype=np.float32)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_says_what_it_is(name):
    method = METHODS[name]
    assert method.name == name
    assert isinstance(method.reads_text, bool)
    assert isinstance(method.is_regression, bool)
    parameters = list(inspect.signature(method.fit).parameters)
    assert parameters == ["self", "logs", "encoder", "text_features"]


@pytest.mark.parametrize("name", METHODS)
def test_roles_are_checked_before_anything_is_read(name):
    method = METHODS[name]()
    with pytest.raises(RoleNotDeclared, match=f"{name} needs confounders"):
        method.check_roles(Roles("text", "y", instruments=("z",)))
    method.check_roles(Roles("text", "y", confounders=("price",), instruments=("z",)))
    if "instruments" in method.needs:
        with pytest.raises(RoleNotDeclared, match="needs instruments"):
            method.check_roles(Roles("text", "y", confounders=("price",)))
        moved = METHODS[name](exogenous=("price",))
        with pytest.raises(SettingsError, match="Every confounder is exogenous"):
            moved.check_roles(Roles("text", "y", confounders=("price",), instruments=("z",)))


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.reads_text])
def test_features_come_from_an_encoder_an_array_or_a_role(name):
    method, given = METHODS[name](), logs()
    vectors = Lengths().encode(given.texts)
    by_encoder = method.fit(given, Lengths()).table()
    assert by_encoder == method.fit(given, text_features=vectors).table()
    # An array that is given goes before the encoder.
    assert by_encoder == method.fit(given, "minilm", text_features=vectors).table()
    assert by_encoder != method.fit(logs(features=("x",))).table()
    with pytest.raises(RoleNotDeclared, match=f"{name} compares texts"):
        method.fit(given)
    with pytest.raises(SettingsError, match="text_features=X"):
        method.fit(given, vectors)
    with pytest.raises(InputError, match="finite numbers"):
        method.fit(given, text_features=vectors[:3])


def test_a_method_that_does_not_read_texts_leaves_the_encoder_alone():
    plain = OrdinaryLeastSquares().fit(logs())
    assert plain.table() == OrdinaryLeastSquares().fit(logs(), "no-such-encoder").table()


def test_every_result_adjusts_logs():
    given = logs(features=("x",))
    effect = Additive().fit(given)
    np.testing.assert_array_equal(effect.adjust(given).outcome, effect.subtract_from(given).outcome)
    weights = PermutationWeighting().fit(given)
    np.testing.assert_array_equal(weights.adjust(given).weights, weights.weight(given).weights)
    np.testing.assert_array_equal(weights.adjust(given).outcome, given.outcome)


def test_sensitivity_is_added_to_regressions_only():
    given = logs(features=("x",))
    for method in (OrdinaryLeastSquares(), Additive(), TwoStageLeastSquares()):
        section = method.fit(given).section()
        more = add_sensitivity(section, method, given)
        added = "unrecorded price" in more.tables
        assert added == method.is_regression
        assert ("CF103" in {f.code for f in more.findings}) == method.is_regression


def results():
    """Results whose words are hostile."""
    data = table(site=(HOSTILE, "b", "c")).append_column(HOSTILE, table()["x"])
    given = logs(data, confounders=("price", "site", HOSTILE), features=("z",), instruments=())
    yield OrdinaryLeastSquares().fit(given)
    yield PermutationWeighting().fit(given)
    yield UnobservedConfounding(HOSTILE).fit(given)


@pytest.mark.parametrize("result", tuple(results()), ids=lambda r: type(r).__name__)
def test_a_result_is_short_and_its_page_escaped(result):
    assert isinstance(result, Result)
    lines = repr(result).splitlines()
    assert lines[0] == type(result).__name__
    assert len(lines) <= 12
    assert max(map(len, lines)) <= 100
    page = result._repr_html_()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert result.table().to_pandas().shape[0] == result.table().num_rows


def test_a_result_is_drawn_on_axes():
    plt = pytest.importorskip("matplotlib.pyplot")
    _, axes = plt.subplots()
    assert OrdinaryLeastSquares().fit(logs()).plot(axes) is axes
    assert axes.get_xlabel() == "effect on y"
    plt.close("all")


def test_an_effect_without_errors_says_so():
    effect = OrdinaryLeastSquares().fit(logs())
    unknown = ConfounderEffect(
        "x", effect.names, effect.estimates, np.full((1, 1), np.nan), effect.terms, 80, "y", "none"
    )
    assert "nan" in unknown.summary()
    assert "nan" in repr(unknown)
