"""Truths of the benchmark's designs: exact sums, and samples so large that chance is gone."""

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pytest
from scipy.special import expit

import causalign as ca
from causalign.simulate import (
    HiddenPromotion,
    MarkerByDay,
    SilentReaders,
    TextCause,
    read_labelled_texts,
    template_texts,
)
from causalign.simulate.marker_log import DAYS, MARKER

LARGE = 60_000


def within(log: ca.simulate.MarkerLog, column: str, weights=None) -> np.ndarray:
    """Return by level of a column how much larger the mean outcome is with the marker."""
    w = np.ones(len(log.logs)) if weights is None else weights
    y, level = log.logs.outcome, log.logs.codes_of(column)
    cells = [(level == k) & (log.marker == t) for k in range(level.max() + 1) for t in (0, 1)]
    mean = [np.average(y[rows], weights=w[rows]) for rows in cells]
    return np.diff(np.reshape(mean, (-1, 2)), axis=1).ravel()


def naive(log: ca.simulate.MarkerLog) -> float:
    y = log.logs.outcome
    return float(y[log.marker == 1].mean() - y[log.marker == 0].mean())


def test_text_cause_has_the_effect_that_a_sum_gives():
    """By hand: σ(2) - σ(1.5) where .9 speak well, σ(0) - σ(-.5) where .7 do."""
    exact = (expit(2) - expit(1.5) + expit(0) - expit(-0.5)) / 2
    log = TextCause(rows=LARGE).simulate()
    assert log.effect == pytest.approx(exact)
    topic = log.logs.codes_of("topic")
    shares = [log.marker[topic == k].mean() for k in (0, 1)]
    assert shares == pytest.approx([0.9, 0.7], abs=0.01)
    assert within(log, "topic").mean() == pytest.approx(exact, abs=0.02)
    assert naive(log) > exact + 0.1


def test_texts_of_text_cause_are_of_their_cell():
    texts = template_texts()
    log = TextCause(texts=texts, rows=500).simulate()
    speaks_well = dict(zip(texts.texts, texts.favourable, strict=True))
    about = {t: texts.topics[k] for t, k in zip(texts.texts, texts.topic, strict=True)}
    assert [speaks_well[text] for text in log.logs.texts] == list(log.marker.astype(bool))
    assert [about[text] for text in log.logs.texts] == log.logs.data["topic"].to_pylist()
    assert set(log.unseen).isdisjoint(log.logs.texts)


def test_the_marker_by_day_adds_its_effect_averaged_over_days():
    design = MarkerByDay(rows=LARGE)
    log = design.simulate()
    assert log.effect == pytest.approx(design.effects.mean())
    order = np.argsort(DAYS)  # codes are in the order of letters
    assert within(log, "weekday") == pytest.approx(design.effects[order], abs=0.12)
    assert within(log, "weekday").mean() == pytest.approx(0.3, abs=0.03)
    assert naive(log) > 0.8


def test_a_hidden_promotion_is_in_the_log_and_not_in_the_tests():
    log = HiddenPromotion(rows=LARGE, tests=4000).simulate()
    assert within(log, "weekday").mean() > 0.6
    y, t = log.experiments.outcome, log.experiment_marker
    assert y[t == 1].mean() - y[t == 0].mean() == pytest.approx(0.3, abs=0.03)
    assert HiddenPromotion(rows=500, tests=0).simulate().experiments is None


def test_weights_stand_for_those_who_stay_silent():
    log = SilentReaders(rows=LARGE).simulate()
    assert log.logs.weights.sum() == pytest.approx(LARGE, rel=0.02)
    weighted = within(log, "weekday", log.logs.weights).mean()
    assert weighted == pytest.approx(0.3, abs=0.04)
    assert within(log, "weekday").mean() < 0.2


@pytest.mark.parametrize("design", [MarkerByDay, HiddenPromotion, SilentReaders])
def test_unseen_texts_have_their_effect_and_edits_differ_by_the_marker(design):
    log = design(rows=500).simulate()
    without, with_marker = log.edited
    assert [MARKER + text for text in without] == list(with_marker)
    assert set(without).isdisjoint(log.rest)
    carries = np.array([text.startswith(MARKER) for text in log.unseen])
    assert (carries == log.unseen_marker).all()
    appeal = log.unseen_effect - log.effect * log.unseen_marker
    assert 2 <= len(np.unique(appeal.round(9))) <= 6
    assert [text.startswith(MARKER) for text in log.logs.texts] == list(log.marker.astype(bool))


def test_draws_depend_on_the_seed_and_on_the_design():
    first, again = (MarkerByDay(rows=200, seed=1).simulate() for _ in range(2))
    other = MarkerByDay(rows=200, seed=2).simulate()
    assert (first.logs.outcome == again.logs.outcome).all()
    assert not np.array_equal(first.marker, other.marker)
    beside = SilentReaders(rows=200, seed=1).generator().random()
    assert MarkerByDay(rows=200, seed=1).generator().random() != beside


def test_texts_are_read_with_their_topics(tmp_path):
    titles = [f"title {i}" for i in range(60)] + ["title 0", "", "alone"]
    about = ["sports"] * 35 + ["world"] * 25 + ["world", "world", "rare"]
    pacsv.write_csv(pa.table({"title": titles, "category": about}), tmp_path / "news.csv")
    texts = read_labelled_texts(tmp_path / "news.csv", "title", "category")
    assert (len(texts), texts.topics, texts.source) == (60, ("sports", "world"), "news.csv")
    assert np.bincount(texts.topic).tolist() == [35, 25]
    with pytest.raises(
        ca.errors.ColumnNotFound, match="no column 'topics'; there are: title, category"
    ):
        read_labelled_texts(tmp_path / "news.csv", "title", "topics")


def test_texts_of_one_topic_or_without_sentiment_are_refused(tmp_path):
    alone = pa.table({"text": [f"t {i}" for i in range(40)], "topic": ["one"] * 40})
    pacsv.write_csv(alone, tmp_path / "one.csv")
    with pytest.raises(ca.errors.InputError, match="1 of its topics have"):
        read_labelled_texts(tmp_path / "one.csv")
    pytest.importorskip("vaderSentiment")
    dry = pa.table({"text": [f"t {i}" for i in range(60)], "topic": ["a", "b"] * 30})
    pacsv.write_csv(dry, tmp_path / "dry.csv")
    with pytest.raises(ca.errors.InputError, match="too few unfavourable texts: 0"):
        TextCause(texts=read_labelled_texts(tmp_path / "dry.csv")).simulate()


def test_sentiment_is_that_of_the_lexicon():
    pytest.importorskip("vaderSentiment")
    texts = ca.simulate.LabelledTexts(
        ("What a wonderful win", "A terrible disaster", "The bus leaves at nine"),
        np.array([0, 0, 1]),
        ("a", "b"),
        "by hand",
    )
    from causalign.simulate.labelled_texts import read_sentiment

    assert read_sentiment(texts).tolist() == [1, -1, 0]


@pytest.mark.parametrize(
    ("design", "setting", "value"),
    [
        (TextCause, "shares", (0.9, 1.0)),
        (MarkerByDay, "effect", "large"),
        (HiddenPromotion, "odds", 0),
        (SilentReaders, "asked_again", 0),
        (SilentReaders, "rows", 10),
    ],
)
def test_settings_out_of_range_are_named(design, setting, value):
    with pytest.raises(ca.errors.SettingsError, match=setting):
        design(**{setting: value})
