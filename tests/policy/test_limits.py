"""A guardrail that rises with the outcome: a free choice breaks it, a limit keeps it."""

import numpy as np
import pyarrow as pa
import pytest

from causalign.checks.limits import Limit, read_limit
from causalign.errors import SettingsError
from causalign.logs import Logs, Roles
from causalign.policy import BestOf
from causalign.reward import ForAudience, Ridge, audience_gains
from causalign.simulate import OppositeTastes

WORDS = ("free", "now", "win", "calm", "news", "thanks", "you", "today")
GAIN = np.array([1.0, 0.8, 0.6, 0.0, 0.2, 0.1, 0.0, -0.2])
HARM = np.array([0.9, 0.7, 0.5, -0.3, 0.0, -0.1, 0.0, 0.1])  # what pays is what is complained of
ROLES = Roles("text", "clicks", guardrails=("complaints",))


class CountsWords:
    """How often each of the words occurs in a text."""

    name, revision, dimension = "counts words", "1", len(WORDS)

    def encode(self, texts):
        counts = [[text.split().count(word) for word in WORDS] for text in texts]
        return np.array(counts, dtype=np.float32).reshape(-1, len(WORDS))


def draw_texts(draw, count):
    holds = draw.random((count, len(WORDS))) < 0.4
    return [" ".join(np.array(WORDS)[row]) for row in holds]


def true_harm(texts):
    return CountsWords().encode(texts) @ HARM


def draw_log(seed, rows=400):
    draw = np.random.default_rng(seed)
    texts = draw_texts(draw, rows)
    X = CountsWords().encode(texts)
    return Logs.of(
        pa.table(
            {
                "text": [text or "plain" for text in texts],
                "clicks": X @ GAIN + draw.normal(size=rows),
                "complaints": X @ HARM + draw.normal(size=rows),
            }
        ),
        ROLES,
    )


def choose(seed, limits=(), logs=None):
    logs = draw_log(seed)
    model = Ridge().fit(logs, CountsWords()).model
    draw = np.random.default_rng(1000 + seed)
    offers = [draw_texts(draw, 16) for _ in range(40)]
    return logs, BestOf(limits=limits).choose(offers, model, [None] * 40, logs=logs)


def rise(logs, best):
    """Return by how much the chosen texts truly move the guardrail from the log's mean."""
    chosen = [text for text in best.texts() if text is not None]
    return true_harm(chosen).mean() - true_harm(logs.completions).mean()


def test_a_limit_keeps_what_a_free_choice_breaks():
    free, kept, shown = [], [], []
    for seed in range(40):
        logs, best = choose(seed)
        free.append(rise(logs, best))
        change = best.changes["complaints"]
        shown.append(change.lower <= free[-1] <= change.upper)
        kept.append(rise(*choose(seed, ["complaints <= 0.1"])))
    assert min(free) > 0.5
    assert np.mean(np.array(kept) <= 0.1) >= 0.95
    assert np.mean(shown) >= 0.85, "what is told of the guardrail holds the truth"


def test_refusals_name_the_limit_and_findings_say_whether_it_holds():
    _, best = choose(0, ["complaints <= 0.1"])
    assert best.refused["may break complaints <= 0.1"] > 100
    verdicts = {finding.code: finding.verdict for finding in best.findings}
    assert verdicts["WR105"] != "fail"
    _, free = choose(0)
    finding = next(one for one in free.findings if one.code == "WR105")
    assert finding.verdict == "fail"
    assert "complaints <= 0 is broken" in finding.explanation
    assert "what the choice does to guardrails" in free.section().tables
    assert "change of complaints" in free.table().column_names


def test_a_lower_limit_is_one_on_the_other_side():
    logs, free = choose(3)
    _, held = choose(3, ["complaints >= 0.4"])
    assert rise(logs, held) > 0.4
    assert len([t for t in held.texts() if t]) < len([t for t in free.texts() if t]) + 1


def test_a_limit_that_nothing_keeps_refuses_all():
    _, best = choose(0, ["complaints <= -9"])
    assert best.texts() == [None] * 40
    assert best.why_not == "no candidate may be chosen"


@pytest.mark.parametrize("written", ["complaints", "complaints < 1", "complaints <= much", "<= 1"])
def test_a_limit_that_cannot_be_read_says_how_to_write_it(written):
    with pytest.raises(SettingsError, match="as in 'complaints <= 0.01'"):
        BestOf(limits=[written])


def test_a_limit_is_read_with_or_without_blanks():
    assert read_limit("late returns<=-0.5") == Limit("late returns", 1, -0.5)
    with pytest.raises(SettingsError, match="limits are several"):
        BestOf(limits="complaints <= 1")


def test_a_limit_of_a_guardrail_that_the_reward_does_not_know_is_refused():
    model = Ridge().fit(draw_log(0), CountsWords()).model
    with pytest.raises(SettingsError, match="no guardrail 'complaint'; did you mean 'complaints'"):
        BestOf(limits=["complaint <= 0"]).choose([["now", "win"]], model, [None])


def test_what_some_audience_would_lose_by_is_refused():
    logs = OppositeTastes(rows=2000).simulate().logs
    model = ForAudience().fit(logs, "style").model
    offers = [logs.completions[16 * row : 16 * row + 16] for row in range(20)]
    free = BestOf(caution=0).choose(offers, model, [None] * 20)
    fair = BestOf(caution=0, most_loss=0.0).choose(offers, model, [None] * 20)
    chosen = [text for text in fair.texts() if text is not None]
    assert any(why.startswith("the audience") for why in fair.refused)
    worst = audience_gains(model, chosen).worst
    assert worst.min() >= 0
    assert audience_gains(model, [t for t in free.texts() if t]).worst.min() < 0


def test_a_reward_without_audiences_cannot_say_who_loses():
    model = Ridge().fit(draw_log(0), CountsWords()).model
    with pytest.raises(SettingsError, match="the same for all readers"):
        BestOf(most_loss=0).choose([["now", "win"]], model, [None])


def test_a_harm_too_rare_to_be_valued_leaves_the_gain_known():
    logs = draw_log(0, rows=100)
    harm = np.zeros(100)
    harm[0] = 1.0
    table = logs.data.drop_columns(["complaints"]).append_column("complaints", pa.array(harm))
    logs = Logs.of(table, ROLES)
    model = Ridge().fit(logs, CountsWords()).model
    best = BestOf().choose([["now win", "calm"]] * 3, model, [None] * 3, logs=logs)
    assert best.worth, best.why_not
    finding = next(one for one in best.findings if one.code == "WR105")
    assert finding.verdict in ("not applicable", "warn")
