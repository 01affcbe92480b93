"""``causalign pretrain``: from a column of texts to a model folder."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import causalign as ca
from causalign.cli import app, main
from causalign.policy import SFT, Training

SMALL = ["vocabulary=300", "width=32", "layers=2", "heads=2", "window=64"]
QUICK = ["steps=2", "batch_size=4", "max_length=64"]


def settings():
    pairs = [f"shape.{s}" for s in SMALL] + [f"training.{s}" for s in QUICK]
    return [word for pair in pairs for word in ("--set", pair)]


def test_a_column_of_texts_becomes_a_model(tmp_path):
    texts = [f"Offer {n}: new mugs, new plates and {n % 7} free returns today." for n in range(600)]
    pq.write_table(pa.table({"mail": texts}), tmp_path / "mails.parquet")
    named = [str(tmp_path / "mails.parquet"), "--completion", "mail"]
    asked = ["pretrain", *named, "--out", str(tmp_path / "small"), *settings()]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    logs = ca.simulate.Newsletter(rows=20).simulate().logs
    model = str(tmp_path / "small" / "model")
    method = SFT(model=model, lora=None, training=Training(steps=1, batch_size=2))
    assert method.fit(logs, tmp_path / "sft").numbers["steps"] == 1


def test_too_few_texts_are_told_how_many(tmp_path, capsys):
    pq.write_table(pa.table({"mail": ["Hello."] * 5}), tmp_path / "few.parquet")
    named = [str(tmp_path / "few.parquet"), "--completion", "mail"]
    with pytest.raises(SystemExit) as end:
        main(["pretrain", *named, "--out", str(tmp_path / "small")])
    assert end.value.code == 2
    assert "which are some" in capsys.readouterr().err
    assert not (tmp_path / "small").exists()
