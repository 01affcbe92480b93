"""``causalign write``: from prompts to chosen texts, and what it refuses."""

import json
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from causalign.cli import app, main

WORDS = ["yes", "no", "good", "bad"]
TEXTS = [f"{a} {b} {c}" for a in WORDS for b in WORDS for c in WORDS] * 3


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A log, a reward of it, and a file of candidates."""
    folder = tmp_path_factory.mktemp("write")
    random = np.random.default_rng(0)
    y = [text.count("yes") + 0.3 * random.normal() for text in TEXTS]
    pq.write_table(pa.table({"text": TEXTS, "y": y}), folder / "log.parquet")
    named = ["--completion", "text", "--outcome", "y", "--encoder", "tfidf"]
    fit = ["reward", "fit", str(folder / "log.parquet"), *named, "--out", str(folder / "reward")]
    done = CliRunner().invoke(app, fit)
    assert done.exit_code == 0, done.output
    rows = [
        ("q", "bad no no"),
        ("q", "yes yes no"),
        ("q", "yes yes no "),
        ("r", ""),
        ("r", "no no bad"),
    ]
    offered = pa.table({"prompt": [q for q, _ in rows], "completion": [text for _, text in rows]})
    pq.write_table(offered, folder / "offered.parquet")
    pq.write_table(pa.table({"prompt": ["q", "r"]}), folder / "prompts.parquet")
    return folder


def command(made, out, *more):
    return [
        *("write", str(made / "prompts.parquet"), "--reward", str(made / "reward" / "model")),
        *("--out", str(out), *more),
    ]


def test_a_file_of_candidates_becomes_chosen_texts_with_their_reasons(made, tmp_path):
    log = ["--logs", str(made / "log.parquet"), "--completion", "text", "--outcome", "y"]
    offered = ["--candidates", str(made / "offered.parquet"), "--n", "3", *log]
    done = CliRunner().invoke(app, command(made, tmp_path / "out", *offered))
    assert done.exit_code == 0, done.output
    chosen = pq.read_table(tmp_path / "out" / "texts.parquet")
    assert chosen["text"].to_pylist() == ["yes yes no", "no no bad"]
    table = pq.read_table(tmp_path / "out" / "candidates.parquet")
    assert table["verdict"].to_pylist() == [
        "kept", "chosen", "refused: the same as candidate 2", "refused: empty", "chosen"
    ]  # fmt: skip
    assert "95% interval" in done.output
    again = CliRunner().invoke(app, command(made, tmp_path / "out", *offered))
    assert "done before" in again.output


def test_a_program_writes_without_prompts_and_json_tells_all(made, tmp_path, capsys):
    writer = tmp_path / "writer.py"
    writer.write_text(
        "import json, sys\n"
        "for line in sys.stdin:\n"
        "    asked = json.loads(line)\n"
        "    texts = ['yes no no', 'bad bad bad'][: asked['n']]\n"
        "    print(json.dumps({'id': asked['id'], 'texts': texts}))\n"
    )
    asked = [
        *("write", "--writer-command", f"{sys.executable} {writer}", "--texts", "3", "--n", "2"),
        *("--reward", str(made / "reward" / "model"), "--out", str(tmp_path / "out"), "--json"),
    ]
    with pytest.raises(SystemExit) as ended:
        main(asked)
    assert ended.value.code == 0
    document = json.loads(capsys.readouterr().out)
    assert [row["text"] for row in document["tables"]["chosen texts"]] == ["yes no no"] * 3
    assert document["stage"] == "write"
    stored = json.loads((tmp_path / "out" / "result.json").read_text())
    assert "writer_command" not in stored["settings"]


def test_a_model_writes(made, tiny_lm_folder, tmp_path):
    more = ["--writer", str(tiny_lm_folder), "--n", "3", "--set", "max_new_tokens=5"]
    done = CliRunner().invoke(app, command(made, tmp_path / "out", *more))
    assert done.exit_code == 0, done.output
    assert pq.read_table(tmp_path / "out" / "candidates.parquet").num_rows == 6


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ([], "Name who offers candidates"),
        (["--writer", "smollm2", "--candidates", "x.csv"], "Name who offers candidates"),
        (["--writer", "http://127.0.0.1:9/v1"], "model"),
        (["--candidates", "missing.csv"], "missing.csv"),
        (["--writer", "nobody"], "no language model named"),
        (["--candidates", "x.csv", "--n", "0"], "n must be"),
        (["--candidates", "x.csv", "--caution", "-1"], "caution must be"),
        (["--writer", "smollm2", "--set", "temprature=1"], "temperature"),
        (["--candidates", "x.csv", "--prompt", "question"], "question"),
    ],
)
def test_what_cannot_be_done_is_said(made, tmp_path, capsys, more, words):
    with pytest.raises(SystemExit) as ended:
        main(command(made, tmp_path / "out", *more))
    assert ended.value.code == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
