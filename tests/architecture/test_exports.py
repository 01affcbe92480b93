"""What a namespace declares is what it exports, documented as users of numpy expect it."""

import ast
import importlib
import inspect

import pytest

from tests.architecture.source import declared, exported, modules, namespaces, stub

FOLDERS = {module.stem for module in modules().values() if module.is_folder}


@pytest.mark.parametrize("name", namespaces())
def test_all_is_what_the_stub_declares(name):
    namespace = importlib.import_module(name)
    assert sorted(namespace.__all__) == sorted(declared(name))
    assert [word for word in namespace.__all__ if not hasattr(namespace, word)] == []


@pytest.mark.parametrize("name", namespaces())
def test_a_stub_exports_as_type_checkers_ask(name):
    """``from .x import y as y`` is what they take for an export."""
    for node in ast.parse(stub(name).read_text("utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.level:
            assert [alias.name for alias in node.names if alias.asname != alias.name] == []


@pytest.mark.parametrize("name", namespaces())
def test_what_is_exported_is_documented(name):
    assert [full for full, thing in exported(name) if not inspect.getdoc(thing)] == []


@pytest.mark.parametrize("name", namespaces())
def test_no_exported_name_is_a_module_beside_it(name):
    """Else whoever imports the module finds the function, or the other way round."""
    stems = {m.stem for m in modules().values() if m.folder == name and not m.is_folder}
    assert stems & {full.rpartition(".")[2] for full, _ in exported(name)} == set()


@pytest.mark.parametrize("name", namespaces())
def test_no_name_is_both_function_and_folder(name):
    assert FOLDERS & {full.rpartition(".")[2] for full, _ in exported(name)} == set()


def takes_parameters(thing: object, at_least: int = 1) -> bool:
    """Say whether callers pass so much to a function, or to the making of a class."""
    if isinstance(thing, type) and (
        issubclass(thing, BaseException)
        or getattr(thing, "_is_protocol", False)
        or thing.__init__ is object.__init__
    ):
        return False
    return len(inspect.signature(thing).parameters.keys() - {"self", "cls"}) >= at_least


def lists_parameters(thing: object) -> bool:
    """Say whether a docstring has the section; results, which nobody makes, have attributes.

    A method that is one of many of a protocol may point at the protocol: see :meth:`...`.
    """
    titles = ["Parameters", "Attributes"] if isinstance(thing, type) else ["Parameters"]
    text = inspect.getdoc(thing) or ""
    points = not isinstance(thing, type) and ":meth:`" in text
    return points or any(f"{title}\n{'-' * len(title)}" in text for title in titles)


@pytest.mark.parametrize("name", namespaces())
def test_parameters_are_documented(name):
    lacking = [
        full
        for full, thing in exported(name)
        if takes_parameters(thing) and not lists_parameters(thing)
    ]
    assert not lacking, "\n".join(lacking)


@pytest.mark.parametrize("name", namespaces())
def test_parameters_of_public_methods_are_documented(name):
    """A method with one parameter may say in its sentence what it is."""
    lacking = [
        f"{full}.{attribute}"
        for full, thing in exported(name)
        if isinstance(thing, type)
        for attribute, value in vars(thing).items()
        if not attribute.startswith("_")
        and inspect.isfunction(function := getattr(value, "__func__", value))
        and takes_parameters(function, at_least=2)
        and not lists_parameters(function)
    ]
    assert not lacking, "\n".join(lacking)
