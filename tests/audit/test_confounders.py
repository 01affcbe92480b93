import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from causalign import Logs, Roles
from causalign.audit import audit_logs, audit_markers
from causalign.results import Result, Verdict
from causalign.simulate import Newsletter
from causalign.stats.predictability import auc, predictability


def log(seed=0, size=1500, in_text=1.0, on_outcome=1.0):
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(size, 5))
    season = in_text * features[:, 0] + generator.normal(size=size)
    shop = np.where(season + generator.normal(size=size) > 0, "north", "south")
    outcome = features[:, 1] + on_outcome * season + generator.normal(size=size)
    table = {"text": [f"t{i}" for i in range(size)], "y": outcome, "season": season, "shop": shop}
    roles = Roles("text", "y", confounders=("season", "shop"))
    return Logs.of(pa.table(table), roles), features


def verdicts(found):
    return {f.title: f.verdict for f in found.findings if f.code == "CF101"}


def test_a_confounder_shows_in_the_text_and_moves_the_outcome():
    logs, features = log()
    found = audit_logs(logs, text_features=features)
    assert found.confounded_by == ("season", "shop")
    season = found.confounders[0]
    assert season.from_text == pytest.approx(0.5, abs=0.06)
    assert season.outcome_r2 == pytest.approx(2 / 4, abs=0.06)
    assert "confounded by season" in found.section().answer


@pytest.mark.parametrize(("in_text", "on_outcome"), [(0.0, 1.0), (1.0, 0.0)])
def test_one_half_of_confounding_is_none(in_text, on_outcome):
    logs, features = log(in_text=in_text, on_outcome=on_outcome)
    if on_outcome == 0.0:
        noise = np.random.default_rng(9).normal(size=len(logs))
        logs = logs.with_outcome(noise, "noise")
    found = audit_logs(logs, text_features=features)
    assert set(verdicts(found).values()) == {Verdict.PASS}
    assert found.confounded_by == ()


def test_noise_is_not_found_more_often_than_chance():
    false = 0
    for seed in range(40):
        generator = np.random.default_rng(seed)
        features, rows = generator.normal(size=(300, 10)), np.arange(300)
        if seed % 2:
            target, classes = generator.normal(size=300), None
        else:
            target, classes = generator.integers(20, size=300), 20
        score = predictability(features, target, rows, classes=classes, seed=seed)
        false += score.p_value < 0.05
        assert score.score < (0.05 if classes is None else 0.55)
    assert false <= 6


def test_groups_stop_leakage():
    """A copy of a row in another fold would let a memoriser predict pure noise."""
    generator = np.random.default_rng(5)
    features = np.repeat(generator.normal(size=(60, 50)), 5, axis=0)
    target = np.repeat(generator.normal(size=60), 5)
    leaky = predictability(features, target, np.arange(300)).score
    honest = predictability(features, target, np.repeat(np.arange(60), 5)).score
    assert leaky > 0.3
    assert honest < 0.1


def test_auc_equals_scikit_learn():
    generator = np.random.default_rng(2)
    score, label = generator.integers(0, 9, 300) / 3, generator.integers(0, 2, 300)
    assert auc(score, label) == pytest.approx(roc_auc_score(label, score), abs=1e-12)


def test_an_audit_without_confounders_says_so():
    logs = Logs.of(pa.table({"text": ["a", "b", "c"], "y": [1, 2, 4]}), Roles("text", "y"))
    codes = {f.code: f.verdict for f in audit_logs(logs).findings}
    assert codes["CF102"] is Verdict.WARN
    assert codes["DA104"] is Verdict.NOT_APPLICABLE


def test_an_encoder_gives_what_its_vectors_give():
    logs = Newsletter(rows=400, pairs=2).simulate().logs
    encoder = Counts()
    by_encoder = audit_logs(logs, encoder)
    by_array = audit_logs(logs, text_features=encoder.encode(logs.texts))
    assert by_encoder.table() == by_array.table()
    assert by_encoder.findings == by_array.findings
    markers = audit_markers(logs, encoder)
    again = audit_markers(logs, text_features=encoder.encode(logs.texts))
    np.testing.assert_array_equal(markers.q_value, again.q_value)


class Counts:
    """An encoder that needs no library: lengths and letters of each text."""

    name, revision, dimension, worth_caching = "counts", "1", 4, False

    def encode(self, texts):
        return np.array([[len(t), *(t.count(c) for c in "aeM")] for t in texts], dtype=np.float32)


@pytest.mark.parametrize("audit", [audit_logs, audit_markers])
def test_an_audit_is_short_and_its_page_escaped(audit):
    hostile = "<script>alert(1)</script>"
    generator = np.random.default_rng(0)
    day = generator.integers(3, size=300)
    table = pa.table(
        {
            "text": [f"{hostile} day {d} mail {i}" for i, d in enumerate(day)],
            "minutes": day + generator.normal(size=300),
            hostile: [f"{hostile}{d}" for d in day],
        }
    )
    result = audit(Logs.of(table, Roles("text", "minutes", confounders=(hostile,))), Counts())
    assert isinstance(result, Result)
    lines = repr(result).splitlines()
    assert lines[0] == type(result).__name__
    assert len(lines) <= 12
    page = result._repr_html_()
    assert "<script" not in page
    assert "script&gt;" in page
    assert result.section().findings == result.findings
