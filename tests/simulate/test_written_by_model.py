"""Texts of a model: policies that sum to one, effects that sums over texts give, logged chances."""

from itertools import product

import numpy as np
import pytest

import causalign as ca

pytest.importorskip("transformers")

from causalign.lm import SmallModel
from causalign.simulate import WrittenByModel, template_texts, write_lessons
from causalign.simulate.marker_log import MARKER
from causalign.simulate.written_by_model import Pool, write_pool, write_prompts

SHAPE = SmallModel(vocabulary=300, width=32, layers=2, heads=2, window=64)
QUICK = {"candidates": 20, "max_new_tokens": 6}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a model that has learned no more than a tokenizer."""
    return str(SHAPE.make(write_lessons(template_texts()), tmp_path_factory.mktemp("cache")))


def by_hand():
    """Return a pool of three texts with round likelihoods ``(2, 2, 3)``."""
    likelihood = [[[0.1, 0.2, 0.3], [0.3, 0.1, 0.1]], [[0.2, 0.2, 0.1], [0.1, 0.4, 0.1]]]
    return Pool(("a b", "c d", "e f"), np.log(likelihood)), np.array(likelihood)


def test_policies_are_likelihoods_over_the_mixture():
    pool, f = by_hand()
    mixture = f.mean(axis=(0, 1))
    assert np.exp(pool.mixture) == pytest.approx(mixture)
    ratio = f / mixture
    assert np.exp(pool.policy) == pytest.approx(ratio / ratio.sum(axis=2, keepdims=True))
    topic = f.sum(axis=0)
    assert pool.typical == pytest.approx(topic[0] / topic.sum(axis=0))


def test_the_effect_is_a_sum_over_texts_and_topics(folder):
    pool, _ = by_hand()
    total = 0.0
    for c, k in product(range(2), range(3)):
        more = np.exp(pool.policy[1, c, k]) - np.exp(pool.policy[0, c, k])
        total += 0.5 * more * pool.typical[k]
    design = WrittenByModel(model=folder, effect=0.2, typicality=-2.0)
    assert design.sum_effect(pool) == pytest.approx(0.2 - 2.0 * total)


def test_scores_are_those_with_which_texts_were_drawn(folder):
    from causalign.lm.generate import sample
    from causalign.lm.language_model import load_language_model

    prompts = tuple(write_prompts(topic) for topic in ("home", "travel"))
    pool = write_pool(folder, prompts, 40, 6)
    asked = [prompt for pair in prompts for prompt in pair for _ in range(40)]
    drawn = sample(load_language_model(folder), asked, max_new_tokens=6, seed=0, batch_size=64)
    rows = {}
    for row, text in enumerate(drawn.texts):
        rows.setdefault(" ".join(text.split()), row)
    assert pool.logprob.shape == (2, 2, len(pool.texts))
    for place, text in enumerate(pool.texts):
        topic, marker = divmod(rows[text] // 40, 2)
        assert pool.logprob[marker, topic, place] == pytest.approx(
            drawn.logprob[rows[text]], abs=1e-3
        )


def test_a_large_log_has_the_effect_and_the_chances_that_it_says(folder):
    log = WrittenByModel(model=folder, rows=40_000, **QUICK).simulate()
    y, t, section = log.logs.outcome, log.marker, log.logs.codes_of("section")
    within = [
        y[(section == k) & (t == 1)].mean() - y[(section == k) & (t == 0)].mean() for k in range(3)
    ]
    assert np.mean(within) == pytest.approx(log.effect, abs=0.03)
    assert y[t == 1].mean() - y[t == 0].mean() > log.effect + 0.2
    chances = [log.marker_chance[section == k].mean() for k in range(3)]
    assert [t[section == k].mean() for k in range(3)] == pytest.approx(chances, abs=0.02)
    # The mean of one over a probability is the number of things that may happen.
    texts = {(text, marked) for text, marked in zip(log.rest, t, strict=True)}
    logged = np.exp(-log.logs.numbers("log_propensity"))
    assert logged.mean() == pytest.approx(len(texts), rel=0.1)


def test_held_out_texts_are_not_in_the_log(folder):
    log = WrittenByModel(model=folder, rows=500, unseen=60, **QUICK).simulate()
    assert set(log.unseen_rest).isdisjoint(log.rest)
    assert [text.startswith(MARKER) for text in log.unseen] == list(log.unseen_marker == 1)
    again = WrittenByModel(model=folder, rows=500, unseen=60, **QUICK).simulate()
    assert again.logs.texts == log.logs.texts


def test_the_benchmark_asks_it_where_a_model_is_named(folder, tmp_path):
    chosen = {name: ca.benchmark.ESTIMATORS[name] for name in ("naive", "logged-propensities")}
    assert "written-by-model" not in ca.benchmark.run(None, chosen, draws=1, rows=300).designs
    board = ca.benchmark.run(
        ["written-by-model"], chosen, draws=2, rows=1000, model=folder, out=tmp_path
    )
    table = board.table().to_pylist()
    assert [row["estimator"] for row in table] == list(chosen)
    assert table[1]["rmse"] < table[0]["rmse"]
    assert board.settings["model"] == folder.rpartition("/")[2]
    with pytest.raises(ca.errors.SettingsError, match=r"needs a model that writes.*'small'"):
        ca.benchmark.run(["written-by-model"], chosen)


def test_what_cannot_be_drawn_is_refused(folder):
    with pytest.raises(ca.errors.InputError, match="40 are needed"):
        WrittenByModel(model=folder, candidates=2, max_new_tokens=6).simulate()
    two = ca.simulate.LabelledTexts(("a", "b"), np.array([0, 1]), ("a", "b"), "by hand")
    with pytest.raises(ca.errors.SettingsError, match="texts of 3 topics"):
        WrittenByModel(texts=two)
    with pytest.raises(ca.errors.InputError, match="needs .* tokens of text"):
        ca.benchmark.run(["written-by-model"], draws=1, model="small")
