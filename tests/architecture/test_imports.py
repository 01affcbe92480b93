"""Nobody imports in a circle, few import late, and nothing heavy comes before it is needed."""

import subprocess
import sys

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tests.architecture.source import imports, modules, namespaces

LATE_IMPORTS = 5
LEARNING = ("torch", "transformers", "trl", "peft")
HEAVY = (*LEARNING, "numpy", "pyarrow", "scipy", "sklearn", "pandas", "matplotlib")


def circles(edges: list[tuple[str, str]]) -> list[list[str]]:
    """Return the groups of names that reach each other."""
    names = sorted({name for edge in edges for name in edge})
    place = {name: i for i, name in enumerate(names)}
    start, end = np.array([[place[a], place[b]] for a, b in edges]).T
    graph = coo_array((np.ones(len(edges)), (start, end)), shape=(len(names), len(names)))
    count, label = connected_components(graph, directed=True, connection="strong")
    groups = [[name for name in names if label[place[name]] == k] for k in range(count)]
    return [group for group in groups if len(group) > 1]


def test_a_circle_is_seen():
    assert circles([("a", "b"), ("b", "c"), ("c", "b"), ("c", "d")]) == [["b", "c"]]
    assert circles([("a", "b"), ("b", "c"), ("a", "c")]) == []


def test_nobody_imports_in_a_circle():
    assert len(imports()) > 500
    groups = circles([(edge.importer, edge.imported) for edge in imports()])
    assert not groups, "\n".join(map(str, groups))


def test_few_import_our_own_modules_late():
    late = {f"{edge.importer}:{edge.line}" for edge in imports() if edge.in_function}
    assert len(late) <= LATE_IMPORTS, "\n".join(sorted(late))


BLOCK = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Block())
"""


def loaded(statement: str, names: tuple[str, ...], blocked: tuple[str, ...] = ()) -> set[str]:
    """Return which of the names a fresh interpreter has imported after the statement."""
    code = (
        f"{BLOCK.format(names=blocked)}\n{statement}\n"
        f"print(*[name for name in {list(names)} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("name", namespaces())
def test_a_namespace_is_light(name):
    assert loaded(f"import {name}", HEAVY) == set()


def test_the_package_reaches_its_namespaces_and_knows_their_methods():
    """Listing the names of methods imports none of them."""
    short = [name.removeprefix("causalign.") for name in namespaces() if name != "causalign"]
    lines = ["import causalign as ca", *(f"ca.{name}" for name in short)]
    lines.append("assert [*ca.deconfound.METHODS, *ca.reward.METHODS, *ca.policy.METHODS]")
    assert loaded("\n".join(lines), HEAVY) == set()


def test_the_command_line_is_light():
    assert loaded("import causalign.cli", HEAVY) == set()


WITHOUT_TORCH = """
import numpy as np
import causalign as ca

logs = ca.simulate.Newsletter(rows=200, pairs=5).simulate().logs
ca.audit.audit_logs(logs, encoder="hashing")
for name in ("ordinary", "additive", "double-ml", "permutation-weighting"):
    adjusted = ca.deconfound.METHODS[name]().fit(logs, encoder="hashing").adjust(logs)
fit = ca.reward.Ridge().fit(adjusted, encoder="hashing")
assert np.isfinite(fit.predict(logs.completions[:3])).all()
log_half = np.full(len(logs), np.log(0.5))
ca.evaluate.off_policy(logs, target_logprob=log_half, logging_logprob=log_half)
"""
NOT_INSTALLED = f"""
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name in {LEARNING} else find(name)
"""
FROM_A_FILE = """
import contextlib, io, os, tempfile
import causalign as ca
from causalign.cli import main
import pyarrow.parquet as pq

os.chdir(tempfile.mkdtemp())
logs = ca.simulate.Newsletter(rows=400, pairs=5).simulate().logs.data
pq.write_table(logs.select(["mail", "minutes_read", "weekday"]), "mails.parquet")
with contextlib.redirect_stdout(io.StringIO()):
    for words in (["init", "mails.parquet"], ["run", "pipeline.yaml"]):
        try:
            main(words)
        except SystemExit as stopped:
            assert stopped.code == 0, words
"""


def test_all_but_networks_and_language_models_work_without_torch():
    assert loaded(WITHOUT_TORCH, LEARNING, blocked=LEARNING) == set()


def test_a_file_becomes_a_report_without_torch():
    # What is blocked raises when it is looked for, unlike what is not installed.
    assert loaded(NOT_INSTALLED + FROM_A_FILE, LEARNING, blocked=LEARNING) == set()


def test_every_module_can_be_imported():
    names = [name for name in modules() if not name.endswith("__main__")]
    loaded("\n".join(f"import {name}" for name in names), ())
