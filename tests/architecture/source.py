"""The package as syntax trees: its modules, who imports whom, what its namespaces export."""

import ast
import importlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "causalign"
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """A file of the package: its dotted name, where it lies, what it says."""

    name: str
    path: Path
    text: str
    tree: ast.Module

    @property
    def is_folder(self) -> bool:
        return self.path.name == "__init__.py"

    @property
    def folder(self) -> str:
        """The dotted name of the folder in which the file lies."""
        return self.name if self.is_folder else self.name.rpartition(".")[0]

    @property
    def stem(self) -> str:
        return self.name.rpartition(".")[2]

    @property
    def lines(self) -> int:
        return len(self.text.splitlines())

    def functions(self) -> list[Function]:
        return [node for node in ast.walk(self.tree) if isinstance(node, Function)]

    def classes(self) -> list[ast.ClassDef]:
        return [node for node in ast.walk(self.tree) if isinstance(node, ast.ClassDef)]


@dataclass(frozen=True)
class Import:
    """An import of one of our modules by another: where, and whether within a function."""

    importer: str
    imported: str
    line: int
    in_function: bool


@cache
def modules() -> dict[str, Module]:
    """Return every file of the package by its dotted name."""
    result = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = path.read_text("utf-8")
        result[name] = Module(name, path, text, ast.parse(text))
    return result


@cache
def imports() -> list[Import]:
    """Return every import of our own modules, except those that type checkers alone see."""
    return [
        Import(module.name, target, node.lineno, in_function)
        for module in modules().values()
        for node, in_function in _import_nodes(module.tree, False)
        for target in sorted(_targets(node) - {module.name})
    ]


def stub(folder: str) -> Path:
    """Return where the stub lies that declares what a folder exports."""
    return modules()[folder].path.with_suffix(".pyi")


@cache
def namespaces() -> tuple[str, ...]:
    """Return the folders whose faces are lazy: those with a stub."""
    return tuple(m.name for m in modules().values() if m.is_folder and stub(m.name).exists())


@cache
def declared(folder: str) -> dict[str, str]:
    """Return the names that a folder exports, each with the module that it comes from."""
    path = stub(folder)
    tree = ast.parse(path.read_text("utf-8")) if path.exists() else modules()[folder].tree
    names: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                home = f"{folder}.{node.module or alias.name}" if node.level else node.module
                names[alias.asname or alias.name] = home or ""
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names[node.target.id] = folder
    return names


def exported(folder: str) -> Iterator[tuple[str, object]]:
    """Yield the functions and classes of our own that a folder exports, by their full names."""
    namespace = importlib.import_module(folder)
    for name in namespace.__all__:
        thing = getattr(namespace, name)
        ours = str(getattr(thing, "__module__", "")).startswith("causalign")
        if ours and (inspect.isroutine(thing) or isinstance(thing, type)):
            yield f"{folder}.{name}", thing


def _import_nodes(node: ast.AST, in_function: bool) -> Iterator[tuple[ast.stmt, bool]]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield node, in_function
        return
    children = ast.iter_child_nodes(node)
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        children = iter(node.orelse)
    within = in_function or isinstance(node, Function | ast.Lambda)
    for child in children:
        yield from _import_nodes(child, within)


def _targets(node: ast.stmt) -> set[str]:
    """Return which files an import statement runs, also those behind a lazy namespace."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names if alias.name in modules()}
    assert isinstance(node, ast.ImportFrom)
    folder = node.module or ""
    if folder not in modules():
        return set()
    behind = declared(folder) if folder in namespaces() else {}
    homes = [behind.get(alias.name, f"{folder}.{alias.name}") for alias in node.names]
    return {home if home in modules() else folder for home in homes}
