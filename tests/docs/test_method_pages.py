"""Examples of pages of methods give the output that stands below them."""

import re
from pathlib import Path

import pytest

PAGES = Path(__file__).parents[2] / "docs" / "methods"


@pytest.mark.parametrize("name", ["running-tests"])
def test_the_example_gives_its_output(name, capsys):
    text = (PAGES / f"{name}.md").read_text("utf-8")
    example = re.search(r"```python\n(.*?)```\n\n```\n(.*?)```", text, flags=re.DOTALL)
    assert example is not None
    exec(compile(example[1], name, "exec"), {})
    assert capsys.readouterr().out == example[2]
