"""``causalign recipes``: list the recipes that came with the package, and copy one."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from pathlib import Path
from typing import Annotated

import typer

import causalign as ca
from causalign.cli import options as given
from causalign.cli.output import give, manner, say, say_path

PLACE = Path(ca.__file__).parent / "recipes"
# A path of a recipe where it lies among the others, two folders below its home.
OWN_PATH = re.compile(r"\.\./\.\./(\S+)")

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="""List the recipes that came with causalign, and copy one to change it.

Examples:

- `causalign recipes list`
- `causalign recipes copy newsletter`
""",
)


def list_names() -> list[str]:
    """Return the names of the recipes."""
    return sorted(path.parent.name for path in PLACE.glob("*/pipeline.yaml"))


@app.command("list")
def show() -> None:
    """List the recipes: what each asks, and what it does beside the run.

    Example: `causalign recipes list`
    """
    known = {name: _first_line(PLACE / name / "pipeline.yaml") for name in list_names()}
    if manner.json:
        give(recipes=[{"name": name, "question": asks} for name, asks in known.items()])
        return
    for name, asks in known.items():
        say(f"{name}: {asks}")


@app.command()
def copy(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Recipe: see `causalign recipes list`.")
    ],
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="FOLDER", help="New folder; default: recipes/NAME.", parser=given.read_output
        ),
    ] = None,
) -> None:
    """Copy a recipe, its README and what prepares its data.

    The paths in it then lead to `runs/` of the working folder, where its README puts the data.

    Example: `causalign recipes copy newsletter`
    """
    if name not in list_names():
        raise ca.errors.SettingsError(
            f"There is no recipe {name[:80]!r}; {ca.errors.nearest(name[:80], list_names())}"
        )
    target = folder or Path("recipes") / name
    if os.path.lexists(target):
        raise ca.errors.ArtifactError(f"{str(target)!r} is there already. Name another folder.")
    ca.artifacts.require_writable(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with ca.files.write_whole(target) as partial:
        partial.mkdir()
        for path in sorted(PLACE.joinpath(name).iterdir()):
            if path.is_file():
                _copy(path, partial / path.name, target)
    say(f"Read {target / 'README.md'}; in short:")
    for line in _list_commands(target / "README.md"):
        say(f"  {line}")
    if "policy" in ca.config.read_yaml(target / "pipeline.yaml"):
        say(
            "It tunes a language model, which needs `pip install 'causalign[lm]'`; leave that out "
            "with --set policy=null --set start=null"
        )
    say_path("recipe", target / "pipeline.yaml")


def _first_line(recipe: Path) -> str:
    """Return what a recipe asks, the comment that it begins with."""
    return recipe.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


def _list_commands(page: Path) -> list[str]:
    """Return the commands of a page's first block of them."""
    block = re.search(r"```bash\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [] if block is None else block[1].splitlines()


def _copy(source: Path, copy: Path, target: Path) -> None:
    """Copy a file, its paths as seen from the folder where it will lie."""
    shutil.copyfile(source, copy)
    text = source.read_text(encoding="utf-8")
    if source.suffix == ".yaml":
        home = Path(os.path.relpath(".", target)).as_posix()
        placed = OWN_PATH.sub(lambda match: json.dumps(f"{home}/{match[1]}"), text)
        copy.write_text(placed, encoding="utf-8")
    elif source.suffix == ".md":
        own = f"recipes/{source.parent.name}/"
        copy.write_text(text.replace(own, f"{shlex.quote(target.as_posix())}/"), encoding="utf-8")
