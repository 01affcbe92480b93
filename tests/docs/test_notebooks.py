"""The notebooks were executed in order, without an error, and show nothing of who ran them."""

import json
import re
from pathlib import Path

import pytest

PATHS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


def test_there_are_three():
    assert [path.stem for path in PATHS] == ["experiments_and_log", "own_csv_to_report", "tuning"]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_it_was_executed_to_its_end(path):
    cells = [c for c in json.loads(path.read_text("utf-8"))["cells"] if c["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == [*range(1, len(cells) + 1)]
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert outputs
    assert all(output["output_type"] != "error" for output in outputs)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_no_path_no_time_no_colour(path):
    text = path.read_text("utf-8")
    assert not re.search(r"/(?:tmp|home|root|work|Users)/|\\u001b|\d\d:\d\d:\d\d", text)
    assert path.stat().st_size < 300_000
