"""Every file of every folder that is read back, with bytes changed: one line, or the same result.

Cut short, a byte flipped, emptied, replaced by JSON of other types, taken away, of another version.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from causalign import Logs, Roles, artifacts, pipeline
from causalign.deconfound import OrdinaryLeastSquares
from causalign.errors import CausalignError
from causalign.reward import RewardModel, Ridge, score_logs
from causalign.simulate import Newsletter

JUNK = [b"", b"{", b"[]", b"null", b'{"format": 1}', b"\xff\xfe\x00", b"[" * 100_000, b"PAR1"]


def damage(path: Path, random: np.random.Generator) -> list[tuple[str, Callable[[], object]]]:
    """Return what may happen to a file: a name, and what does it."""
    data = path.read_bytes()

    def flip() -> None:
        at = int(random.integers(len(data)))
        path.write_bytes(data[:at] + bytes([data[at] ^ (1 << random.integers(8))]) + data[at + 1 :])

    def cut() -> None:
        path.write_bytes(data[: int(random.integers(len(data)))])

    ways = [("cut", cut)] * 3 + [("flip", flip)] * 5 + [("away", path.unlink)]
    ways += [(f"junk {junk[:9]!r}", lambda junk=junk: path.write_bytes(junk)) for junk in JUNK]
    if path.suffix == ".json":
        ways += change_values(path, json.loads(data))
    return ways


def change_values(path: Path, content: dict) -> list[tuple[str, Callable[[], object]]]:
    """Return changes of one value each: its key away, or another type in its place."""
    ways = []
    for key in content:
        for value in (None, 7, "x", [], {}, [None], {"a": [1]}, -1e300):
            changed = content | {key: value}
            ways.append((f"{key}={value}", lambda c=changed: path.write_text(json.dumps(c))))
        rest = {name: value for name, value in content.items() if name != key}
        ways.append((f"without {key}", lambda c=rest: path.write_text(json.dumps(c))))
    changed = content | {"more": 1}
    return [*ways, ("one more key", lambda: path.write_text(json.dumps(changed)))]


def assert_told(folder: Path, spare: Path, read: Callable[[Path], object]) -> None:
    """Damage each file in turn: reading raises one of our errors in a line, or works."""
    random = np.random.default_rng(0)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.stat().st_size]
    names = [path.relative_to(folder) for path in files]
    assert names
    for name in names:
        for how, do in damage(spare / name, random):
            shutil.rmtree(spare, ignore_errors=True)
            shutil.copytree(folder, spare)
            do()
            said = describe(read, spare, f"{name}, {how}")
            assert len(said.splitlines()) <= 1, (name, how, said)
            assert len(said) < 1000, (name, how, said)


def describe(read: Callable[[Path], object], folder: Path, what: str) -> str:
    """Return what is said of a damage, nothing where reading works."""
    try:
        read(folder)
    except CausalignError as error:
        return str(error)
    except Exception as error:
        raise AssertionError(f"{what}: {error!r}") from error
    return ""


@pytest.fixture(scope="module")
def logs():
    return Newsletter(rows=60, pairs=2).simulate().logs


def test_damaged_logs_are_told(logs, tmp_path):
    logs.save(tmp_path / "logs")
    shutil.copytree(tmp_path / "logs", tmp_path / "spare")
    assert_told(tmp_path / "logs", tmp_path / "spare", lambda folder: Logs.load(folder).outcome)


@pytest.mark.parametrize("encoder", ["hashing", "tfidf"])
def test_damaged_rewards_are_told(logs, tmp_path, encoder):
    fit = Ridge().fit(logs, encoder)
    fit.model.save(tmp_path / "model")
    expected = fit.model(["happy monday"])
    shutil.copytree(tmp_path / "model", tmp_path / "spare")

    def read(folder):
        # A number is the right one, or is not given.
        np.testing.assert_array_equal(RewardModel.load(folder)(["happy monday"]), expected)

    assert_told(tmp_path / "model", tmp_path / "spare", read)


def read_stages(folder: Path) -> None:
    for stage in artifacts.stages(folder):
        artifacts.read_stage(stage)


@pytest.mark.parametrize(
    "read", [read_stages, pytest.param(pipeline.rebuild_report, marks=pytest.mark.slow)]
)
def test_damaged_stages_are_told(read, logs, tmp_path):
    section = OrdinaryLeastSquares().fit(logs).section()
    artifacts.write_stage(tmp_path / "run" / "1-x", section, key="k", settings=None)
    shutil.copytree(tmp_path / "run", tmp_path / "spare")
    assert_told(tmp_path / "run", tmp_path / "spare", read)


def test_damaged_scores_are_told(logs, tmp_path):
    Ridge().fit(logs, "hashing").model.save(tmp_path / "model")
    pq.write_table(logs.data, tmp_path / "logs.parquet")

    def score(folder):
        return score_logs(
            tmp_path / "model", tmp_path / "logs.parquet", folder, completion="mail"
        ).rows

    score(tmp_path / "scored")
    shutil.copytree(tmp_path / "scored", tmp_path / "spare")
    assert_told(tmp_path / "scored", tmp_path / "spare", score)


def test_roles_of_saved_logs_are_roles(logs, tmp_path):
    logs.save(tmp_path)
    assert Logs.load(tmp_path).roles == logs.roles
    assert isinstance(Logs.load(tmp_path).roles, Roles)
