"""Logs of any size are scored part by part: same numbers, bounded memory, killed runs go on."""

import signal
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from causalign.errors import (
    ArtifactError,
    ColumnNotFound,
    ExtraNotInstalled,
    InputError,
    SettingsError,
    UnreadableFile,
)
from causalign.lm import load_encoder
from causalign.reward import LinearHead, RewardModel, score_logs, scoring

WORDS = np.array(["free", "mugs", "rain", "today", "returns", "Monday", "happy"])


def texts(count, seed=0):
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS, size=random.integers(1, 9))) for _ in range(count)]


def saved(folder, **settings):
    encoder = load_encoder("hashing")
    head = LinearHead(np.random.default_rng(1).normal(size=encoder.dimension), 0.5)
    RewardModel("hashing", head, encoder=encoder, **settings).save(folder)
    return folder


@pytest.fixture
def model(tmp_path):
    return saved(tmp_path / "model")


@pytest.fixture
def logs(tmp_path):
    folder = tmp_path / "logs"
    (folder / "more").mkdir(parents=True)
    table = pa.table({"mail": texts(700), "row": range(700), "extra": [[1, 2]] * 700})
    pq.write_table(table.slice(0, 450), folder / "a.parquet", row_group_size=100)
    pq.write_table(table.slice(450), folder / "more" / "b.parquet", row_group_size=70)
    return folder


def result(folder):
    return pa.concat_tables(pq.read_table(p) for p in sorted(folder.glob("part-*.parquet")))


def test_rows_columns_and_rewards_are_kept(model, logs, tmp_path):
    scored = score_logs(model, logs, tmp_path / "out", completion="mail", rows_in_part=128)
    assert (scored.rows, scored.parts, scored.without_text) == (700, 4 + 2, 0)
    found = result(tmp_path / "out")
    assert found.column_names == ["mail", "row", "extra", "reward"]
    assert found["row"].to_pylist() == list(range(700))
    expected = RewardModel.load(model)(found["mail"].to_pylist())
    np.testing.assert_allclose(found["reward"].to_numpy(), expected, rtol=1e-12)
    assert scored.findings[0].numbers == {"truncated": 0.0, "texts": 700.0}


@pytest.mark.parametrize("rows", [1, 69, 100, 5000])
def test_the_numbers_do_not_depend_on_the_parts(model, logs, tmp_path, rows):
    score_logs(model, logs, tmp_path / "one", completion="mail", rows_in_part=128)
    if rows == 1:
        logs = logs / "more"
    score_logs(model, logs, tmp_path / "other", completion="mail", rows_in_part=rows)
    one, other = result(tmp_path / "one"), result(tmp_path / "other")
    one = one.slice(700 - other.num_rows)
    assert other.drop(["reward"]).equals(one.drop(["reward"]))
    # A head's product of other shape rounds its last bit differently.
    np.testing.assert_allclose(other["reward"], one["reward"], rtol=1e-12)


def test_prompts_are_read_where_the_model_reads_them(tmp_path):
    model = saved(tmp_path / "model", reads_prompt=True)
    table = pa.table({"mail": texts(20), "asked": texts(20, seed=1)})
    pq.write_table(table, tmp_path / "logs.parquet")
    with pytest.raises(InputError, match="reads prompts"):
        score_logs(model, tmp_path / "logs.parquet", tmp_path / "out", completion="mail")
    score_logs(
        model, tmp_path / "logs.parquet", tmp_path / "out", completion="mail", prompt="asked"
    )
    expected = RewardModel.load(model)(texts(20), texts(20, seed=1))
    np.testing.assert_allclose(result(tmp_path / "out")["reward"], expected, rtol=1e-12)


def test_rows_without_text_have_no_reward(model, tmp_path):
    mails = pa.array(["free mugs", None, "", "rain"]).dictionary_encode()
    pq.write_table(pa.table({"mail": mails}), tmp_path / "logs.parquet")
    scored = score_logs(model, tmp_path / "logs.parquet", tmp_path / "out", completion="mail")
    assert scored.without_text == 1
    assert [r is None for r in result(tmp_path / "out")["reward"].to_pylist()] == [0, 1, 0, 0]


def test_a_file_without_rows_gives_a_part_without_rows(model, tmp_path):
    pq.write_table(pa.table({"mail": pa.array([], pa.string())}), tmp_path / "logs.parquet")
    scored = score_logs(model, tmp_path / "logs.parquet", tmp_path / "out", completion="mail")
    assert scored.rows == 0
    assert result(tmp_path / "out").column_names == ["mail", "reward"]


def test_a_finished_run_is_not_repeated(model, logs, tmp_path, monkeypatch):
    first = score_logs(model, logs, tmp_path / "out", completion="mail", rows_in_part=128)
    monkeypatch.setattr(scoring, "_score_part", None)
    again = score_logs(model, logs, tmp_path / "out", completion="mail", rows_in_part=128)
    assert again.table() == first.table()


KILLED = """
import os, signal, sys
from causalign.reward import scoring
done, write = [], scoring._write
def dying(table, target):
    done.append(target)
    if len(done) == 4:
        os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    write(table, target)
scoring._write = dying
scoring.score_logs(*sys.argv[1:4], completion="mail", rows_in_part=128)
"""


