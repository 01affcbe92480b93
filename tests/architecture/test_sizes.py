"""A file is one idea that a reader can follow from top to bottom, and no crumb of another."""

import ast

from tests.architecture.source import Function, Module, declared, imports, modules

LARGEST_MODULE, LARGEST_FUNCTION, SMALLEST_ROOM, POLICY_FILES = 400, 50, 100, 23
# Small modules that one sibling alone imports, each with the reason why it is apart all the same.


def test_modules_have_at_most_400_lines():
    too_long = [module.name for module in modules().values() if module.lines > LARGEST_MODULE]
    assert not too_long, "\n".join(too_long)


def lines_of_code(node: Function) -> int:
    """Return the lines of a function without its docstring, which lists every parameter."""
    docstring = ast.get_docstring(node, clean=False) or ""
    return (node.end_lineno or 0) - node.lineno - docstring.count("\n")


def test_functions_have_at_most_50_lines():
    too_long = [
        f"{module.name}.{node.name}"
        for module in modules().values()
        for node in module.functions()
        if lines_of_code(node) > LARGEST_FUNCTION
    ]
    assert not too_long, "\n".join(too_long)


def test_every_module_says_its_idea_in_the_first_line():
    assert [m.name for m in modules().values() if not ast.get_docstring(m.tree)] == []


def is_crumb(module: Module) -> bool:
    """Say whether a small module serves one sibling alone and is not exported."""
    importers = {
        edge.importer
        for edge in imports()
        if edge.imported == module.name and not modules()[edge.importer].is_folder
    }
    one_sibling = len(importers) == 1 and modules()[min(importers)].folder == module.folder
    namespaces = {module.folder, module.folder.rpartition(".")[0]}
    exported = {
        home for folder in namespaces & modules().keys() for home in declared(folder).values()
    }
    return (
        one_sibling
        and not module.is_folder
        and module.lines < SMALLEST_ROOM
        and module.name not in exported
    )


def test_no_crumbs():
    """A small module that one sibling alone imports belongs into that sibling."""
    crumbs = {module.name for module in modules().values() if is_crumb(module)}
    assert not crumbs, "\n".join(sorted(crumbs))


def test_policy_has_at_most_23_files():
    assert len([name for name in modules() if name.startswith("causalign.policy")]) <= POLICY_FILES
