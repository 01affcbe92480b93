"""A choice among candidates is the same by Python, by the command line and in a recipe."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import causalign as ca

ROLES = {
    "completion": "text",
    "outcome": "y",
    "confounders": ["price"],
    "guardrails": ["stars"],
    "group": "test",
}
SETTINGS = {"n": 4, "caution": 0.5, "limits": ["stars <= 0.6"]}
TEXTS = 8


@pytest.fixture(scope="module")
def run(doors):
    """Run a recipe that chooses among candidates of a file, and return file and folder."""
    texts = doors.table["text"].to_pylist()
    drawn = np.random.default_rng(1).choice(len(texts), TEXTS * SETTINGS["n"])
    path = doors.folder / "candidates.parquet"
    pq.write_table(pa.table({"completion": [texts[row] for row in drawn]}), path)
    folder = doors.run_recipe(
        ROLES,
        best_of={"writer": {"path": str(path)}, **SETTINGS},
        generate={"texts": TEXTS},
        deconfound={"method": "double-ml"},
    )
    return path, folder


def test_three_doors_choose_the_same_texts(doors, run, tmp_path):
    path, folder = run
    by_recipe = folder / "4-policy" / "best-of-deconfounded"
    reward, logs = folder / "3-reward" / "deconfounded", folder / "2-deconfound"

    best = ca.policy.BestOf(**SETTINGS).write(
        ca.lm.FileWriter(str(path)),
        ca.reward.RewardModel.load(reward),
        [None] * TEXTS,
        logs=ca.Logs.load(logs),
    )
    doors.call(
        *("write", "--candidates", path, "--reward", reward, "--logs", logs),
        *("--n", SETTINGS["n"], "--caution", SETTINGS["caution"], "--texts", TEXTS),
        *("--limit", SETTINGS["limits"][0], "--out", tmp_path / "written"),
    )
    by_command = pq.read_table(tmp_path / "written" / "candidates.parquet")
    assert "chosen" in best.candidates["verdict"].to_pylist()
    assert any("stars" in why for why in best.refused)
    assert by_command.equals(best.candidates.cast(by_command.schema))
    assert pq.read_table(by_recipe / "candidates.parquet").equals(best.candidates)
    chosen = [pq.read_table(place / "texts.parquet") for place in (by_recipe, tmp_path / "written")]
    assert chosen[0].equals(chosen[1])
    assert chosen[0]["text"].to_pylist() == best.texts()
