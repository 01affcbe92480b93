"""Every result of an evaluation has a short repr, and a card in which words stay words."""

import numpy as np
import pyarrow as pa
import pytest

from causalign.evaluate import (
    RewardJudge,
    compare_with_baseline,
    held_out,
    marker_shares,
    measure_dependence,
    measure_marker_payments,
    rank,
    win_rate,
)
from causalign.logs import Logs, Roles

EVIL = "<script>alert(1)</script>"
FIRST = [f"{EVIL} a longer text {i}" for i in range(40)]
SECOND = [f"text {i}" for i in range(40)]


def score(texts, prompts):
    return np.array([len(t) + (i % 7) for i, t in enumerate(texts)], dtype=float)


def flat(texts, prompts):
    return np.array([hash(t) % 11 for t in texts], dtype=float)


def logs():
    generator = np.random.default_rng(0)
    table = {
        "text": FIRST + SECOND,
        "y": generator.random(80),
        "price": generator.random(80),
        "test": np.arange(80) // 4,
    }
    roles = Roles("text", "y", confounders=("price",), group="test")
    return Logs.of(pa.table(table), roles)


MODELS = {EVIL: score, "deconfounded": flat}
RESULTS = {
    "win rate": lambda: win_rate(RewardJudge(score), FIRST, SECOND),
    "markers": lambda: marker_shares(FIRST, SECOND, [EVIL, "text"]),
    "against baseline": lambda: compare_with_baseline(
        {EVIL: SECOND, "after": FIRST}, score=score, markers=[EVIL]
    ),
    "ranking": lambda: rank(MODELS, logs().pairs()),
    "dependence": lambda: measure_dependence(MODELS, logs(), train=logs()),
    "payments": lambda: measure_marker_payments(MODELS, SECOND, [EVIL]),
    "held out": lambda: held_out(
        MODELS, pairs=logs().pairs(), logs=logs(), train=logs(), markers=[EVIL]
    ),
    "one reward": lambda: held_out({EVIL: score}, pairs=logs().pairs()),
}


@pytest.mark.parametrize("name", RESULTS)
def test_repr_is_short_and_html_is_escaped(name):
    result = RESULTS[name]()
    assert len(repr(result).splitlines()) <= 12
    page = result._repr_html_()
    assert "<script" not in page
    assert result.table().num_rows >= 1
    assert result.summary().startswith(result.answer())
    assert result.section().stage == "evaluate"
    assert result.plot() is not None
