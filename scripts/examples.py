"""Run the examples of a page, top to bottom, and write what they print below each block.

    python scripts/examples.py docs/methods/stories.md      write the outputs of a page anew
    python scripts/examples.py --check                      say which pages are out of date

Python runs unless ``<!-- not run: WHY -->`` stands above it, shell commands only below
``<!-- run -->``. The blocks of a page share a folder, and the Python among them its names, as in
one session. Output stands in a block without a language; that of a command may be left out.
"""

import argparse
import contextlib
import io
import math
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(
    r"(?P<mark><!-- (?:not run: [^\n]*|run) -->\n)?```(?P<language>python|bash)\n(?P<code>.*?)```\n"
    r"(?:\n```(?:text)?\n(?P<output>.*?)```\n)?",
    flags=re.DOTALL,
)
NUMBER = re.compile(r"(?<![\w.])[-+−]?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?|(?<![\w.])[-+−]?\.\d+")
TOLERANCE = 0.02  # machines round differently; the last decimal may differ by two


def pages() -> list[Path]:
    """Return the pages with examples that run, README first."""
    texts = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [path for path in texts if runnable(path.read_text("utf-8"))]


def runnable(text: str) -> bool:
    """Return whether a page has a block that is run."""
    return any(map(_runs, BLOCK.finditer(text)))


def _runs(block: re.Match[str]) -> bool:
    return (block["language"] == "python") == (block["mark"] is None)


def outputs(text: str, name: str) -> Iterator[tuple[re.Match[str], str]]:
    """Run the blocks of a page in a folder of their own; yield each with what it printed."""
    names: dict[str, object] = {"__name__": "__main__"}
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            for block in filter(_runs, BLOCK.finditer(text)):
                if block["language"] == "bash":
                    printed = _run_commands(block["code"])
                    yield block, "" if block["output"] is None else printed
                    continue
                stream = io.StringIO()
                with contextlib.redirect_stdout(stream):
                    exec(compile(block["code"], name, "exec"), names)
                yield block, stream.getvalue()
        finally:
            os.chdir(before)


def _run_commands(commands: str) -> str:
    """Return what commands print when no terminal reads it; raise where one of them fails."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        env={**os.environ, "PATH": path, "COLUMNS": "120"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{commands}{done.stderr}")
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())


def is_close(shown: str, printed: str) -> bool:
    """Return whether two outputs have the same words, and numbers that differ by rounding."""
    if NUMBER.sub("#", shown).split() != NUMBER.sub("#", printed).split():
        return False
    pairs = zip(NUMBER.findall(shown), NUMBER.findall(printed), strict=True)
    return all(_is_near(_value(one), _value(other), one) for one, other in pairs)


def _is_near(one: float, other: float, written: str) -> bool:
    digits = len(written.partition(".")[2].partition("e")[0])
    last = 2 * 10.0**-digits if digits else 0.0
    return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=last)


def _value(written: str) -> float:
    return float(written.replace(",", "").replace("−", "-"))


def with_outputs(path: Path) -> str:
    """Return a page with its outputs made anew; those that differ by rounding stay as they are."""
    text = path.read_text("utf-8")
    parts, end = [], 0
    for block, printed in outputs(text, path.name):
        parts.append(text[end : block.start()])
        end = block.end()
        if block["output"] is not None and is_close(block["output"], printed):
            parts.append(block[0])
        else:
            shown = f"\n```\n{printed}```\n" if printed else ""
            head = f"{block['mark'] or ''}```{block['language']}\n"
            parts.append(f"{head}{block['code']}```\n{shown}")
    return "".join(parts) + text[end:]


def main() -> int:
    """Write the outputs of the pages that are named, or of all; or check them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pages", nargs="*", type=Path)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if out of date")
    given = parser.parse_args()
    stale = []
    for path in [page.resolve() for page in given.pages] or pages():
        text = with_outputs(path)
        if text != path.read_text("utf-8"):
            stale.append(path.relative_to(ROOT).as_posix())
            if not given.check:
                path.write_text(text, "utf-8")
    print("\n".join(stale), end="\n" if stale else "", file=sys.stderr)
    return 1 if stale and given.check else 0


if __name__ == "__main__":
    raise SystemExit(main())
