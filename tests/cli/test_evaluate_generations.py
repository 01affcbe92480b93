"""``causalign evaluate generations`` compares policies by their texts, without any traceback."""

import json
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from causalign.cli import main

JUDGE = """
import json, sys
for line in sys.stdin:
    q = json.loads(line)
    better = "first" if "tea" in q["first"] else "second" if "tea" in q["second"] else "tie"
    print(json.dumps({"id": q["id"], "preference": better}))
"""


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(a) for a in arguments])
    return stopped.value.code, capsys.readouterr()


def words(captured):
    return " ".join(captured.split())


@pytest.fixture
def files(tmp_path):
    generator = np.random.default_rng(0)
    prompts = [f"prompt {i}" for i in range(80)]
    before = ["a cup of coffee" for _ in prompts]
    after = ["a cup of tea" if generator.random() < 0.5 else "a cup of coffee" for _ in prompts]
    pq.write_table(pa.table({"prompt": prompts, "completion": before}), tmp_path / "before.parquet")
    shuffled = generator.permutation(80)
    table = {"prompt": prompts, "completion": after}
    pq.write_table(pa.table(table).take(shuffled), tmp_path / "after.parquet")
    both = {"prompt": pa.nulls(80, pa.string()), "before": before, "after": after}
    pq.write_table(pa.table(both), tmp_path / "both.parquet")
    (tmp_path / "judge.py").write_text(JUDGE)
    return tmp_path, sum("tea" in text for text in after) / 80


def test_two_files_by_a_command(files, capsys):
    place, share = files
    command = f"{sys.executable} {place / 'judge.py'}"
    code, said = call(
        capsys, "evaluate", "generations", place / "before.parquet", place / "after.parquet",
        "--judge-command", command, "--marker", "tea", "--marker", "cup", "--out",
        place / "compared",
    )  # fmt: skip
    assert code == 0, said.err
    kept = json.loads((place / "compared" / "result.json").read_text())
    assert kept["numbers"]["win rate after"] == pytest.approx(0.5 + share / 2)
    assert [f["verdict"] for f in kept["findings"] if f["code"] == "EV302"] == ["warn", "pass"]
    assert "“tea” is in" in words(said.out)
    assert (place / "compared" / "summary.md").exists()


def test_order_moves_a_judge_and_not_the_win_rate(files, capsys):
    place, _ = files
    (place / "first.py").write_text(JUDGE.replace('"tea" in q["first"]', "True"))
    code, said = call(
        capsys, "evaluate", "generations", place / "before.parquet", place / "after.parquet",
        "--judge-command", f"{sys.executable} {place / 'first.py'}", "--out", place / "c",
    )  # fmt: skip
    assert code == 0, said.err
    assert json.loads((place / "c" / "result.json").read_text())["numbers"]["win rate after"] == 0.5
    assert "order moves this judge" in words(said.out)


def test_columns_of_one_file_and_no_judge(files, capsys):
    place, _ = files
    code, said = call(capsys, "evaluate", "generations", place / "both.parquet", "--column",
                      "before", "--column", "after", "--marker", "coffee")  # fmt: skip
    assert code == 0, said.err
    assert "EV303" in said.out
    assert "writes 4 words" in words(said.out)


def test_a_reward_model_is_a_judge(files, tiny_encoder_folder, capsys):
    place, _ = files
    pytest.importorskip("torch")
    generator = np.random.default_rng(1)
    texts = [f"{generator.choice(['tea', 'coffee', 'news', 'sale'])} {i}" for i in range(120)]
    rows = {"text": texts, "y": np.array(["tea" in t for t in texts]) + generator.random(120)}
    pq.write_table(pa.table(rows), place / "logs.parquet")
    code, said = call(
        capsys, "reward", "fit", place / "logs.parquet", "--completion", "text", "--outcome", "y",
        "--encoder", tiny_encoder_folder, "--out", place / "reward",
    )  # fmt: skip
    assert code == 0, said.err
    code, said = call(
        capsys, "evaluate", "generations", place / "before.parquet", place / "after.parquet",
        "--judge", place / "reward" / "model", "--out", place / "judged",
    )  # fmt: skip
    assert code == 0, said.err
    kept = json.loads((place / "judged" / "result.json").read_text())
    assert "reward gain after" in kept["numbers"]
    assert "win-rates" in str(kept["figures"])


def columns(*names):
    return [word for name in names for word in ("--column", name)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["before", "nothing"], "nothing.parquet"),
        (["before"], "--column for each policy"),
        (["both", *columns("before", "before")], "named twice"),
        (["both", *columns("before", "afte")], "did you mean 'after'"),
        (["before", "after", *columns("a", "b")], "share one --column"),
        (["before", "before"], "named twice"),
        (["before", "after", "--prompt", "question"], "has no column 'question'"),
        (["before", "short"], "holds 80 texts and 'short' 79"),
        (["before", "other"], "lacks 80 of 80"),
        (["before", "missing"], "holds no text in row 3"),
        (["before", "silent"], "wrote no word"),
        (["before", "after", "--judge", "nowhere"], "nowhere"),
        (["before", "after", "--judge-command", "no-such-program-at-all"], "cannot be started"),
        (["before", "after", "--judge-command", "'open"], "cannot be read as words"),
        (["before", "after", "--judge-command", ""], "program and its arguments"),
        (["before", "after", "--marker", " "], "at least one marker"),
    ],
)
def test_bad_input_ends_with_2(files, capsys, arguments, message):
    place, _ = files
    table = pq.read_table(place / "before.parquet")
    texts = table["completion"].to_pylist()
    pq.write_table(table.slice(0, 79), place / "short.parquet")
    for name, column in {
        "other": pa.array([f"else {i}" for i in range(80)]),
        "missing": table["prompt"],
        "silent": table["prompt"],
    }.items():
        own = {"missing": [*texts[:3], None, *texts[4:]], "silent": ["!"] * 80}.get(name, texts)
        pq.write_table(pa.table({"prompt": column, "completion": own}), place / f"{name}.parquet")
    known = {"before", "after", "both", "short", "other", "missing", "silent", "nothing"}
    given = [place / f"{a}.parquet" if a in known and not arguments[i - 1].startswith("--")
             else a for i, a in enumerate(arguments)]  # fmt: skip
    code, said = call(capsys, "evaluate", "generations", *given)
    assert code == 2, said.out
    assert message in words(said.err)
    assert "Traceback" not in said.err
