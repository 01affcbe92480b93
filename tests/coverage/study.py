"""Run every design many times, keep each draw in a file, and write the table of coverage.

    python -m tests.coverage.study --draws 1000 --keep runs/coverage.jsonl --write docs/coverage.md

Draw i of a design has seed i. Draws that the file holds already are not made again; the tables are
of all draws in the file.
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from scipy import stats

from tests.coverage.designs import CASES, SMALLER, holds, width

TARGET = (0.936, 0.964)
NAIVE = 0.2
EVERY = {**CASES, **SMALLER}
HEADER = (
    "| estimator | n | draws | holds because | coverage of 95% | Monte-Carlo interval | "
    "median width | naive: coverage | naive estimator |\n" + "| --- " * 9 + "|"
)


def measured(task: tuple[str, int]) -> dict[str, object]:
    """Return what one draw of a case gave."""
    name, seed = task
    case = EVERY[name]
    one = case.draw(seed)
    found, naive = case.estimator(one), case.naive(one)
    return {
        "case": name,
        "seed": seed,
        "held": holds(found, one.truth),
        "width": width(found),
        "naive": holds(naive, one.truth),
    }


def kept(path: Path) -> list[dict]:
    """Return the draws in the file, each once; a line that was cut short is left out."""
    found: dict[tuple[str, int], dict] = {}
    for line in filter(None, path.read_text().splitlines() if path.exists() else ()):
        try:
            row = json.loads(line)
            found[row["case"], row["seed"]] = row
        except json.JSONDecodeError:
            print(f"left out a damaged line of {path}", file=sys.stderr)
    return list(found.values())


def run(names: list[str], draws: int, path: Path, processes: int) -> None:
    """Make the draws that the file lacks and append them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done = {(row["case"], row["seed"]) for row in kept(path)}
    wanted = [(name, seed) for name in names for seed in range(draws)]
    tasks = [task for task in wanted if task not in done]
    with ProcessPoolExecutor(processes) as pool, path.open("a") as file:
        if path.stat().st_size:
            file.write("\n")
        for count, row in enumerate(pool.map(measured, tasks, chunksize=10), 1):
            file.write(json.dumps(row) + "\n")
            file.flush()
            if count % 500 == 0:
                print(f"{count} of {len(tasks)} draws", file=sys.stderr, flush=True)


def line(name: str, rows: list[dict]) -> tuple[str, bool]:
    """Return a row of the table, and whether it is what the methods promise."""
    case, count = EVERY[name], len(rows)
    hits = sum(row["held"] for row in rows)
    share, naive = hits / count, sum(row["naive"] for row in rows) / count
    interval = stats.binomtest(hits, count).proportion_ci()
    size = float(np.median([row["width"] for row in rows]))
    shown = f"{size:.3f}" if np.isfinite(size) else "unbounded"
    text = (
        f"| {name} | {case.rows:,} | {count:,} | {case.assumption} | {share:.1%} | "
        f"{interval.low:.1%} to {interval.high:.1%} | {shown} | {naive:.1%} | {case.naive_error} |"
    )
    return text, TARGET[0] <= share <= TARGET[1] and naive < NAIVE


def table(path: Path, names: Iterable[str]) -> tuple[str, list[str]]:
    """Return the table in Markdown and the names of the cases that miss the promise."""
    rows: dict[str, list[dict]] = defaultdict(list)
    for row in kept(path):
        rows[row["case"]].append(row)
    lines, missed = [HEADER], []
    for name in names:
        if rows[name]:
            text, good = line(name, rows[name])
            lines.append(text)
            missed += [] if good else [name]
    return "\n".join(lines), missed


def write(page: Path, found: str, mark: str) -> None:
    """Put a table between its marks of the page."""
    begin, end = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
    text = page.read_text(encoding="utf-8")
    before, after = text.split(begin)[0], text.split(end)[1]
    page.write_text(f"{before}{begin}\n{found}\n{end}{after}", encoding="utf-8")


def main() -> None:
    """Read the arguments, run, print the table, write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--case", action="append", choices=list(EVERY), help="default: all")
    parser.add_argument("--keep", type=Path, default=Path("runs/coverage.jsonl"))
    parser.add_argument("--write", type=Path, help="page whose table is to be replaced")
    parser.add_argument("--processes", type=int, default=1)
    given = parser.parse_args()
    run(given.case or list(EVERY), given.draws, given.keep, given.processes)
    found, missed = table(given.keep, CASES)
    smaller, _ = table(given.keep, SMALLER)
    print(f"{found}\n\n{smaller}")
    if given.write is not None:
        write(given.write, found, "table")
        write(given.write, smaller, "smaller")
    for name in missed:
        print(f"{name}: outside {TARGET[0]:.1%} to {TARGET[1]:.1%}, or its naive is not fooled")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
