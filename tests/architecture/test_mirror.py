"""The tests lie where their module lies."""

from tests.architecture.source import ROOT, modules

TESTS = ROOT / "tests"
# Kinds of tests that no single folder of the package answers for.
KINDS = {
    *("architecture", "cases", "coverage", "docs", "doors", "exact", "properties"),
    *("recipes", "reference", "reproductions"),
}


def test_folders_of_tests_are_folders_of_the_package():
    folders = {m.stem for m in modules().values() if m.is_folder and m.name.count(".") == 1}
    beside = {path.name for path in TESTS.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert beside - folders - KINDS == set()


def test_every_stage_has_its_folder_of_tests():
    for name in (
        "audit",
        "checks",
        "deconfound",
        "experiment",
        "logs",
        "pipeline",
        "policy",
        "reward",
    ):
        assert any((TESTS / name).glob("test_*.py")), name


def test_modules_above_the_folders_are_named_after_one():
    stems = {m.stem for m in modules().values() if not m.is_folder and m.name.count(".") == 1}
    beside = {path.stem.removeprefix("test_") for path in TESTS.glob("test_*.py")}
    assert beside - stems == set()
