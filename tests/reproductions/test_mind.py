"""The reproduction of MIND: rewards read what they say, policies are judged as the tables say."""

import importlib
from pathlib import Path

import numpy as np
import pytest

REPRODUCTIONS = Path(__file__).parents[2] / "reproductions"

GOOD, BAD = ("win", "great", "best", "happy"), ("lose", "awful", "worst", "sad")
TEAMS = {"West": "Lakers", "Central": "Bulls", "East": "Celtics"}
SETTINGS = {
    "components": 10,
    "epochs": 6,
    "batch_size": 64,
    "learning_rate": 0.01,
    "width": 16,
    "precision": "float32",
}


@pytest.fixture
def mind(monkeypatch):
    """Return the modules of the reproduction."""
    pytest.importorskip("torch")
    pytest.importorskip("vaderSentiment")
    monkeypatch.syspath_prepend(str(REPRODUCTIONS))
    monkeypatch.syspath_prepend(str(REPRODUCTIONS / "deconfoundlm" / "mind"))
    names = ("news", "rewards", "correlations", "writing", "tunings", "tuned")
    return {name: importlib.import_module(name) for name in names}


def made_up(mind, count):
    """Write titles and abstracts whose tone agrees in four of five, and which name some team."""
    random = np.random.default_rng(5)
    titles, abstracts = [], []
    for _ in range(count):
        tone, other = (GOOD, BAD) if random.random() < 0.5 else (BAD, GOOD)
        team = list(TEAMS.values())[random.integers(3)] if random.random() < 0.6 else "Somebody"
        about = tone if random.random() < 0.8 else other
        titles.append(f"{team} {random.choice(tone)} {random.integers(1000)}")
        abstracts.append(f"a {random.choice(about)} day {random.integers(1000)}")
    news = mind["news"]
    return news.News(
        titles,
        abstracts,
        news.sentiment(titles),
        news.sentiment(abstracts),
        news.divisions_named(titles),
    )


@pytest.mark.slow
def test_instruments_keep_the_sentiment_that_observed_outcomes_lose(mind):
    from causalign.lm.encoders import load_encoder

    news = made_up(mind, 2400)
    teach, judge = news.take(np.arange(2000)), news.take(np.arange(2000, 2400))
    rewards = mind["rewards"]
    vectors = rewards.Vectors(load_encoder("tfidf", training_texts=news.titles + news.abstracts))
    logs = rewards.simulated(teach, True, 0)
    fit = rewards.fitted(teach, logs, vectors, SETTINGS, 0, abstracts=True)
    assert fit.first_stage_f > 10
    assert fit.slopes[rewards.IV] == pytest.approx(0.1, abs=0.04)
    found = mind["correlations"].correlations(fit, judge, vectors)
    assert set(found) == set(rewards.MODELS)
    assert found[rewards.IV] > 0.85 * found["only sentiment"]
    assert found["observed"] < found[rewards.IV] - 0.3


def test_ridge_regressions_share_a_factorisation_and_forget_popularity(mind):
    from causalign.lm.encoders import load_encoder
    from causalign.reward import Ridge

    news = made_up(mind, 400)
    rewards = mind["rewards"]
    vectors = rewards.Vectors(load_encoder("hashing"))
    logs = rewards.simulated(news, True, 3)
    names = ("only sentiment", "observed", "popularity in layer", rewards.IV)
    how = {"abstracts": False, "names": names, "ridge": True}
    fit = rewards.fitted(news, logs, vectors, {"components": 5}, 3, **how)
    X, popularity = vectors(news.titles, None), logs.covariate("popularity").values
    alone = Ridge().fit_arrays(X, logs.outcome).head
    np.testing.assert_allclose(fit.heads["observed"](X), alone(X), atol=1e-6)
    beside = Ridge().fit_arrays(np.column_stack([X, popularity]), logs.outcome).head
    at_mean = np.column_stack([X, np.full(len(X), popularity.mean())])
    np.testing.assert_allclose(fit.heads["popularity in layer"](X), beside(at_mean), atol=1e-6)
    assert tuple(fit.heads) == names


def tunings_of(levels, texts=40):
    """Return rows as if tunings had written happy titles with these shares, and sad ones."""
    rows = {}
    for (reward, seed), share in levels.items():
        happy = round(share * texts)
        written = ["Lakers win great"] * happy + ["rain"] * (texts - happy)
        row = {"nats": 3.0, "own reward": 1.0, "texts": written}
        row |= {name + ", equal": value for name, value in row.items()}
        rows["ridge", "orthogonal", reward, seed] = row
    return rows


def test_intervals_hold_the_spread_of_tunings_and_of_their_texts(mind):
    iv = mind["rewards"].IV
    shares = {(iv, seed): 0.5 + 0.1 * (seed % 2) for seed in range(8)}
    shares |= {("observed", seed): 0.2 + 0.1 * (seed % 2) for seed in range(8)}
    found = mind["tuned"].summary(tunings_of(shares), ["rain"] * 40, 10)
    cell = found["same steps"]["ridge / orthogonal"][iv]
    assert cell["tunings"] == 8
    assert cell["West"]["mean"] == pytest.approx(0.55)
    # Variance of the mean: that of seeds / 8, and p(1 − p) / 40 / 8 of their texts.
    error = np.sqrt((0.05**2 + np.mean([0.5 * 0.5, 0.6 * 0.4]) / 40) / 8)
    width = cell["West"]["high"] - cell["West"]["low"]
    assert width == pytest.approx(2 * 1.96 * error, rel=0.1)
    (gap,) = found["same steps, differences"].values()
    assert gap["West"]["mean"] == pytest.approx(0.3)
    assert gap["West"]["low"] > 0.15
    assert 0 < gap["West"]["seen"] < 0.3
    assert "8 of 10" in mind["tuned"].shown(found)


