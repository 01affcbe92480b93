"""``causalign reward fit`` and ``score``, from files to files."""

import pyarrow.parquet as pq
import pytest

from causalign.cli import main
from causalign.lm import EmbeddingCache
from causalign.reward import METHODS, RewardModel
from causalign.simulate import Newsletter


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(a) for a in arguments])
    return stopped.value.code, capsys.readouterr()


@pytest.fixture
def logs(tmp_path):
    pq.write_table(Newsletter(rows=300, pairs=2).simulate().logs.data, tmp_path / "logs.parquet")
    return tmp_path / "logs.parquet"


@pytest.mark.parametrize("encoder", ["tfidf", "hashing"])
def test_fit_then_score(logs, tmp_path, capsys, encoder):
    text = ["--completion", "mail", "--encoder", encoder]
    fitted = tmp_path / "fitted"
    code, said = call(
        capsys, "reward", "fit", logs, *text, "--outcome", "minutes_read", "--out", fitted
    )
    assert code == 0, said.err
    assert "RM102" in said.out
    command = ["reward", "score", fitted / "model", logs, "--completion", "mail"]
    code, said = call(capsys, *command, "--out", tmp_path / "scored")
    assert code == 0, said.err
    assert "scored 300 rows in 1 parts" in " ".join(said.out.split())
    found = pq.read_table(tmp_path / "scored")
    model = RewardModel.load(fitted / "model")
    expected = model(found["mail"].to_pylist())
    assert found["reward"].to_pylist() == pytest.approx(list(expected))
    code, said = call(capsys, *command, "--out", tmp_path / "scored", "--column", "other")
    assert code == 2
    assert "another model or of other logs" in said.err


def test_help_names_every_method_in_a_line(capsys):
    code, said = call(capsys, "reward", "--help")
    shown = " ".join(said.out.split())
    assert code == 0
    for name in METHODS:
        assert f"{name}:" in shown
    for verb in ("fit", "score"):
        code, said = call(capsys, "reward", verb, "--help")
        assert code == 0
        assert f"Example: causalign reward {verb}" in " ".join(said.out.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--encoder", "minilmm"], "did you mean 'minilm'"),
        (["--encoder", "tfidf", "--method", "rigde"], "did you mean 'ridge'"),
    ],
)
def test_wrong_names_are_answered_with_the_nearest(logs, tmp_path, capsys, arguments, message):
    shared = [logs, "--completion", "mail", "--outcome", "minutes_read", "--out", tmp_path / "f"]
    code, said = call(capsys, "reward", "fit", *shared, *arguments)
    assert code == 2
    assert message in " ".join(said.err.split())
    assert not (tmp_path / "f").exists()


def test_a_cache_that_cannot_be_used_is_told(
    logs, tiny_encoder_folder, tmp_path, capsys, monkeypatch
):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("CAUSALIGN_CACHE", str(tmp_path / "file"))
    assert EmbeddingCache().folder == tmp_path / "file"
    code, said = call(
        capsys, "reward", "fit", logs, "--completion", "mail", "--outcome", "minutes_read",
        "--encoder", tiny_encoder_folder, "--out", tmp_path / "f",
    )  # fmt: skip
    assert code == 0
    assert "warning: The cache of embeddings" in " ".join(said.err.split())
