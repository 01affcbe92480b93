"""Write the tables that come from first lines and front matter: modules, methods, navigation.

    python scripts/tables.py           write them
    python scripts/tables.py --check   say whether they are up to date; scripts/check does

A page of docs/methods or docs/how-to may begin with front matter (the text between two lines of
three dashes): ``stage`` says in which table its rows stand and where it hangs in the navigation,
``order`` where among the others (0 to 100), and each of ``rows`` has ``when`` (your log has),
``use`` and ``holds`` (it holds when). A page holds a table between ``<!-- begin: deconfound -->``
(one stage or several, or ``modules``) and ``<!-- end -->``.
"""

import argparse
import ast
import posixpath
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "causalign"
STAGES = {
    "audit": "Audit",
    "deconfound": "Deconfound",
    "reward": "Reward",
    "policy": "Policy",
    "evaluate": "Evaluate",
    "experiment": "Experiment",
}
FRONT = re.compile(r"\A---\n(.*?)\n---\n", flags=re.DOTALL)
BLOCK = re.compile(r"(<!-- begin: (.*?) -->\n).*?(\n<!-- end -->)", flags=re.DOTALL)


@dataclass(frozen=True)
class Page:
    """A page with front matter: where it lies below docs/, its place among others, its rows."""

    path: str
    stage: str
    order: int
    rows: tuple[dict[str, str], ...]

    def row(self, row: dict[str, str], page_of_table: str) -> list[str]:
        """Return the cells of one row; the link leads from the page that holds the table."""
        start = posixpath.dirname(page_of_table) or "."
        link = posixpath.relpath(f"docs/{self.path}", start)
        return [row["when"], row["use"], row["holds"], f"[{Path(self.path).stem}]({link})"]


def pages() -> list[Page]:
    """Return the pages with front matter in the order of the stages."""
    paths = [*(ROOT / "docs" / "methods").glob("*.md"), *(ROOT / "docs" / "how-to").glob("*.md")]
    read = [page for path in sorted(paths) if (page := _page(path))]
    return sorted(read, key=lambda page: (list(STAGES).index(page.stage), page.order))


def _page(path: Path) -> Page | None:
    text = path.read_text("utf-8")
    front = FRONT.match(text)
    if front is None:
        return None
    fields = yaml.safe_load(front[1])
    place = path.relative_to(ROOT / "docs").as_posix()
    if fields.get("stage") not in STAGES:
        raise SystemExit(f"docs/{place}: the stage must be one of {', '.join(STAGES)}.")
    try:
        rows = tuple({key: row[key] for key in ("when", "use", "holds")} for row in fields["rows"])
    except (KeyError, TypeError) as error:
        raise SystemExit(f"docs/{place}: each of rows needs when, use and holds.") from error
    return Page(place, fields["stage"], fields.get("order", 100), rows)


def methods(stages: list[str], page_of_table: str) -> str:
    """Return the table of what to use when, for one stage or several."""
    policies = "to tune and to judge a policy"
    heads = {"reward": "to learn a reward", "policy": policies, "evaluate": policies}
    lines = [[heads.get(stages[0], "your log has"), "use", "it holds when", "page"], ["---"] * 4]
    for page in pages():
        if page.stage in stages:
            lines += [page.row(row, page_of_table) for row in page.rows]
    return _table(lines)


def modules() -> str:
    """Return the table of all modules with their first lines; folders follow the files."""
    files = [path for path in SOURCE.rglob("*.py") if not path.stem.startswith("__")]
    lines = [["module", "its one idea"], ["---"] * 2]
    for path in sorted(files, key=lambda path: (path.parent != SOURCE, path)):
        doc = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        first = doc.partition("\n\n")[0].replace("\n", " ").replace("|", "\\|")
        lines.append([f"`{path.relative_to(SOURCE).as_posix()}`", first])
    return _table(lines)


def navigation() -> list[dict[str, list[str]]]:
    """Return the pages of docs/methods by stage, as mkdocs.yml spells them."""
    return [
        {title: places}
        for stage, title in STAGES.items()
        if (places := [page.path for page in pages() if page.stage == stage and _is_method(page)])
    ]


def _is_method(page: Page) -> bool:
    return page.path.startswith("methods/")


def _table(lines: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def with_tables(name: str) -> str:
    """Return a file with its tables made anew."""

    def table(block: re.Match[str]) -> str:
        lines = modules() if block[2] == "modules" else methods(block[2].split(), name)
        return f"{block[1]}\n{lines}\n{block[3]}"

    return BLOCK.sub(table, (ROOT / name).read_text("utf-8"))


def without_front_matter() -> Iterator[str]:
    """Yield the pages of methods that no table and no navigation would show."""
    for path in sorted((ROOT / "docs" / "methods").glob("*.md")):
        if not FRONT.match(path.read_text("utf-8")):
            yield path.relative_to(ROOT).as_posix()


def main() -> int:
    """Write the tables, or check them; complain of pages without front matter."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if out of date")
    check = parser.parse_args().check
    faults = [f"{path} has no front matter" for path in without_front_matter()]
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")):
        name = path.relative_to(ROOT).as_posix()
        text = with_tables(name)
        if text != path.read_text("utf-8"):
            if check:
                faults.append(f"{name} is out of date: run python scripts/tables.py")
            else:
                path.write_text(text, "utf-8")
    print("\n".join(faults), end="\n" if faults else "", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
