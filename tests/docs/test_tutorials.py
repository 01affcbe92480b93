"""The tutorials' own commands run, on the first rows of the same files."""

import importlib.util
import re
import shlex
import shutil
from pathlib import Path

import pandas as pd
import pytest

from causalign.cli import main

ROOT = Path(__file__).parents[2]
TUTORIALS = {
    "bristol": ("bristol", "airbnb_bristol"),
    "pizza": ("pizza", "pizza_requests"),
    "hacker-news": ("hacker_news", "hacker_news"),
}
ROWS = 600


def commands(page: str) -> list[list[str]]:
    """Return the commands of the page's shell blocks, in their order."""
    text = (ROOT / "docs" / "tutorials" / f"{page}.md").read_text()
    blocks = re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    split = [shlex.split(line, comments=True) for line in lines if line.strip()]
    # What comes before: the package is installed here, `workplace` copies the recipe.
    return [one for one in split if one[0] not in ("pip", "export") and "recipes" not in one]


@pytest.fixture
def workplace(real_data, tmp_path, monkeypatch):
    """Return a maker of a folder with a recipe and the first rows of its file."""

    def make(recipe: str, name: str) -> Path:
        shutil.copytree(ROOT / "recipes" / recipe, tmp_path / "recipes" / recipe)
        rows = pd.read_parquet(real_data / f"{name}.parquet").head(ROWS)
        rows.to_parquet(tmp_path / f"{name}.parquet", index=False)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("CAUSALIGN_DATA", str(tmp_path))
        return tmp_path

    return make


def prepare(command: list[str], folder: Path) -> None:
    script, source, target = command[1:]
    spec = importlib.util.spec_from_file_location("prepare", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    logs = module.prepare(pd.read_parquet(source.replace("$CAUSALIGN_DATA", str(folder))))
    Path(target).parent.mkdir(parents=True)
    logs.to_parquet(target, index=False)


def causalign(command: list[str], encoder: Path) -> None:
    given = {"audit": ["--encoder", str(encoder)], "run": ["--set", f"encoder={encoder}"]}
    with pytest.raises(SystemExit) as stopped:
        main([*command[1:], *given.get(command[1], [])])
    assert stopped.value.code == 0, command


@pytest.mark.parametrize("page", TUTORIALS)
def test_the_log_is_prepared_and_audited(page, workplace, tiny_encoder_folder):
    recipe, name = TUTORIALS[page]
    folder = workplace(recipe, name)
    all_commands = commands(page)
    prepare(all_commands[0], folder)
    audit = next(command for command in all_commands if command[:2] == ["causalign", "audit"])
    causalign(audit, tiny_encoder_folder)
    assert (folder / audit[audit.index("--out") + 1] / "result.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("page", TUTORIALS)
def test_every_command_runs(page, workplace, tiny_encoder_folder):
    recipe, name = TUTORIALS[page]
    folder = workplace(recipe, name)
    for command in commands(page):
        if command[0] == "python":
            if "prepare.py" in command[1]:
                prepare(command, folder)
        else:
            assert command[0] == "causalign", command
            causalign(command, tiny_encoder_folder)
    assert (folder / "runs" / recipe / "6-report" / "report.html").exists()


@pytest.mark.parametrize("page", TUTORIALS)
def test_figures_are_small_and_described(page):
    text = (ROOT / "docs" / "tutorials" / f"{page}.md").read_text()
    figures = re.findall(r"!\[([^\]]*)\]\(([^)]*)\)", text)
    assert figures
    for words, target in figures:
        path = ROOT / "docs" / "tutorials" / target
        assert len(words) > 30, target
        assert path.stat().st_size < 150_000
        assert not re.search(r"(?i)<script|https?://(?!www\.w3\.org)", path.read_text())
