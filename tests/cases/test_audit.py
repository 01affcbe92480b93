"""The audit agrees with itself, on any tail and in any script, and says what it cannot see.

Kinds: a first sentence that the second contradicts; words that are cut or not read at all; phrases
within each other told a dozen times; a log without anything to test; numbers that depend on how
many threads add them up.
"""

import json
import os
import subprocess
import sys
import unicodedata

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from causalign import Logs, Roles
from causalign.audit import audit_markers, audit_with_markers
from causalign.results import Verdict

WORDS = np.array([f"word{i}" for i in range(25)])
NOISE = {
    "normal": lambda g, n: g.normal(size=n),
    "lognormal": lambda g, n: g.lognormal(0, 2, n),
    "pareto": lambda g, n: g.pareto(1.5, n),
}


def assert_agreement(section):
    """Check that sentence, findings and advice say the same of confounding; return what."""
    codes = {code: [f for f in section.findings if f.code == code] for code in ("CF101", "MK101")}
    confounded = any(f.verdict is Verdict.WARN for f in codes["CF101"])
    travels = section.numbers.get("spurious markers", 0)
    assert section.answer.startswith("The log is confounded by") is confounded
    assert (section.numbers["confounded_by"] != "nothing") is confounded
    assert (section.tables["what to use"]["use"][0].as_py() != "ordinary") is confounded
    assert confounded or not travels
    assert all((f.verdict is Verdict.WARN) is (travels > 0) for f in codes["MK101"])
    return confounded


def log(seed, noise, in_text, on_outcome, size=700):
    """Draw texts whose greeting may follow the day, and an outcome that the day may move."""
    generator = np.random.default_rng(seed)
    day = generator.random(size) < 0.4
    greeting = generator.random(size) < np.where(day & in_text, 0.8, 0.2)
    picked = WORDS[generator.integers(len(WORDS), size=(size, 4))]
    texts = [
        "happy monday " * bool(g) + " ".join(row) for g, row in zip(greeting, picked, strict=True)
    ]
    good = np.array(["word1" in row for row in picked])
    y = good + 1.5 * (day & on_outcome) + NOISE[noise](generator, size)
    table = {"text": texts, "y": y, "day": np.where(day, "monday", "other")}
    table |= {"greeted": greeting * 1.0, "good": good * 1.0, "other": generator.normal(size=size)}
    roles = Roles("text", "y", confounders=("day",), features=("greeted", "good", "other"))
    return Logs.of(pa.table(table), roles)


@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize(
    ("in_text", "on_outcome"), [(True, True), (False, True), (True, False), (False, False)]
)
def test_sentence_findings_and_advice_agree(noise, in_text, on_outcome):
    for seed in range(2):
        section = audit_with_markers(log(seed, noise, in_text, on_outcome))
        assert assert_agreement(section) is (in_text and on_outcome), (seed, section.answer)


@pytest.mark.parametrize("outcome", ["number_of_reviews", "availability_365", "coin"])
def test_they_agree_on_names_of_homes_whose_outcomes_have_heavy_tails(real_data, outcome):
    table = pq.read_table(real_data / "airbnb_toronto.parquet").slice(0, 6000)
    drawn = pa.array(np.random.default_rng(0).pareto(1.2, table.num_rows))
    table = table.append_column("coin", drawn)
    logs = Logs.of(table, Roles("name", outcome, confounders=("room_type",)))
    assert not (assert_agreement(audit_with_markers(logs, "tfidf")) and outcome == "coin")


