"""The benchmark compares, continues where it was killed, and takes estimators of strangers."""

import json

import numpy as np
import pytest

import causalign as ca
from causalign.benchmark import ESTIMATORS, Estimate, run

FAST = {name: ESTIMATORS[name] for name in ("naive", "hashed-buckets")}


def stratify(blind):
    """Compare within each level of the confounder: what a stranger may bring."""
    y, t = blind.logs.outcome, blind.marker
    level = blind.logs.codes_of(blind.logs.roles.confounders[0])
    effect, variance = 0.0, 0.0
    for k in np.unique(level):
        share = (level == k).mean()
        arms = [y[(level == k) & (t == arm)] for arm in (0, 1)]
        effect += share * (arms[1].mean() - arms[0].mean())
        variance += share**2 * sum(arm.var(ddof=1) / len(arm) for arm in arms)
    return Estimate.with_error(effect, np.sqrt(variance))


def rows_of(board):
    return {(row["design"], row["estimator"]): row for row in board.table().to_pylist()}


def test_an_estimator_of_a_stranger_stands_beside_the_others():
    board = run(["marker-by-day"], {**FAST, "mine": stratify}, draws=12)
    rows = rows_of(board)
    mine, naive = rows["marker-by-day", "mine"], rows["marker-by-day", "naive"]
    assert mine["intervals"] == mine["draws"] == naive["draws"] == 12
    assert abs(mine["bias"]) < 0.1 < 0.5 < naive["bias"]
    assert (mine["covered"] >= 9, naive["covered"]) == (True, 0)
    assert (mine["auc"], naive["auc"] > 0.5) == (None, True)


def test_numbers_of_the_table_are_what_they_are_called():
    def guess(blind):
        return Estimate(0.5, 0.2, 0.6, scores=blind.unseen_marker)

    row = rows_of(run(["hidden-promotion"], {"guess": guess}, draws=3))["hidden-promotion", "guess"]
    assert row["truth"] == pytest.approx(0.3)
    assert (row["bias"], row["rmse"], row["bias_error"]) == pytest.approx((0.2, 0.2, 0))
    assert (row["covered"], row["intervals"], row["refused"]) == (3, 3, 0)
    log = ca.simulate.HiddenPromotion(seed=0).simulate()
    first, second = log.unseen_effect[0::2], log.unseen_effect[1::2]
    differ = np.abs(first - second) > 1e-9
    score = (log.unseen_marker[0::2] - log.unseen_marker[1::2])[differ]
    one = ca.stats.pair_metrics.pair_auc(score, (first > second)[differ].astype(int)).estimate
    single = run(["hidden-promotion"], {"guess": guess}, draws=1).table()["auc"].to_pylist()
    assert single == pytest.approx([one])


def test_a_killed_run_continues(tmp_path):
    asked = []

    def count(blind):
        asked.append(len(blind.logs))
        if len(asked) == 4:
            raise KeyboardInterrupt
        return Estimate(float(blind.logs.outcome.mean()))

    arguments = (["marker-by-day", "text-cause"], {"count": count})
    with pytest.raises(KeyboardInterrupt):
        run(*arguments, draws=3, rows=300, out=tmp_path)
    lines = tmp_path / "answers.jsonl"
    assert len(lines.read_text().splitlines()) == 3
    with lines.open("a") as file:
        file.write('{"design": "marker-by-d')  # what a kill leaves behind
    board = run(*arguments, draws=3, rows=300, out=tmp_path)
    assert len(asked) == 4 + 3
    whole = run(*arguments, draws=3, rows=300)
    same = ("design", "estimator", "draws", "bias", "rmse")
    assert board.table().select(same).equals(whole.table().select(same))
    run(*arguments, draws=3, rows=300, out=tmp_path)
    assert len(asked) == 4 + 3 + 6
    run(*arguments, draws=3, rows=301, out=tmp_path)  # other logs are asked anew
    assert len(asked) == 4 + 3 + 6 + 6


def test_the_folder_holds_the_table_with_versions_and_seeds(tmp_path):
    board = run(["text-cause"], FAST, draws=2, rows=300, seed=7, out=tmp_path)
    kept = json.loads((tmp_path / "table.json").read_text())
    assert kept["seeds"] == "7 to 8"
    assert kept["versions"]["causalign"] == ca.__version__
    assert kept["texts"] == "built-in templates"
    assert kept["rows"] == 300
    assert kept["table"] == board.table().to_pylist()
    assert (tmp_path / "table.md").read_text() == board.markdown()
    assert "| text-cause | naive | 2 |" in board.markdown()
    assert (tmp_path / "table.csv").read_text().startswith('"design","estimator","draws"')
    assert "built-in templates" in board.answer()


def test_an_estimator_that_refuses_or_does_not_apply_is_told():
    def refuse(blind):
        raise ca.errors.NotIdentified("too few rows")

    board = run(["text-cause"], {"refuse": refuse, "absent": lambda _: None}, draws=2, rows=300)
    (row,) = board.table().to_pylist()
    assert (row["estimator"], row["refused"], row["bias"], row["auc"]) == ("refuse", 2, None, None)
    assert "| text-cause | refuse | 2 (refused 2) | – | – | – | – |" in board.markdown()
    assert "text-cause, refuse refused: too few rows" in board.details()


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ca.errors.SettingsError, match=r"'marker-by-dey'; did you mean 'marker-by-"):
        run(["marker-by-dey"], FAST)
    with pytest.raises(ca.errors.SettingsError, match="draws"):
        run(draws=0)
    with pytest.raises(ca.errors.SettingsError, match="at least one design"):
        run([], FAST)
    with pytest.raises(ca.errors.InputError, match=r"'bad' returned float.*benchmark\.Estimate"):
        run(["text-cause"], {"bad": lambda blind: 1.0}, draws=1)
    with pytest.raises(ca.errors.InputError, match=r"shape \(2,\); there are 400"):
        run(["text-cause"], {"bad": lambda blind: Estimate(1.0, scores=[1, 2])}, draws=1)
    with pytest.raises(ca.errors.InputError, match="finite"):
        Estimate(1.0, scores=[np.nan])
