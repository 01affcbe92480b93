"""What values a choice: parts of the log that did not make it."""

import numpy as np
import pyarrow as pa
import pytest

from causalign import Logs, Roles
from causalign.errors import InputError, SettingsError
from causalign.reward import LinearHead, Pairwise, Pooled, RewardModel, Ridge, WithinTests

random = np.random.default_rng(0)
LETTERS = np.array(list("abcdefgh"))
TEXTS = ["".join(row) for row in LETTERS[random.integers(8, size=(600, 12))]]


class CountsLetters:
    name, revision, dimension = "letters", "1", 8

    def encode(self, texts):
        return np.array([[t.count(x) for x in LETTERS] for t in texts], dtype=np.float32)


Y = np.array([t.count("a") - t.count("b") for t in TEXTS]) + 3 * random.normal(size=600)
LOG = Logs.of(pa.table({"t": TEXTS, "y": Y, "g": np.arange(600) // 4}), Roles("t", "y"))


def test_unseen_outcomes_draw_the_line_by_which_texts_are_valued():
    model = RewardModel(
        "letters", LinearHead(np.r_[5.0, -5.0, np.zeros(6)]), encoder=CountsLetters()
    )
    judge = model.calibrate(LOG)
    r = model(TEXTS)
    slope, level = np.polyfit(r, Y, 1)
    told = judge.assess(["aaa", "bbb"])
    np.testing.assert_allclose(told.reward, level + slope * model(["aaa", "bbb"]))
    assert slope == pytest.approx(0.2, abs=0.03)  # the reward exaggerates fivefold
    step = told.factor[0] - told.factor[1]
    residual = Y - level - slope * r
    error = np.sqrt((((r - r.mean()) * residual) ** 2).sum()) / ((r - r.mean()) ** 2).sum()
    assert np.linalg.norm(step) == pytest.approx(30 * error, rel=0.02)
    with pytest.raises(InputError, match="same reward"):
        RewardModel("letters", LinearHead(np.zeros(8)), encoder=CountsLetters()).calibrate(LOG)


def test_parts_do_not_see_what_they_value():
    fits = Ridge().fit(LOG, CountsLetters()).model.fit_apart(LOG)
    assert len(fits) == 5
    slopes = [judge.line[1] for _, judge in fits]
    assert np.mean(slopes) == pytest.approx(1, abs=0.25)
    compared = Logs.of(LOG.data, Roles("t", "y", group="g"))
    fits = Pairwise().fit(compared, CountsLetters()).model.fit_apart(compared)
    assert len(fits) == 5
    fits = WithinTests().fit(compared, CountsLetters()).model.fit_apart(compared)
    assert fits[0][0] is fits[1][1]
    assert fits[0][1] is fits[1][0]


def test_what_cannot_be_fitted_again_says_so():
    with pytest.raises(SettingsError, match="does not record its method"):
        RewardModel("letters", LinearHead(np.zeros(8)), encoder=CountsLetters()).fit_apart(LOG)
    pooled = Pooled().fit(LOG, CountsLetters()).model
    with pytest.raises(SettingsError, match="experiments"):
        pooled.fit_apart(LOG)


def test_a_reward_of_pairs_is_valued_by_the_pairs_that_it_did_not_see():
    """A reward of the other half, shrunk by its penalty, tells a third less than is true."""
    words = [f"w{i}" for i in range(60)]

    class Counts:
        name, revision, dimension = "counts", "1", 60

        def encode(self, texts):
            counts = [[text.split().count(word) for word in words] for text in texts]
            return np.array(counts, dtype=np.float32).reshape(-1, 60)

    def draw_texts(draw, count):
        return [" ".join(np.array(words)[row]) for row in draw.random((count, 60)) < 0.2]

    def gain(judge, chooser, asked):
        top = chooser.assess(asked).reward.argsort()[-30:]
        valued = judge.assess(asked).reward
        return valued[top].mean() - valued.mean()

    by_parts, by_halves = [], []
    for seed in range(5):
        draw = np.random.default_rng(seed)
        effects = 0.25 * draw.normal(size=60)
        texts = draw_texts(draw, 900)
        y = Counts().encode(texts) @ effects + draw.gumbel(size=900)  # winners as Bradley-Terry has
        table = pa.table({"text": texts, "y": y, "test": np.arange(900) // 3})
        logs = Logs.of(table, Roles("text", "y", group="test"))
        model = Pairwise().fit(logs, Counts()).model
        asked = draw_texts(draw, 600)
        truth = Counts().encode(asked) @ effects

        def right(chooser, truth=truth, asked=asked):
            return truth[chooser.assess(asked).reward.argsort()[-30:]].mean() - truth.mean()

        by_parts += [gain(j, c, asked) / right(c) for c, j in model.fit_apart(logs)]
        halves = [
            Pairwise().fit(logs.take(np.arange(900) // 3 % 2 == side, "half"), Counts()).model
            for side in (0, 1)
        ]
        by_halves += [gain(j, c, asked) / right(c) for c, j in (halves, halves[::-1])]
    assert np.mean(by_parts) == pytest.approx(1, abs=0.12)
    assert np.mean(by_halves) < 0.75