def test_tunings_go_on_where_they_stopped_and_meet_at_one_divergence(
    mind, tmp_path, monkeypatch, tiny_lm_folder
):
    from causalign.lm.encoders import load_encoder
    from causalign.lm.language_model import load_language_model

    class Start:
        model_folder = tiny_lm_folder

        def language_model(self):
            return load_language_model(tiny_lm_folder)

    monkeypatch.chdir(tmp_path)
    news = made_up(mind, 120)
    encoder = load_encoder("style", training_texts=news.titles)
    ppo = {"steps": 16, "batch_size": 8, "max_length": 24, "learning_rate": 0.02}
    small = {"first_seed": 0, "tunings": 1, "rewards": {"ridge": {"both": ["only sentiment"]}}}
    small |= {"ppo": ppo, "rollout_size": 16, "num_ppo_epochs": 2, "kl_coef": 0.0}
    small |= {"max_new_tokens": 6, "generations": 200, "nats": 0.2}
    settings = {**SETTINGS, "name": "test", "small": small}
    (row,) = mind["tunings"].tune_all(news, Start(), encoder, settings).values()
    assert len(row["texts"]) == len(row["texts, equal"]) == 200
    assert row["nats"] > 0.4
    assert row["nats, equal"] == pytest.approx(0.2, abs=0.1)
    small["tunings"] = 2
    again = mind["tunings"].tune_all(news, Start(), encoder, settings)
    assert again["ridge", "both", "only sentiment", 0] == row
    assert len(again) == 2


def test_generations_are_judged_by_tone_and_by_the_teams_that_they_name(mind):
    texts = [
        "Lakers win a great game",
        "Awful day for Bulls and Bears",
        "Celtics at Lakers",
        "rain",
    ]
    found = mind["writing"].judged(texts * 25)
    assert found["sentiment"]["mean"] == pytest.approx(
        mind["news"].sentiment(texts).mean(), abs=1e-4
    )
    assert found["sentiment"]["low"] < found["sentiment"]["mean"] < found["sentiment"]["high"]
    assert [found[d]["mean"] for d in TEAMS] == [0.5, 0.25, 0.25]
    # Wilson's interval of 50 in 100.
    assert found["West"]["low"] == pytest.approx(0.4038, abs=1e-3)
    assert found["distinct"] == 0.04


def test_a_reward_reads_the_abstract_that_the_prompt_holds(mind):
    from causalign.lm.encoders import load_encoder

    class Head:
        def __call__(self, X):
            return 3 * X.sum(axis=1) + 5

    writing, rewards = mind["writing"], mind["rewards"]
    vectors = rewards.Vectors(load_encoder("hashing"))
    fit = rewards.Fitted({"observed": Head()}, {}, 1.0, 0.0)
    titles, abstracts = ["one two", "three", "four five six"], ["a b", "c", "d e f g"]
    reward = writing.Reward.of(fit, "observed", vectors, titles, abstracts)
    found = reward(titles, [writing.ASK + abstract for abstract in abstracts])
    assert found.mean() == pytest.approx(0, abs=1e-9)
    assert found.std() == pytest.approx(1)
    alone = writing.Reward.of(fit, "observed", vectors, titles, None)
    assert alone(titles, None).std() == pytest.approx(1)


@pytest.mark.slow
def test_table_1_is_made_and_goes_on_where_it_stopped(mind, tmp_path, monkeypatch, tiny_lm_folder):
    from causalign.lm.encoders import load_encoder

    monkeypatch.chdir(tmp_path)
    news = made_up(mind, 120)
    encoder = load_encoder("tfidf", training_texts=news.titles)
    training = {"steps": 2, "batch_size": 4, "max_length": 24}
    settings = {
        **SETTINGS,
        "name": "test",
        "epochs": 1,
        "writing": {
            "model": str(tiny_lm_folder),
            "prompted": False,
            "policies": {"orthogonal": ["observed", mind["rewards"].IV]},
            "articles": {"sft": 20, "rewards": 100, "ppo": 0, "test": 0},
            "lora": {"rank": 2},
            "sft": training,
            "ppo": training,
            "rollout_size": 4,
            "num_ppo_epochs": 1,
            "kl_coef": 0.05,
            "max_new_tokens": 6,
            "generations": 8,
        },
    }
    first = mind["writing"].table(news, encoder, settings)
    assert set(first) == {"base", "SFT", "orthogonal"}
    assert len(first["orthogonal"]) == 4
    assert "| orthogonal: observed |" in mind["writing"].shown(first)
    changed = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert len(changed) == 3
    assert mind["writing"].table(news, encoder, settings) == first
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.safetensors")} == changed
