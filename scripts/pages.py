"""What the site adds to docs/: pages of the repository, references, notebooks, typeset equations.

MkDocs calls the functions whose names begin with ``on_`` (see mkdocs.yml). Links are written as
GitHub reads them, relative to the file in the repository; here they become links of the site.
"""

import ast
import html
import posixpath
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from nbconvert import MarkdownExporter
from references import command_page, recipe_page
from tables import navigation

ROOT = Path(__file__).parents[1]
FAMILIES = {
    "DA": "Data",
    "CF": "Confounding",
    "OV": "Overlap",
    "CL": "Clusters",
    "TM": "Time",
    "MK": "Markers",
    "ID": "Instruments",
    "DE": "Deconfounding",
    "RM": "Reward models",
    "PO": "Policies",
    "EV": "Evaluation",
    "EX": "Experiments",
    "DR": "Installation",
    "WR": "Chosen texts",
}
NAMESPACES = (
    *("logs", "audit", "deconfound", "reward", "policy", "evaluate", "experiment"),
    *("report", "simulate", "data", "pipeline", "benchmark", "stats", "lm"),
)
# Their modules are the interface; the others export what is meant to be used.
BY_MODULE = {"stats", "lm"}
ALONE = {"README.md": "index.md", "ARCHITECTURE.md": "architecture.md"}
CHECKS = "src/causalign/checks/pages"
REPRODUCTIONS = ["reproductions/*.md", "reproductions/**/README.md", "reproductions/**/*.svg"]
SHOWN = ["*.md", f"{CHECKS}/*.md", "recipes/*/*", "notebooks/*.ipynb", *REPRODUCTIONS]
# What pymdownx.arithmatex makes of $x$ and $$ x $$.
EQUATION = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<tex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL
)
LINK = re.compile(r"(\]\()([^)#\s]+)((?:#[^)\s]*)?\))")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill the entries of the navigation that name a folder with what lies in it."""
    families = [{title: _codes(family)} for family, title in FAMILIES.items()]
    pages = [path for path in _repository() if path.endswith(".md")]
    folders = {
        "methods/": navigation(),
        "checks/": ["checks/index.md", *families],
        "reference/": ["reference/index.md", *map(_reference, NAMESPACES)],
        "recipes/": [path for path in pages if path.startswith("recipes/")],
        "reproductions/": [path for path in pages if path.startswith("reproductions/")],
    }
    config.nav = _fill(config.nav, folders)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the repository, the index of checks and the pages of the API."""
    for path in _repository():
        if path.endswith(".ipynb"):
            _add_notebook(path, files, config)
        else:
            files.append(File.generated(config, _place(path), abs_src_path=str(ROOT / path)))
    files.append(File.generated(config, "checks/index.md", content=_checks()))
    files.append(File.generated(config, "reference/index.md", content=_api("causalign", False)))
    files.append(File.generated(config, "reference/recipe.md", content=recipe_page()))
    files.append(File.generated(config, "reference/command-line.md", content=command_page()))
    for name in NAMESPACES:
        text = _api(f"causalign.{name}", name in BY_MODULE)
        files.append(File.generated(config, _reference(name), content=text))
    return files


def on_page_markdown(markdown: str, page: Page, files: Files, **_: Any) -> str:
    """Turn links between files of the repository into links between pages of the site."""
    here = page.file.src_uri
    origin = {_place(path): path for path in _repository()}.get(here, f"docs/{here}")

    def moved(link: re.Match[str]) -> str:
        if re.match(r"[a-z]+:", link[2]):
            return link[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), link[2]))
        place = path.removeprefix("docs/") if path.startswith("docs/") else _place(path)
        if files.get_file_from_path(place) is None:
            raise PluginError(f"{origin} links to {link[2]}, which the site does not hold.")
        return f"{link[1]}{posixpath.relpath(place, posixpath.dirname(here) or '.')}{link[3]}"

    return LINK.sub(moved, markdown)