SCRIPTS = {
    "English": (["mugs", "plates", "bowls", "forks"], "monday", " "),
    "a number": (["mugs", "plates", "bowls", "forks"], "4.67", " "),
    "decomposed": (["mugs", "plates", "bowls"], unicodedata.normalize("NFD", "café"), " "),
    "Chinese": (["杯子", "盘子", "碗", "叉子"], "星期一", ""),
    "Japanese": (["カップ", "お皿", "ボウル", "ナイフ"], "月曜日", ""),
    "Thai": (["จาน", "ชาม", "ช้อน", "ส้อม"], "วันจันทร์", ""),
    "Korean": (["컵", "접시", "그릇", "포크"], "월요일", " "),
    "Hindi": (["थाली", "कटोरा", "चाकू"], "सोमवार", " "),
    "Arabic": (["صحن", "وعاء", "شوكة"], "مُبارَك", " "),
    "family": (["mugs", "plates", "bowls"], "👨‍👩‍👧‍👦", " "),
    "flag": (["mugs", "plates", "bowls"], "🇩🇪", " "),
    "skin tone": (["mugs", "plates", "bowls"], "👍🏽", ""),
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_words_of_every_script_are_markers(script):
    """The features do not hold the marker: its own column must show what it travels with."""
    words, marker, between = SCRIPTS[script]
    generator = np.random.default_rng(0)
    monday = generator.integers(0, 2, 500)
    has = generator.random(500) < np.where(monday == 1, 0.7, 0.2)
    texts = []
    for row in has:
        text = list(generator.choice(words, 6))
        if row:
            text.insert(int(generator.integers(0, 6)), marker)
        texts.append(between.join(text))
    features = np.array([[word in text for word in words] for text in texts], dtype=float)
    features += generator.normal(size=features.shape)
    table = {
        "text": texts,
        "y": 2.0 * monday + generator.normal(size=500),
        "day": monday.astype(str),
    }
    logs = Logs.of(pa.table(table), Roles("text", "y", confounders=("day",)))
    found = audit_markers(logs, text_features=features)
    wanted = unicodedata.normalize("NFC", marker)
    assert any(wanted in name for name in found.spurious), found.answer()
    assert sum(wanted in name for name in found.spurious) == 1


@pytest.mark.parametrize("moved", [0.0, 3.0])
def test_texts_that_are_all_the_same_have_no_markers(moved):
    generator = np.random.default_rng(0)
    shop = generator.choice(["a", "b"], 300)
    y = moved * (shop == "a") + generator.normal(size=300)
    table = pa.table({"text": ["Your order has shipped"] * 300, "y": y, "shop": shop})
    logs = Logs.of(table, Roles("text", "y", confounders=("shop",)))
    section = audit_with_markers(logs, "tfidf")
    assert "All texts are the same" in section.answer
    assert not assert_agreement(section)
    assert audit_markers(logs).answer().startswith("All texts are the same")


def test_one_long_text_takes_neither_time_nor_memory():
    """Markers of a text are read up to 20,000 characters, so its own greeting is not seen."""
    logs = log(0, "normal", True, True)
    texts = logs.completions
    texts[7] = "星期一 " + "x" * 50_000 + " happy monday" * 4_000
    table = logs.data.set_column(0, "text", pa.array(texts))
    found = audit_markers(Logs.of(table, logs.roles))
    assert "happy monday" in found.spurious


THREADS = """
import json, sys
import numpy as np
from causalign.audit import audit_markers
from causalign.simulate import Newsletter

logs = Newsletter(rows=300, pairs=2).simulate().logs
generator = np.random.default_rng(0)
# Wide features of low rank: some of their directions are rounding alone.
features = generator.normal(size=(300, 20)) @ generator.normal(size=(20, 400))
table = audit_markers(logs, text_features=features).table()
print(json.dumps(table.select(["marker", "naive", "deconfounded", "alone", "q"]).to_pydict()))
"""


def test_one_thread_and_two_give_the_same_numbers():
    told = []
    for threads in ("1", "2"):
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        environment = os.environ | dict.fromkeys(names, threads)
        done = subprocess.run(
            [sys.executable, "-c", THREADS], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        told.append(json.loads(done.stdout))
    one, two = told
    assert one["marker"] == two["marker"]
    for name in ("naive", "deconfounded", "alone", "q"):
        np.testing.assert_allclose(one[name], two[name], rtol=1e-9, atol=1e-11, err_msg=name)
