"""Fitted linear rewards know which texts they cover, also once saved; older ones do not."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from causalign import Logs, Roles
from causalign.errors import ArtifactError, InputError
from causalign.lm import load_encoder
from causalign.logs import scan_logs
from causalign.reward import LinearHead, Pairwise, Pooled, RewardModel, Ridge, WithinTests
from causalign.reward.saved_model import build_head
from causalign.stats.support import Support

STRANGE = ["?!?!?! 1234567890 ??? !!! 777 !!!!!", "WORD " * 300]


def _decorate(words, random):
    """Write as somebody does: some words in capitals, signs, and a number now and then."""
    marks = "".join(random.choice(list("!?.,"), size=random.integers(3)))
    text = " ".join(w.upper() if random.random() < 0.1 else w for w in words.split())
    return f"{text} {random.integers(10)}{marks}" if random.random() < 0.5 else text + marks


def table(rows=600, seed=3):
    random = np.random.default_rng(seed)
    words = np.array([f"word{k}" for k in range(30)])
    picked = words[random.integers(30, size=(rows, 5))]
    holds = (picked == "word3").any(axis=1)
    return pa.table(
        {
            "text": [_decorate(" ".join(row), random) for row in picked],
            "y": 5 + 2 * holds + random.normal(size=rows),
            "test": np.arange(rows) // 4,
            "w": random.uniform(0.5, 2, rows),
        }
    )


LOG = Logs.of(table(), Roles("text", "y"))
TESTS = Logs.of(table(seed=5), Roles("text", "y", group="test"))
NEW = table(400, seed=4)["text"].to_pylist()


@pytest.mark.parametrize(
    "fit",
    [
        lambda: Ridge().fit(LOG, "style"),
        lambda: Pairwise().fit(TESTS, "style"),
        lambda: WithinTests().fit(TESTS, "style"),
        lambda: Pooled().fit(LOG, "style", experiments=TESTS),
    ],
    ids=["ridge", "pairwise", "within-tests", "pooled"],
)
def test_new_texts_of_the_kind_are_inside_and_strange_ones_outside(fit, tmp_path):
    model = fit().model
    said = model.assess(NEW)
    assert said.in_support.mean() > 0.95
    assert not model.assess(STRANGE).in_support.any()
    np.testing.assert_array_equal(said.reward, model(NEW))
    loaded = RewardModel.load(model.save(tmp_path)).assess(NEW)
    for name in ("reward", "standard_error", "leverage"):
        np.testing.assert_allclose(getattr(loaded, name), getattr(said, name), rtol=1e-12)
    assert loaded.limit == said.limit


def test_the_error_of_a_comparison_is_that_of_its_distance_from_the_average_text():
    model = Pairwise().fit(TESTS, "style").model
    said = model.assess(NEW[:3])
    F = model.head.covariance_factor(model.load_encoder().encode(NEW[:3]))
    origin = model.head.covariance_factor(model.head.support.centre[None])
    np.testing.assert_allclose(said.standard_error, np.linalg.norm(F - origin, axis=1), rtol=1e-6)
    plain = Ridge().fit(LOG, "style").model
    np.testing.assert_allclose(plain.assess(NEW).standard_error, plain.standard_error(NEW))


def test_a_head_without_support_says_that_it_is_unknown(tmp_path):
    encoder = load_encoder("hashing")
    old = RewardModel("hashing", LinearHead(np.zeros(2048)), encoder=encoder)
    loaded = RewardModel.load(old.save(tmp_path))
    said = loaded.assess(["a text"])
    assert not loaded.has_support
    assert said.in_support is said.leverage is said.standard_error is said.limit is None


@pytest.mark.parametrize("rows", [350, 700])
def test_rows_on_disk_cover_what_rows_in_memory_do(rows, tmp_path):
    path = tmp_path / "log.parquet"
    pq.write_table(table(), path, row_group_size=rows)
    roles = Roles("text", "y", weight="w")
    encoder = load_encoder("style", training_texts=LOG.texts)
    scanned = Ridge().fit(scan_logs(path, roles, batch_rows=rows), encoder).model.assess(NEW)
    whole = Ridge().fit(Logs.read(path, roles), encoder).model
    region = scanned.leverage / whole.assess(NEW).leverage
    assert region == pytest.approx(region.mean(), rel=0.15)  # folds differ, and so may λ
    assert scanned.limit / region.mean() == pytest.approx(whole.assess(NEW).limit, rel=0.1)


def test_few_texts_of_many_rows_are_all_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr("causalign.reward.ridge_sums.ROWS_SAMPLED", 8)
    distinct = table(16)["text"].to_pylist()
    texts = [text for text in distinct for _ in range(50)]
    y = np.random.default_rng(0).normal(size=800)
    pq.write_table(pa.table({"text": texts, "y": y}), tmp_path / "log.parquet")
    limits = set()
    for rows in (100, 333):
        scan = scan_logs(tmp_path / "log.parquet", Roles("text", "y"), batch_rows=rows)
        model = Ridge(folds=2).fit(scan, "style").model
        limits.add(round(model.assess(texts).limit, 12))
        assert model.assess(distinct).in_support.sum() >= 8
    assert len(limits) == 1  # which texts are drawn depends on no batches


@pytest.mark.parametrize(
    "support",
    [
        Support(np.zeros(3), np.eye(2, dtype=np.float32), 1.0),
        Support(np.zeros(2), np.full((2, 2), np.nan, dtype=np.float32), 1.0),
        Support(np.zeros(2), np.eye(2, dtype=np.float32), np.inf),
    ],
)
def test_a_support_that_does_not_fit_is_refused(support):
    with pytest.raises(InputError, match="support of a linear head"):
        LinearHead(np.zeros(2), 0.0, None, support)


def test_a_damaged_support_is_refused():
    tensors = LinearHead(np.zeros(2)).tensors() | {"support": np.eye(2)}
    with pytest.raises(ArtifactError, match="make no head"):
        build_head("linear", {}, tensors)