def on_page_content(content: str, **_: Any) -> str:
    """Turn equations into MathML, which browsers typeset without a script or a font."""

    def typeset(equation: re.Match[str]) -> str:
        display = "block" if equation["tag"] == "div" else "inline"
        # GitHub wants the one name of the environment, the library knows the other.
        tex = html.unescape(equation["tex"]).replace("{aligned}", "{align*}")
        return convert(tex, display=display)

    return EQUATION.sub(typeset, content)


def _fill(entry: Any, folders: dict[str, list[Any]]) -> Any:
    if isinstance(entry, list):
        return [_fill(item, folders) for item in entry]
    if isinstance(entry, dict):
        return {title: _fill(item, folders) for title, item in entry.items()}
    return folders.get(entry, entry)


def _repository() -> list[str]:
    paths = {path for pattern in SHOWN for path in ROOT.glob(pattern) if path.is_file()}
    return sorted(path.relative_to(ROOT).as_posix() for path in paths)


def _place(path: str) -> str:
    """Return where the site shows a file of the repository."""
    return ALONE.get(path, path.replace(f"{CHECKS}/", "checks/").replace(".ipynb", ".md"))


def _add_notebook(path: str, files: Files, config: MkDocsConfig) -> None:
    """Add a notebook as a page, and its pictures, as they are in the file: nothing is executed."""
    stem = Path(path).stem
    text, parts = MarkdownExporter().from_filename(
        str(ROOT / path), resources={"unique_key": stem, "output_files_dir": ""}
    )
    # A cell of the shell is one; tables are styled by the site.
    text = re.sub(r"^```\w*\n%%bash\n", "```bash\n", text, flags=re.MULTILINE)
    text = re.sub(r"<style scoped>.*?</style>\n*", "", text, flags=re.DOTALL)
    text = text.replace('<table border="1" class="dataframe">', "<table>")
    files.append(File.generated(config, _place(path), content=text))
    for name, picture in parts["outputs"].items():
        files.append(File.generated(config, f"notebooks/{name}", content=picture))


def _reference(name: str) -> str:
    return f"reference/{name}.md"


def _api(name: str, by_module: bool) -> str:
    """Return a page of the reference: a folder's modules, or what its stub says it exports."""
    exported = [] if by_module else _exported(name)
    options = [f"show_submodules: {str(by_module).lower()}"]
    if exported:
        options.append("members: false")
    lines = [f"# `{name}`", "", f"::: {name}", *_options(options)]
    for one in exported:
        shown = ["show_root_heading: true", "show_root_toc_entry: true"]
        lines += ["", f"::: {name}.{one}", *_options(shown)]
    return "\n".join(lines) + "\n"


def _options(options: list[str]) -> list[str]:
    return ["    options:", *(f"      {option}" for option in options)]


def _exported(name: str) -> list[str]:
    """Return the functions and classes that a lazy namespace exports; none without a stub."""
    stub = ROOT / "src" / name.replace(".", "/") / "__init__.pyi"
    if not stub.exists():
        return []
    froms = [n for n in ast.parse(stub.read_text("utf-8")).body if isinstance(n, ast.ImportFrom)]
    return [alias.name for node in froms if node.module for alias in node.names]


def _codes(family: str) -> list[str]:
    return [f"checks/{path.name}" for path in sorted((ROOT / CHECKS).glob(f"{family}*.md"))]


def _checks() -> str:
    pages = sorted((ROOT / CHECKS).glob("[A-Z]*.md"))
    strangers = [path.stem for path in pages if path.stem[:2] not in FAMILIES]
    if strangers:
        raise PluginError(f"scripts/pages.py names no family for {', '.join(strangers)}.")
    lines = ["# Checks", "", "What the findings of the terminal and of the report mean.", ""]
    for family, title in FAMILIES.items():
        lines += [f"## {title}", "", "| code | what is checked |", "| --- | --- |"]
        for path in pages:
            if path.stem.startswith(family):
                with path.open(encoding="utf-8") as stream:
                    code, _, words = stream.readline().removeprefix("# ").strip().partition(": ")
                lines.append(f"| [{code}]({path.name}) | {words[:1].upper()}{words[1:]} |")
        lines.append("")
    return "\n".join(lines)
