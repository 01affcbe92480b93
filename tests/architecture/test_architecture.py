"""The promises of ARCHITECTURE.md, kept by tests: sizes, exports, table, README code."""

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "causalign"
MODULES = sorted(SOURCE.rglob("*.py"))
FORBIDDEN_NAMES = {"utils", "util", "common", "base", "helpers", "misc"}
NAMESPACES = [
    *("deconfound", "reward", "policy", "evaluate"),
    *("report", "simulate", "data", "pipeline"),
]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_module_is_small_and_says_what_it_is(path):
    text = path.read_text()
    tree = ast.parse(text)
    assert len(text.splitlines()) <= 400
    assert path.stem not in FORBIDDEN_NAMES
    assert ast.get_docstring(tree), "the first line states the module's one idea"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            assert lines <= 50, f"{node.name} has {lines} lines"


def test_every_module_imports():
    for module in pkgutil.walk_packages([str(SOURCE)], "causalign."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


@pytest.mark.parametrize("name", ["", *NAMESPACES])
def test_exports_are_what_can_be_imported(name):
    module = importlib.import_module(f"causalign.{name}" if name else "causalign")
    assert len(set(module.__all__)) == len(module.__all__)
    for exported in module.__all__:
        assert hasattr(module, exported), exported


def test_public_names_are_documented():
    for name in ["", *NAMESPACES]:
        module = importlib.import_module(f"causalign.{name}" if name else "causalign")
        for exported in module.__all__:
            thing = getattr(module, exported)
            if callable(thing):
                assert thing.__doc__, f"{module.__name__}.{exported} has no docstring"


def test_import_needs_no_deep_learning_library():
    heavy = "torch", "transformers", "trl", "peft"
    code = (
        "import sys, causalign, causalign.deconfound, causalign.reward, causalign.policy, "
        "causalign.evaluate, causalign.report, causalign.simulate, causalign.data, "
        "causalign.pipeline, causalign.cli; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_architecture_names_every_module():
    """Each row of the table is a module or a folder; each module lies in one that has a row."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    rows = set(re.findall(r"^\| `([^`]+)` \|", text, flags=re.MULTILINE))
    tree = {
        str(p.relative_to(SOURCE)) for p in MODULES if p.name not in ("__init__.py", "__main__.py")
    }
    assert rows == tree


def test_every_finding_has_a_page():
    codes = set()
    for path in MODULES:
        codes |= set(re.findall(r'"([A-Z]{2}\d{3})"', path.read_text()))
    pages = {p.stem for p in (ROOT / "src/causalign/checks/pages").glob("[A-Z]*.md")}
    assert codes == pages


def test_readme_code_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})


def test_readme_and_docs_link_to_files_that_exist():
    for page in [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "recipes").rglob("*.md"),
    ]:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in target and not target.startswith("mailto:"):
                assert (page.parent / target).exists(), f"{page.name} links to {target}"
