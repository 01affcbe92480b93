"""Upworthy (2506.00152, section 3.2): learning from what was published, judged by A/B tests.

python run.py --smoke | --cpu | --full  [--data FILE] [--out FOLDER]

Work that was finished before is not done again: each split leaves one file.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path

import numpy as np
import yaml
from study import (
    PENALTIES,
    Archive,
    every_package,
    experimental,
    observational,
    read,
    split,
)
from summary import summarise
from vectors import vectors

HERE = Path(__file__).parent


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    modes = parser.add_mutually_exclusive_group(required=True)
    for mode in ("smoke", "cpu", "full"):
        modes.add_argument(f"--{mode}", dest="mode", action="store_const", const=mode)
    parser.add_argument("--data", help="upworthy.parquet; default: in $CAUSALIGN_DATA")
    parser.add_argument("--out", type=Path, help="default: runs/upworthy-MODE")
    given = parser.parse_args(arguments)
    settings = yaml.safe_load((HERE / "config.yaml").read_text(encoding="utf-8"))[given.mode]
    data = given.data or str(Path(os.environ["CAUSALIGN_DATA"]) / "upworthy.parquet")
    out = given.out or Path("runs") / f"upworthy-{given.mode}"
    archive = read(data, settings["tests"])
    units = [_unit(archive, out, e, j, settings) for e, j in _plan(settings)]
    found = summarise(units, PENALTIES, out)
    _compare(found, given.mode)
    return found


def _plan(settings: dict) -> list[tuple[str, int]]:
    return [(e, j) for j in settings["judges"] for e in settings["encoders"]]


def _unit(archive: Archive, out: Path, encoder: str, judge: int, settings: dict) -> dict:
    """Fit and judge one encoder on one split, or read what an earlier run found."""
    path = out / "splits" / f"{encoder}-{judge}-{settings['draws']}.npz"
    if not path.exists():
        V = vectors(encoder, archive.raw.completions, archive.fold != judge, out)
        parts = [split(archive, judge, draw) for draw in range(settings["draws"])]
        stored = {"clusters": parts[0].judge.group, "experimental": experimental(parts[0], V)}
        stored["deconfounded, every package"] = every_package(archive, parts[0], V)
        budget = len(parts[0].log)
        stored["experimental, as many packages"] = experimental(parts[0], V, budget)
        told = {
            "encoder": encoder,
            "judge": judge,
            "rows": budget,
            "teaching_pairs": len(parts[0].teach),
            "draws": [],
        }
        for draw, part in enumerate(parts):
            fits = observational(archive, part, V)
            for name, fit in fits.items():
                stored[f"{name} {draw}"] = fit.pop("scores").astype(np.float32)
            told["draws"].append(fits)
        _write(path, stored, told)
        print(f"{encoder}, fold {judge}: {len(stored['clusters'])} pairs judged", flush=True)
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return {**json.loads(str(arrays.pop("told"))), "scores": arrays}


def _write(path: Path, stored: dict[str, np.ndarray], told: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
    with os.fdopen(handle, "wb") as file:
        np.savez(file, told=json.dumps(told, default=np.ndarray.tolist), **stored)
    os.replace(temporary, path)


def _compare(found: dict, mode: str) -> None:
    """Print what was found beside what is expected."""
    expected = json.loads((HERE / "expected.json").read_text(encoding="utf-8")).get(mode, {})
    for name, value in found["numbers"].items():
        known = expected.get(name)
        print(f"{name:62s} {value:8.4f}" + ("" if known is None else f"   expected {known:.4f}"))


if __name__ == "__main__":
    main()
