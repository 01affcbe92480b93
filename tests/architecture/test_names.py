"""One name, one thing: classes, modules, functions that are verbs, values that are nouns."""

import ast
import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import PurePath

import pytest

from causalign import deconfound, policy, reward
from tests.architecture.source import ROOT, modules

VAGUE = {"utils", "util", "common", "base", "helpers", "misc"}
# A stage may name a module after what it stands on: checks, arithmetic, models, logs.
GROUND = {"stats", "checks", "lm", "logs"}
# The protocol of a stage's methods, and the findings of its results.
IN_EACH_STAGE = {"method", "findings"}
TYPED = {"method", "task", "trained", "objective", "estimator", "deconfounder", "fitter"}
LINES_WITH_ANY = 110
# A participle says what a function returns, not what it does: none of these alone is a name, and
# none of the first begins one. (Others may describe a noun, as in `fitted_scores`.)
NEVER_FIRST = {
    *("adapted", "concluded", "drawn", "found", "given", "kept", "laid", "opened", "rolled"),
    *("said", "standing", "taken", "told", "tuned", "written"),
}
NEVER_ALONE = {
    *("asked", "built", "called", "checked", "chosen", "counted", "filled", "fitted", "made"),
    *("measured", "named", "picked", "prepared", "resolved", "sampled", "saved", "scaled"),
    *("scored", "shown", "started", "trained", "turned", "weighed"),
}
UNTELLING = {"found", "told", "said", "kept"}
FILES_FOR_A_METHOD = 7  # its file, test, page, benchmark, both lists of the folder, one more
# Written by scripts, benchmarks or runs.
GENERATED = (
    *("*.svg", "expected.json", "docs/coverage.md", "docs/performance.md"),
    "docs/methods/policy-curves.md",
)


def test_no_class_name_twice():
    homes = defaultdict(list)
    for module in modules().values():
        for node in module.classes():
            homes[node.name].append(module.name)
    twice = [f"{name}: {places}" for name, places in homes.items() if len(places) > 1]
    assert not twice, "\n".join(twice)


def test_no_module_stem_twice():
    """But the command line is named after what it calls, and a stage after what it stands on."""
    homes = defaultdict(list)
    for name, module in modules().items():
        layer = name.split(".")[1] if name.count(".") > 1 else ""
        if layer != "cli" and not module.is_folder:
            homes[module.stem].append(layer)
    twice = [
        f"{stem}: {layers}"
        for stem, layers in homes.items()
        if stem not in IN_EACH_STAGE
        and (len(set(layers)) < len(layers) or len(set(layers) - GROUND) > 1)
    ]
    assert not twice, "\n".join(twice)


def test_no_vague_module():
    assert VAGUE & {module.stem for module in modules().values()} == set()


def test_few_lines_with_any():
    count = sum(
        bool(re.search(r"\bAny\b", line))
        for module in modules().values()
        for line in module.text.splitlines()
    )
    assert count <= LINES_WITH_ANY


def annotated(tree: ast.AST):
    """Yield every parameter and field that has an annotation: its name and the annotation."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg) and node.annotation:
            yield node.arg, ast.unparse(node.annotation)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, ast.unparse(node.annotation)


def test_no_method_is_any():
    untyped = [
        f"{module.name}: {name}: {annotation}"
        for module in modules().values()
        for name, annotation in annotated(module.tree)
        if name.strip("_") in TYPED and re.search(r"\bAny\b", annotation)
    ]
    assert not untyped, "\n".join(untyped)


def is_participle(name: str) -> bool:
    words = name.strip("_").split("_")
    return words[0] in NEVER_FIRST or (len(words) == 1 and words[0] in NEVER_ALONE)


def test_functions_are_verbs():
    participles = [
        f"{module.name}.{node.name}"
        for module in modules().values()
        for node in module.functions()
        if is_participle(node.name)
        and not any("property" in ast.unparse(mark) for mark in node.decorator_list)
    ]
    assert not participles, "\n".join(participles)


def assigned(tree: ast.AST):
    """Yield the names of values: variables, fields and parameters."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        if isinstance(node, ast.arg):
            yield node.arg


def test_values_say_what_they_are():
    untelling = [
        f"{module.name}: {name}"
        for module in modules().values()
        for name in assigned(module.tree)
        if name.strip("_") in UNTELLING
    ]
    assert not untelling, "\n".join(untelling)


def tracked() -> list[str]:
    """Return the files of the repository that people write."""
    if not shutil.which("git") or not (ROOT / ".git").exists():
        pytest.skip("this is no git repository")
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [
        path
        for path in done.stdout.splitlines()
        if path != "CHANGELOG.md"
        and not any(PurePath(path).match(pattern) for pattern in GENERATED)
        and (ROOT / path).is_file()
    ]


def written_by_hand(path: str) -> str:
    """Return a file without the tables that scripts/tables.py writes into it."""
    text = (ROOT / path).read_text("utf-8", errors="replace")
    return re.sub(r"<!-- begin: .*?<!-- end -->", "", text, flags=re.DOTALL)


# Put together, so that this file does not name them.
@pytest.mark.parametrize(
    ("methods", "name"),
    [
        (policy.METHODS, "-".join(("paired", "dpo"))),
        (deconfound.METHODS, "-".join(("limited", "information"))),
        (reward.METHODS, "".join(("o", "din"))),
    ],
    ids=["policy", "deconfound", "reward"],
)
def test_a_method_is_named_in_few_files(methods, name):
    words = re.compile(rf"\b({name}|{methods[name].__name__})\b")
    naming = [path for path in tracked() if words.search(written_by_hand(path))]
    assert len(naming) <= FILES_FOR_A_METHOD, "\n".join(naming)
