"""Benchmarks, reproductions, recipes, scripts and tests import only what there is."""

import ast
import re
from functools import cache

import pytest

from tests.architecture.source import ROOT, declared, modules, stub

BESIDE = ("src", "benchmarks", "reproductions", "recipes", "scripts", "tests")


@cache
def defined(name: str) -> set[str]:
    """Return the names that a module defines, imports or, as a lazy namespace, declares."""
    names = set(declared(name)) if stub(name).exists() else set()
    for node in ast.walk(modules()[name].tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    return names


def unresolved(code: str, where: str) -> list[str]:
    """Return what code imports from our package that is not there."""
    missing = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("causalign"):
            place = f"{where}:{node.lineno}: {node.module}"
            if node.module not in modules():
                missing.append(place)
                continue
            names = {alias.name for alias in node.names} - defined(node.module)
            missing += [f"{place}.{n}" for n in names if f"{node.module}.{n}" not in modules()]
    return missing


@pytest.mark.parametrize("folder", BESIDE)
def test_imports_lead_somewhere(folder):
    missing = [
        line
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line in unresolved(path.read_text("utf-8"), str(path.relative_to(ROOT)))
    ]
    assert not missing, "\n".join(missing)


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.stem)
def test_imports_in_pages_lead_somewhere(page):
    missing = [
        line
        for block in re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), flags=re.DOTALL)
        for line in unresolved(block, page.name)
    ]
    assert not missing, "\n".join(missing)


def test_imports_of_templates_lead_somewhere():
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    missing = [line for block in blocks for line in unresolved(block, "CONTRIBUTING.md")]
    missing = [line for line in missing if ".My" not in line]
    assert blocks
    assert not missing, "\n".join(missing)
