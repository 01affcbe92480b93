"""Every reward method: the same settings through Python, command line and recipe."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import causalign as ca

BASE = {"completion": "text", "outcome": "y", "confounders": ["price"]}
GROUPED = BASE | {"group": "test"}
QUICK = {"width": 4, "depth": 2, "training": {"epochs": 2}}
# Which roles and settings let a method learn from the log; other methods take BASE and nothing.
CASES = {
    "pairwise": (GROUPED, {}),
    "for-audience": (BASE | {"audience": ["aim"]}, {}),
    "perceptron": (BASE, QUICK),
    "logistic": (BASE | {"outcome": "bought"}, QUICK),
    "multi-class": (BASE | {"outcome": "stars"}, QUICK),
    "ordinal": (BASE | {"outcome": "stars"}, QUICK),
    "confounder-in-layer": (BASE, QUICK),
    "base": (GROUPED | {"objective": "aim"}, QUICK),
    "multihead": (GROUPED | {"objective": "aim"}, QUICK),
    "adversarial": (BASE, {"loss": "squared-error", **QUICK}),
}
TEXTS = ["free mugs today", "rain now", "please offer sun"]


def case_of(name: str, tiny_lm_folder) -> tuple[dict, dict]:
    method = ca.reward.choose({"method": name})
    if not method.reads_vectors:
        return BASE, {"model": str(tiny_lm_folder), "training": {"steps": 2, "max_length": 32}}
    roles, settings = CASES.get(name, (GROUPED if method.compares else BASE, {}))
    known = type(method).__dataclass_fields__
    if name not in CASES and "width" in known:
        settings = QUICK
    return roles, settings


def predictions(folder) -> list[np.ndarray]:
    """Return what each model below a folder predicts, in the order of their names."""
    places = sorted(path.parent for path in folder.rglob("reward_model.json"))
    return [ca.reward.RewardModel.load(place).predict(TEXTS) for place in places]


@pytest.mark.parametrize("name", ca.reward.CHOICES)
def test_a_reward_gives_the_same_numbers_by_every_door(doors, tiny_lm_folder, tmp_path, name):
    roles, settings = case_of(name, tiny_lm_folder)
    train, path = doors.train(roles)
    method = ca.reward.choose({"method": name, **settings})
    encoder = doors.encoder if method.reads_vectors else None

    fit = method.fit(train, encoder, out=tmp_path / "work")
    expected = [fit.models[place].predict(TEXTS) for place in sorted(fit.models)]
    encoded = ["--encoder", doors.encoder] if encoder else []
    doors.call("reward", "fit", path, *doors.options(roles), "--method", name, *encoded,
               *doors.assignments(settings), "--out", tmp_path / "cli")  # fmt: skip
    # A class or an event has no part that could be subtracted: such outcomes are weighted.
    adjust = {"method": "additive" if roles["outcome"] == "y" else "permutation-weighting"}
    run = doors.run_recipe(roles, deconfound=adjust, reward={"method": name, **settings})

    for folder in (tmp_path / "cli", run / "3-reward" / "naive"):
        for one, other in zip(predictions(folder), expected, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_experiments_reach_the_reward_by_every_door_and_change_it(doors, tmp_path):
    train, path = doors.train(BASE)
    tested = train.data.slice(0, 60).append_column("trial", [[f"t{i // 3}" for i in range(60)]])
    texts = [f"{text} anew {i}" for i, text in enumerate(tested["text"].to_pylist())]
    tested = tested.set_column(0, "text", [texts])
    place = tmp_path / "tests.parquet"
    pq.write_table(tested, place)
    tests = ca.Logs.of(tested, ca.Roles("text", "y", group="trial"))
    fit = ca.reward.Pooled().fit(train, doors.encoder, experiments=tests)
    expected = fit.predict(TEXTS)
    doors.call("reward", "fit", path, *doors.options(BASE), "--method", "pooled", "--encoder",
               doors.encoder, "--experiments", place, "--group", "trial",
               "--out", tmp_path / "cli")  # fmt: skip
    beside = {"path": str(place), "group": "trial"}
    run = doors.run_recipe(BASE, reward={"method": "pooled"}, experiments=beside)
    for folder in (tmp_path / "cli", run / "3-reward" / "naive"):
        np.testing.assert_array_equal(predictions(folder)[0], expected)
    assert not np.allclose(ca.reward.Pooled().fit(train, doors.encoder).predict(TEXTS), expected)


@pytest.mark.slow
def test_what_a_log_is_worth_and_how_wrong_it_is_are_the_same_by_every_door(doors, tmp_path):
    train, _ = doors.train(BASE)
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(["mugs", "free", "rain", "sun"], 4)) for _ in range(48)]
    tested = pa.table(
        {
            "text": [f"{text} {i}" for i, text in enumerate(texts)],
            "y": [text.count("free") + random.normal(scale=0.3) for text in texts],
            "trial": np.repeat(np.arange(16), 3),
        }
    )
    place = tmp_path / "tests.parquet"
    pq.write_table(tested, place)
    tests = ca.Logs.of(tested, ca.Roles("text", "y", group="trial"))
    run = doors.run_recipe(
        BASE, reward={"method": "pooled"}, experiments={"path": str(place), "group": "trial"}
    )
    adjusted = ca.Logs.load(run / "2-deconfound")
    asked = {
        "worth": ca.evaluate.worth(adjusted, tests, doors.encoder, naive=train),
        "bias": ca.evaluate.bias_of_log(adjusted, tests, doors.encoder),
    }
    logs, outcome = run / "2-deconfound" / "logs.parquet", adjusted.roles.outcome
    options = [*doors.options({"completion": "text", "outcome": outcome}), "--experiments", place,
               "--experiments-outcome", "y", "--group", "trial",
               "--encoder", doors.encoder]  # fmt: skip
    for verb, result in asked.items():
        naive = ["--as-logged", "y"] if verb == "worth" else []
        doors.call("evaluate", verb, logs, *options, *naive, "--out", tmp_path / verb)
        expected = result.section().numbers
        for folder in (tmp_path / verb, run / f"5-evaluate-{verb}"):
            numbers = json.loads((folder / "result.json").read_text())["numbers"]
            assert numbers == pytest.approx(expected), folder
        assert result.section().answer in (run / "6-report" / "report.md").read_text()


@pytest.mark.slow
def test_permutation_weights_reach_the_reward_by_every_door_and_change_it(doors, tmp_path):
    train, path = doors.train(BASE)
    adjusted, _ = ca.deconfound.adjust_logs(
        ca.deconfound.PermutationWeighting(), train, doors.encoder
    )
    fit = ca.reward.Ridge().fit(adjusted, doors.encoder)
    expected = fit.predict(TEXTS)
    doors.call("deconfound", path, *doors.options(BASE), "--encoder", doors.encoder, "--method",
               "permutation-weighting", "--out", tmp_path / "cli")  # fmt: skip
    logs = tmp_path / "cli" / "logs.parquet"
    doors.call("reward", "fit", logs, *doors.options(BASE), "--weight", adjusted.roles.weight,
               "--encoder", doors.encoder, "--out", tmp_path / "reward")  # fmt: skip
    run = doors.run_recipe(BASE, deconfound={"method": "permutation-weighting"})
    for folder in (tmp_path / "reward", run / "3-reward" / "deconfounded"):
        np.testing.assert_array_equal(predictions(folder)[0], expected)
    assert not np.allclose(ca.reward.Ridge().fit(train, doors.encoder).predict(TEXTS), expected)
    # By hand: the weights are those of the least squares.
    by_hand = ca.reward.Ridge().fit_arrays(
        ca.lm.embed_logs(train, doors.encoder).vectors,
        train.outcome,
        groups=train.codes_of("text"),
        weights=adjusted.weights,
    )
    np.testing.assert_allclose(fit.estimate.head.coefficients, by_hand.head.coefficients)


def test_a_run_compares_the_rewards_of_one_objective(doors):
    """The gain is that of deconfounding, not that of one objective over another."""
    roles, settings = CASES["multihead"]
    run = doors.run_recipe(roles, reward={"method": "multihead", **settings})
    numbers = json.loads((run / "5-evaluate" / "result.json").read_text())["numbers"]
    gain = numbers["auc deconfounded harmless"] - numbers["auc naive harmless"]
    assert numbers["auc gain"] == pytest.approx(gain)
