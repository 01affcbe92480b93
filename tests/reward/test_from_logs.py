"""Every method takes from logs what its array form is given by hand, with the same numbers."""

import subprocess
import sys
from dataclasses import fields, replace

import numpy as np
import pyarrow as pa
import pytest

from causalign.errors import InputError, RoleNotDeclared, SettingsError
from causalign.lm import embed, load_encoder
from causalign.lm.embedded_logs import embed_logs
from causalign.lm.prefixed_encoder import PrefixedEncoder
from causalign.logs import Logs, Roles
from causalign.logs.arms import read_arms
from causalign.reward import (
    CHOICES,
    METHODS,
    ConfounderInText,
    Examples,
    LinearHead,
    LinearHeadFit,
    Pairwise,
    RewardModel,
    Ridge,
    choose,
    cross_fit,
)
from causalign.stats.strata import quantile_strata

ROWS = 90
ROLES = Roles(
    completion="text",
    prompt="prompt",
    outcome="y",
    group="group",
    confounders=("price",),
    objective="aim",
    weight="weight",
    audience=("plan",),
)
WORDS = ["free", "mug", "rain", "sale", "news", "today", "price", "hello", "blue", "red"]
LEARNING = {"training": {"epochs": 2}, "width": 8, "seed": 3}


def columns():
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(WORDS, 5)) for _ in range(ROWS)]
    price = random.normal(size=ROWS)
    y = np.array([t.count("free") - t.count("rain") for t in texts]) + price
    return {
        "text": texts,
        "prompt": random.choice(["a mail", "a note"], ROWS).tolist(),
        "y": y + 0.3 * random.normal(size=ROWS),
        "event": (y > 0).astype(float),
        "level": np.digitize(y, [-1, 0, 1]).astype(float),
        "group": np.repeat(np.arange(ROWS // 3), 3),
        "price": price,
        "aim": random.choice(["clear", "kind"], ROWS).tolist(),
        "weight": random.uniform(0.5, 2, ROWS),
        "plan": np.where(np.arange(ROWS) % 2, "paid", "free").tolist(),
    }


OUTCOMES = {"logistic": "event", "multi-class": "level", "ordinal": "level"}


@pytest.fixture(scope="module")
def logs():
    return Logs.of(pa.table(columns()), ROLES)


def logs_for(name, logs):
    return replace(logs, roles=replace(logs.roles, outcome=OUTCOMES.get(name, "y")))


def settings_for(name):
    cls = CHOICES[name]
    network = "width" in {field.name for field in fields(cls)}
    return {"method": name, **(LEARNING if network else {})}


def head_of_arrays(method, logs):
    """Fit as a reader of the array forms would, each thing taken from the logs by hand."""
    if method.name == "confounder-in-text":
        writer = replace(method, names=("price",))
        written = writer.write(logs.texts, logs.numbers("price"))
        vectors = embed(written, load_encoder("hashing")).vectors
    else:
        vectors = embed_logs(logs, "hashing").vectors
    pairs = logs.pairs() if method.compares else None
    if method.name == "pairwise":
        chosen, rejected = (vectors[side].astype(float) for side in pairs.rows.T)
        return method.fit_arrays(chosen, rejected, groups=pairs.group, weights=pairs.weight).head
    if method.name == "within-tests":
        return method.fit_arms(read_arms(logs, "this"), vectors).head
    if method.name == "pooled":
        given = {"groups": logs.groups, "weights": logs.weights}
        return Ridge().fit_arrays(vectors, logs.outcome, **given).head
    if method.name == "for-audience":
        given = {"groups": logs.groups, "weights": logs.weights, "names": ("free", "paid")}
        plans = np.arange(ROWS) % 2
        return method.fit_arrays(vectors, logs.outcome, plans, **given).head
    if method.name in ("ridge", "confounder-in-text"):
        ridge = method if isinstance(method, Ridge) else Ridge()
        given = {"groups": logs.groups, "weights": logs.weights}
        conditions = quantile_strata(logs.numbers("price"))
        return ridge.fit_arrays(vectors, logs.outcome, environment=conditions, **given).head
    price, aims = logs.numbers("price")[:, None], np.array(logs.data["aim"].to_pylist())
    if pairs is None:
        examples = Examples.of_outcomes(
            vectors,
            logs.outcome,
            weights=logs.weights,
            groups=logs.groups,
            objectives=aims,
            confounders=price,
        )
    else:
        examples = Examples.of_pairs(
            vectors,
            *pairs.rows.T,
            weights=pairs.weight,
            groups=pairs.group,
            objectives=aims[pairs.rows[:, 0]],
            confounders=price[pairs.rows],
        )
    return method.fit_examples(examples).head


def tensors(head):
    heads = head.heads.values() if hasattr(head, "heads") else [head]
    return [array for one in heads for array in one.tensors().values()]


ON_VECTORS = [name for name in CHOICES if name != "language-model"]


@pytest.mark.parametrize("name", ON_VECTORS)
def test_logs_give_what_arrays_give(name, logs, tmp_path):
    if "width" in settings_for(name):
        pytest.importorskip("torch")
    method, read = choose(settings_for(name)), logs_for(name, logs)
    fit = method.fit(read, "hashing")
    by_hand = tensors(head_of_arrays(method, read))
    ours = [array for model in fit.models.values() for array in tensors(model.head)]
    assert len(ours) == len(by_hand) > 0
    assert all((a == b).all() for a, b in zip(ours, by_hand, strict=True))
    assert [f.code for f in fit.findings].count("RM102") == 1
    fit.save(tmp_path)
    for place, model in fit.models.items():
        loaded = RewardModel.load(tmp_path / place)
        assert loaded.method == method, "also one that was named by the kind of its outcome"
        texts, prompts = ["free mug", "rain"], ["a mail", "a note"]
        assert (loaded(texts, prompts) == model(texts, prompts)).all()
        assert loaded.units == fit.units


def test_every_method_is_tried_above_or_reads_texts_itself():
    assert {name for name in CHOICES if CHOICES[name].reads_vectors} == set(ON_VECTORS)
    assert set(METHODS) == set(CHOICES) - set(OUTCOMES)


@pytest.mark.parametrize("name", ON_VECTORS)
def test_a_fit_tells_itself(name, logs):
    if "width" in settings_for(name):
        pytest.importorskip("torch")
    fit = choose(settings_for(name)).fit(logs_for(name, logs), "hashing")
    assert len(repr(fit).splitlines()) <= 12
    assert len(repr(next(iter(fit.models.values()))).splitlines()) <= 12
    assert "<script>" not in replace(fit, findings=fit.findings)._repr_html_()
    assert "Holds if: " in fit.summary()
    section = fit.section()
    assert section.findings == fit.findings
    assert section.stage == "reward"
    assert fit.table().num_rows > 0


def test_what_is_shown_in_html_is_escaped(logs):
    fit = Ridge().fit(logs, "hashing")
    marked = replace(fit, estimate=replace(fit.estimate, assumption="<script>"))
    assert "&lt;script&gt;" in marked._repr_html_()
    assert "<script>" not in marked._repr_html_()


def test_weights_of_the_logs_move_the_reward(logs):
    """As those of permutation weighting, which would be undone without a word."""
    values = np.random.default_rng(5).uniform(0.1, 3, ROWS)
    weighted = logs.with_weights(values, "weighted")
    vectors = embed_logs(logs, "hashing").vectors
    moved = Ridge().fit(weighted, "hashing").model.head
    expected = Ridge().fit_arrays(vectors, logs.outcome, groups=logs.groups, weights=values).head
    assert (moved.coefficients == expected.coefficients).all()
    assert (moved.coefficients != Ridge().fit(logs, "hashing").model.head.coefficients).any()


def test_rows_of_a_text_share_a_fold_where_nothing_else_does(logs):
    plain = replace(logs, roles=replace(logs.roles, group=None))
    twice = plain.take(np.repeat(np.arange(30), 2), "each row twice")
    vectors = embed_logs(twice, "hashing").vectors
    codes = np.repeat(np.arange(30), 2)
    given = {"weights": twice.weights}
    fit = Ridge().fit(twice, "hashing")
    together = Ridge().fit_arrays(vectors, twice.outcome, groups=codes, **given)
    assert fit.estimate.numbers["cv_r2"] == pytest.approx(together.numbers["cv_r2"], abs=0.2)
    apart = Ridge().fit_arrays(vectors, twice.outcome, **given)
    assert fit.estimate.numbers["cv_r2"] < apart.numbers["cv_r2"] - 0.2


def test_confounders_in_front_are_neutral_when_new_texts_are_scored(logs):
    fit = ConfounderInText().fit(logs, "hashing")
    encoder = fit.model.encoder
    assert isinstance(encoder, PrefixedEncoder)
    mean = logs.numbers("price").mean()
    assert encoder.before == f"price: {mean:.2f}. "
    assert fit.model.method == ConfounderInText()


UNABLE = {
    "pairwise": ("group",),
    "confounder-in-layer": ("confounders",),
    "confounder-in-text": ("confounders",),
    "for-audience": ("audience",),
}


@pytest.mark.parametrize("name", CHOICES)
def test_a_method_says_which_role_is_missing(name):
    if "width" in settings_for(name) or name == "language-model":
        pytest.importorskip("torch")
    method, bare = choose(settings_for(name)), Roles(completion="text", outcome="y")
    needed = UNABLE.get(name, ("group",) if method.compares else ())
    if not needed:
        method.check_roles(bare)
        return
    with pytest.raises(RoleNotDeclared) as missing:
        method.check_roles(bare)
    assert missing.value.roles == needed
    method.check_roles(ROLES)


def test_objectives_or_confounders_tell_objectives_apart():
    pytest.importorskip("torch")
    method = choose({"method": "multihead"})
    with pytest.raises(RoleNotDeclared) as missing:
        method.check_roles(replace(ROLES, objective=None, confounders=()))
    assert missing.value.roles == ("objective", "confounders")
    method.check_roles(replace(ROLES, confounders=()))
    with pytest.raises(RoleNotDeclared, match="equal conditions"):
        Ridge(choose="ranking").check_roles(replace(ROLES, confounders=()))


def test_logs_that_hold_no_pair_are_refused(logs):
    same = logs.take(np.flatnonzero(np.arange(ROWS) % 3 == 0), "one of each group")
    with pytest.raises(InputError, match="there is no pair"):
        Pairwise().fit(same, "hashing")


def test_names_and_settings_are_checked():
    with pytest.raises(SettingsError, match="did you mean 'ridge'"):
        choose({"method": "rigde"})
    with pytest.raises(SettingsError, match="folds"):
        choose({"method": "ridge", "fold": 3})


def test_several_rewards_are_not_one(logs):
    pytest.importorskip("torch")
    fit = choose(settings_for("base")).fit(logs, "hashing")
    assert list(fit.models) == ["model/clear", "model/kind"]
    with pytest.raises(SettingsError, match=r"Take one of `\.models`"):
        fit.predict(["a"])


def test_preferences_are_told_by_rewards_of_comparisons_only(logs):
    model = Pairwise().fit(logs, "hashing").model
    first, second, prompts = ["free mug"], ["rain"], ["a mail"]
    gap = model(first, prompts) - model(second, prompts)
    assert model.preference(first, second, prompts) == pytest.approx(1 / (1 + np.exp(-gap)))
    with pytest.raises(InputError, match="no log-odds"):
        Ridge().fit(logs, "hashing").model.preference(first, second, prompts)
    with pytest.raises(InputError, match="predicts no outcome"):
        model.expected_outcome(first, prompts)


def test_cross_fitting_leaves_each_fold_out(logs):
    fit = Ridge(penalties=[1.0]).fit(logs, "hashing")
    crossed = fit.model.cross_fit(logs, folds=3)
    again = cross_fit(Ridge(penalties=[1.0]), logs, "hashing", folds=3)
    texts, prompts = logs.completions, logs.prompts
    predicted = crossed.predict_logged(texts, prompts)
    assert (predicted == again.predict_logged(texts, prompts)).all()
    assert len({tuple(crossed.fold[logs.groups == g]) for g in range(30)}) == 3
    rest = logs.take(crossed.fold != 1, "by hand")
    model = Ridge(penalties=[1.0]).fit(rest, "hashing").model
    rows = np.flatnonzero(crossed.fold == 1)
    assert predicted[rows] == pytest.approx(model(texts, prompts)[rows], rel=1e-9)
    assert (predicted != model(texts, prompts)).any()


def test_cross_fitted_events_are_probabilities(logs):
    pytest.importorskip("torch")
    read = logs_for("logistic", logs)
    crossed = cross_fit(choose(settings_for("logistic")), read, "hashing", folds=2)
    predicted = crossed.predict_logged(read.completions, read.prompts)
    assert ((predicted > 0) & (predicted < 1)).all()


def test_cross_fitting_rewrites_confounders_in_front(logs):
    model = ConfounderInText().fit(logs, "hashing").model
    crossed = model.cross_fit(logs, folds=2)
    by_hand = cross_fit(ConfounderInText(), logs, "hashing", folds=2)
    new = (["free mug"], ["a mail"])
    assert crossed(*new) == by_hand(*new)


def test_cross_fitting_needs_a_method_that_predicts_outcomes(logs):
    with pytest.raises(SettingsError, match="compares texts"):
        cross_fit(Pairwise(), logs, "hashing")
    plain = RewardModel("hashing", LinearHead(np.zeros(2048)))
    assert plain.method is None
    with pytest.raises(SettingsError, match="does not record"):
        plain.cross_fit(logs)


def test_a_fit_of_arrays_knows_its_rows(logs):
    fit = Ridge().fit(logs, "hashing")
    assert isinstance(fit.estimate, LinearHeadFit)
    assert fit.out_of_fold.shape == (ROWS,)


WITHOUT_TORCH = """
import sys
from importlib.machinery import PathFinder
find = PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: None if name == "torch" else find(name, *rest)
import numpy as np, pyarrow as pa
from causalign.errors import ExtraNotInstalled
from causalign.logs import Logs, Roles
from causalign.reward import NetworkHead, Pairwise, RewardModel, Ridge
texts = [f"text {i}" for i in range(40)]
columns = {"t": texts, "y": np.arange(40.0), "g": np.arange(40) // 4}
logs = Logs.of(pa.table(columns), Roles("t", "y", group="g"))
for method in (Ridge(), Pairwise(penalties=[1.0])):
    method.fit(logs, "hashing").save(sys.argv[1])
    RewardModel.load(sys.argv[1] + "/model")(["a text"])
network = NetworkHead((np.zeros((2048, 1)),), (np.zeros(1),))
RewardModel("hashing", network, settings={"method": "perceptron"}).save(sys.argv[1])
RewardModel.load(sys.argv[1])(["a text"])
assert "torch" not in sys.modules
try:
    from causalign.reward import Perceptron
except ExtraNotInstalled as missing:
    print(missing)
"""


def test_linear_rewards_and_saved_networks_work_without_torch(tmp_path):
    command = [sys.executable, "-c", WITHOUT_TORCH, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "pip install 'causalign[lm]'" in done.stdout


def test_a_perceptron_makes_no_columns_of_confounders(monkeypatch):
    monkeypatch.setattr("causalign.reward.from_logs.design", None)
    table = columns()
    table["user"] = [f"u{i}" for i in range(ROWS)]
    fits = [
        choose({"method": "perceptron", **LEARNING}).fit(
            Logs.of(pa.table(table), Roles("text", "y", confounders=names)), "hashing"
        )
        for names in ((), ("user", "price"))
    ]
    first, second = (fit.model.predict(table["text"]) for fit in fits)
    np.testing.assert_array_equal(first, second)
