"""The reproductions of arXiv 2506.05967 start, and their loaders and samplers do what they say."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "reproductions" / "causal_preference"


def module(name):
    """Import a file of the latent-positivity reproduction, which is no package."""
    folder = FOLDER / "latent_positivity"
    sys.path.insert(0, str(folder))
    try:
        spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
        loaded = importlib.util.module_from_spec(spec)
        sys.modules[name] = loaded
        spec.loader.exec_module(loaded)
        return loaded
    finally:
        sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def factors():
    return module("factors")


@pytest.fixture(scope="module")
def sampling(factors):
    return module("sampling")


def rated(response, truthfulness, following):
    return {
        "response": response,
        "annotations": {
            "truthfulness": {"Rating": truthfulness, "Rationale": "..."},
            "instruction_following": {"Rating": following, "Rationale": "..."},
            "honesty": {"Rating": "3"},
        },
    }


ROWS = [
    {
        "instruction": "Name a colour.",
        "completions": [
            rated("Red.", "5", "5"),
            rated("A colour is a thing.", "4", "2"),
            rated("Seven.", "N/A", "1"),
            rated("  ", "5", "5"),
        ],
    },
    {"instruction": "Add 2 and 3.", "completions": [rated("5", "5", "4"), rated("6", "1", "4")]},
]


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".parquet"])
def test_ultrafeedback_is_read_in_its_published_schema(factors, sampling, suffix, tmp_path):
    path = tmp_path / f"ultrafeedback{suffix}"
    if suffix == ".json":
        path.write_text(json.dumps(ROWS))
    elif suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, ROWS)) + "\n")
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(ROWS), path)
    data = factors.ultrafeedback(path)
    assert data.texts[0] == "Name a colour.\n\nRed."
    assert data.factors.tolist() == [[5, 5], [4, 2], [5, 4], [1, 4]]
    assert data.prompt.tolist() == [0, 0, 1, 1]
    pool = sampling.candidate_pairs(data, np.arange(4), 100, 0, keep_ties=True)
    assert {tuple(sorted(pair)) for pair in pool.sides.tolist()} == {(0, 1), (2, 3)}


def test_ultrafeedback_without_ratings_says_so(factors, tmp_path):
    path = tmp_path / "none.json"
    path.write_text(json.dumps([{"instruction": "a", "completions": [{"response": "b"}]}]))
    with pytest.raises(SystemExit, match="no answer with ratings"):
        factors.ultrafeedback(path)


def test_pairs_have_the_correlation_that_was_asked_for(factors, sampling):
    random = np.random.default_rng(0)
    values = random.integers(0, 6, size=(400, 2)).astype(float)
    data = factors.Factored([str(i) for i in range(400)], values, ("one", "two"))
    pool = sampling.candidate_pairs(data, np.arange(400), 20_000, 0, keep_ties=False)
    assert pool.difference.all()
    for rho in (0.0, 0.3, 0.6, 0.9):
        drawn = sampling.correlated(pool, rho, 20_000, random)
        assert np.corrcoef(drawn.difference.T)[0, 1] == pytest.approx(rho, abs=0.03)
    apart = sampling.discordant(pool, 500, random)
    assert (np.prod(apart.difference, axis=1) < 0).all()
    label = sampling.labels(apart, 0.25, random)
    gap = apart.difference @ [0.25, 0.75]
    assert np.array_equal(label[gap != 0], (gap[gap != 0] > 0).astype(float))


def test_fine_grained_feedback_has_both_factors(factors, real_data):
    data = factors.fine_grained(real_data / "fine_grained_feedback.json")
    assert len(data.texts) == 500
    assert (data.factors <= 0).all()
    assert (data.factors.std(axis=0) > 0.05).all()


def test_hong_kong_takes_every_ordered_pair_of_treatments(factors, real_data):
    data = factors.hong_kong(real_data / "hongkong_wave1.parquet")
    assert len(set(data.texts)) == len(data.texts)
    assert len({tuple(data.chosen(seed)) for seed in range(30)}) == 30
