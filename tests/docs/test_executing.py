"""Notebooks are executed, and what they show is the same on every machine."""

import nbformat

from scripts import notebooks


def stream(text, name="stdout"):
    return nbformat.v4.new_output("stream", name=name, text=text)


def test_what_was_printed_stays_in_one_piece():
    pieces = [stream("\x1b[1mcolu"), stream("a warning", "stderr"), stream("mn\x1b[0m \nnext\n")]
    assert [one["text"] for one in notebooks.join_streams(pieces)] == [
        "\x1b[1mcolumn\x1b[0m \nnext\n"
    ]


def test_an_output_holds_no_path_and_no_control_characters():
    output = stream("\x1b[1mkept in /tmp/x1/runs\x1b[0m  \n 10 %\r100 %\n")
    assert notebooks.tidy(output, "/tmp/x1")["text"] == "kept in runs\n100 %\n"


def test_a_cell_that_fails_is_told(tmp_path, monkeypatch, capsys):
    path = tmp_path / "broken.ipynb"
    cell = nbformat.v4.new_code_cell("raise ValueError('of the cell')")
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    monkeypatch.setattr("sys.argv", ["notebooks.py", "--check", str(path)])
    assert notebooks.main() == 1
    assert "of the cell" in capsys.readouterr().err