def test_a_killed_run_continues_and_ends_the_same(model, logs, tmp_path, monkeypatch):
    out = tmp_path / "out"
    command = [sys.executable, "-c", KILLED, str(model), str(logs), str(out)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert len(list(out.glob("part-*.parquet"))) == 3
    done, score = [], scoring._score_part
    monkeypatch.setattr(scoring, "_score_part", lambda *a: (done.append(1), score(*a))[1])
    score_logs(model, logs, out, completion="mail", rows_in_part=128)
    assert len(done) == 3
    score_logs(model, logs, tmp_path / "whole", completion="mail", rows_in_part=128)
    assert result(out).equals(result(tmp_path / "whole"))
    assert not list(out.glob(".*.partial*"))


def test_other_work_is_never_mixed_in(model, logs, tmp_path):
    out = tmp_path / "out"
    score_logs(model, logs, out, completion="mail")
    with pytest.raises(ArtifactError, match="another model or of other logs"):
        score_logs(model, logs / "more", out, completion="mail")
    head = LinearHead(np.zeros(2048))
    RewardModel("hashing", head).save(tmp_path / "other")
    with pytest.raises(ArtifactError, match="another model or of other logs"):
        score_logs(tmp_path / "other", logs, out, completion="mail")
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.tex").write_text("years of work")
    with pytest.raises(ArtifactError, match="holds other files"):
        score_logs(model, logs, precious, completion="mail")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"completion": "mial"}, ColumnNotFound, "did you mean 'mail'"),
        ({"completion": "row"}, InputError, "no text"),
        ({"column": "row"}, InputError, "another name for the new"),
        ({"logs": "nowhere"}, UnreadableFile, "no file"),
        ({"logs": "csv"}, UnreadableFile, "Parquet"),
        ({"logs": "empty"}, UnreadableFile, "holds no Parquet"),
        ({"engine": "spark"}, SettingsError, "spark"),
    ],
)
def test_bad_input_is_refused_before_the_work(model, logs, tmp_path, change, error, message):
    (tmp_path / "csv").write_text("mail\nfree mugs\n")
    (tmp_path / "empty").mkdir()
    place = tmp_path / change.pop("logs") if "logs" in change else logs
    with pytest.raises(error, match=message):
        score_logs(model, place, tmp_path / "out", **({"completion": "mail"} | change))
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_told(model, logs, tmp_path, monkeypatch):
    def full(table, target, **how):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(scoring.pq, "write_table", full)
    with pytest.raises(ArtifactError, match="No space left"):
        score_logs(model, logs, tmp_path / "out", completion="mail")
    monkeypatch.undo()
    assert score_logs(model, logs, tmp_path / "out", completion="mail").rows == 700


PEAK = """
import sys
import pyarrow as pa
from causalign.reward import score_logs
score_logs(*sys.argv[1:4], completion="mail", rows_in_part=200)
print(pa.default_memory_pool().max_memory())
"""


def test_memory_does_not_grow_with_the_logs(model, tmp_path):
    """Tables live in Arrow's memory: its peak is that of one part, not that of the logs."""
    peaks = []
    for copies in (1, 8):
        folder = tmp_path / f"logs{copies}"
        folder.mkdir()
        for number in range(copies):
            burden = [np.random.default_rng(number).bytes(9000)] * 1000
            table = pa.table({"mail": texts(1000, seed=number), "burden": burden})
            pq.write_table(table, folder / f"{number}.parquet", row_group_size=200)
        command = [sys.executable, "-c", PEAK, model, folder, tmp_path / f"out{copies}"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout))
    assert peaks[1] < 1.2 * peaks[0]
    assert peaks[1] < 0.5 * 8 * 1000 * 9000  # half of the logs


def test_ray_is_named_where_it_is_missing(model, logs, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ExtraNotInstalled, match=r"causalign\[ray\]"):
        score_logs(model, logs, tmp_path / "out", completion="mail", engine="ray")


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")
def test_ray_gives_the_same_bits(tiny_encoder_folder, logs, tmp_path):
    encoder = load_encoder(tiny_encoder_folder)
    head = LinearHead(np.random.default_rng(1).normal(size=encoder.dimension))
    model = RewardModel(encoder.name, head, encoder=encoder).save(tmp_path / "model")
    for engine in ("batches", "ray"):
        score_logs(
            model, logs, tmp_path / engine, completion="mail", rows_in_part=128, engine=engine
        )
    import ray

    ray.shutdown()
    assert result(tmp_path / "ray").equals(result(tmp_path / "batches"))


def test_what_was_scored_tells_itself(tmp_path):
    model = saved(tmp_path / "model")
    pq.write_table(pa.table({"mail": texts(20)}), tmp_path / "logs.parquet")
    scored = score_logs(model, tmp_path / "logs.parquet", tmp_path / "<out>", completion="mail")
    assert scored.answer().startswith("Scored 20 rows in 1 parts: ")
    assert len(repr(scored).splitlines()) <= 12
    assert "&lt;out&gt;" in scored._repr_html_()
    assert scored.table()["rows"].to_pylist() == [20]
    assert scored.section().numbers["parts"] == 1


def test_partitions_become_columns_and_hidden_files_are_passed_over(model, tmp_path):
    for week in ("1", "2"):
        (tmp_path / "logs" / f"week={week}").mkdir(parents=True)
        mails = pa.table({"mail": pa.array([m.encode() for m in texts(5)])})
        pq.write_table(mails, tmp_path / "logs" / f"week={week}" / "p.parquet")
    (tmp_path / "logs" / "_temporary").mkdir()
    pq.write_table(mails, tmp_path / "logs" / "_temporary" / "p.parquet")
    for path, out in (("logs", "one"), ("logs/week=*/*.parquet", "two")):
        scored = score_logs(model, tmp_path / path, tmp_path / out, completion="mail")
        assert scored.rows == 10
        table = result(tmp_path / out)
        assert table["week"].to_pylist() == ["1"] * 5 + ["2"] * 5
        expected = RewardModel.load(model)(texts(5) * 2)
        np.testing.assert_allclose(table["reward"].to_numpy(), expected, rtol=1e-12)
