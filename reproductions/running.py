"""How reproductions are run: which size, and where the figures go."""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

Settings = dict[str, Any]


def run(folder: Path, study: Callable[[Settings], dict[str, Any]]) -> dict[str, Any]:
    """Run a study in the size that the command line names, and write what it found."""
    parser = argparse.ArgumentParser(description=f"Reproduce {folder.parent.name}/{folder.name}.")
    size = parser.add_mutually_exclusive_group(required=True)
    meaning = {
        "smoke": "seconds: does it run?",
        "cpu": "the figures of the README",
        "full": "the paper's sizes",
    }
    sizes = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    for name in (name for name in sizes if name.isalnum()):
        text = meaning.get(name, "a table of the README")
        size.add_argument(f"--{name}", dest="size", action="store_const", const=name, help=text)
    parser.add_argument("--data", help="the file to read, instead of the one in config.yaml")
    parser.add_argument("--encoder", action="append", help="use these encoders only")
    parser.add_argument("--out", help="file for the figures; default: runs/NAME-SIZE.json")
    given = parser.parse_args()
    settings = sizes[given.size]
    settings["name"] = given.size
    settings["data"] = data_file(given.data or settings["data"])
    if given.encoder:
        settings["encoders"] = given.encoder
    started = time.perf_counter()
    found = study(settings) | {"seconds": round(time.perf_counter() - started, 1)}
    out = Path(given.out or f"runs/{folder.name}-{given.size}.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"\nwritten to {out}")
    return found


def data_file(name: str) -> Path:
    """Return the file, as given or below CAUSALIGN_DATA; stop if it is missing."""
    for path in (Path(name), Path(os.environ.get("CAUSALIGN_DATA", ".")) / name):
        if path.exists():
            return path
    sys.exit(
        f"There is no file {name}. Set CAUSALIGN_DATA to its folder, or name a file with the "
        "columns that the README lists: --data FILE."
    )


def mean_and_error(values: np.ndarray) -> dict[str, float]:
    """Return the mean over seeds and its standard error, in percent."""
    percent = 100 * np.asarray(values, dtype=float)
    error = percent.std(ddof=1) / len(percent) ** 0.5 if len(percent) > 1 else float("nan")
    return {"mean": round(float(percent.mean()), 2), "error": round(float(error), 2)}


def shown(cell: dict[str, float]) -> str:
    """Return a mean and its standard error as the paper prints them."""
    return f"{cell['mean']:.1f} ± {cell['error']:.1f}"
