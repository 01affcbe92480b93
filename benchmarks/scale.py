"""Logs of any size in bounded memory: seconds and peak memory of each stage, and how they grow.

python benchmarks/scale.py [100000 1000000 10000000] [--markers-up-to 1000000] [--folder FOLDER]
python benchmarks/scale.py --ray 1000000

Short texts in Parquet, 1,000 weeks and a price as confounders, read batch by batch; hashed words
and style as features. Each size runs in a process of its own, and each stage has its own peak.
"""

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS_AT_ONCE = 250_000
WEEKS, WORDS = 1000, 20_000
STAGES = ("read", "learn", "audit", "additive", "ridge", "score")


def make_rows(rows: int, seed: int) -> pa.Table:
    """Make a log whose greeting travels with good weeks, and whose word w3 moves the outcome."""
    random = np.random.default_rng(seed)
    words = np.array([f"w{i}" for i in range(WORDS)], dtype=object)
    share = 1 / np.arange(10, WORDS + 10)
    ends = np.cumsum(random.integers(6, 16, rows))
    drawn = words[random.choice(WORDS, ends[-1], p=share / share.sum())].tolist()
    week, price = random.integers(0, WEEKS, rows), random.normal(size=rows)
    good = week % 7 == 0
    greets = random.random(rows) < 0.2 + 0.6 * good
    cuts = [0, *ends.tolist()]
    bodies = [" ".join(drawn[a:b]) for a, b in itertools.pairwise(cuts)]
    holds = np.array(["w3 " in f"{body} " for body in bodies])
    texts = [f"Happy Monday! {b}." if g else f"{b}." for b, g in zip(bodies, greets, strict=True)]
    y = 0.5 * good + 0.2 * price + 0.3 * holds + random.normal(size=rows)
    return pa.table({"text": texts, "y": y, "week": week, "price": price})


def write(path: Path, rows: int) -> None:
    """Write a log of so many rows."""
    writer = None
    for seed in range(0, max(rows // ROWS_AT_ONCE, 1)):
        table = make_rows(min(rows, ROWS_AT_ONCE), seed)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def measure(log: Path, work: Path, markers: bool, engine: str) -> None:
    """Do every stage, and print its seconds, its peak in MB and what it found as JSON."""
    import causalign as ca

    roles = ca.Roles("text", "y", confounders=("week", "price"), categorical=("week",))
    known: dict[str, object] = {}

    def do(stage: str, step: Callable[[], object]) -> object:
        forget_peak()
        started, spent = time.perf_counter(), time.process_time()
        result = step()
        took = time.perf_counter() - started
        told = {"seconds": took, "processor": time.process_time() - spent, "peak": peak()}
        known[stage] = told
        print(json.dumps({"stage": stage, **told}), flush=True)
        return result

    scan = do("read", lambda: ca.logs.scan_logs(log, roles, engine=engine))
    encoder = do("learn", lambda: ca.lm.learn_encoder(scan, "hashing+style"))
    audit = do("audit", lambda: ca.audit.audit_with_markers(scan, encoder, markers=markers))
    effect = do("additive", lambda: ca.deconfound.Additive().fit(scan, encoder))
    fit = do("ridge", lambda: ca.reward.Ridge().fit(effect.adjust(scan), encoder))
    fit.save(work)
    do(
        "score",
        lambda: ca.reward.score_logs(
            work / "model", log, work / "scored", completion="text", engine=engine
        ),
    )
    price = effect.names.index("price")
    numbers = {
        "audit": audit.answer,
        "price": float(effect.estimates[price]),
        "error": float(effect.standard_errors[price]),
        "penalty": fit.estimate.penalty,
        "cv_r2": fit.estimate.numbers["cv_r2"],
        "reward": fit.predict(["Happy Monday! w1 w2.", "w1 w3 w2."]).tolist(),
    }
    print(json.dumps({"numbers": numbers}), flush=True)


def forget_peak() -> None:
    """Let Linux count the peak anew."""
    Path("/proc/self/clear_refs").write_text("5")


def peak() -> float:
    """Return the peak of this process in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024 / 1e6


def run(log: Path, work: Path, markers: bool, engine: str) -> tuple[dict[str, dict], dict]:
    """Measure a log in a process of its own; print what it says as it comes."""
    words = [sys.executable, __file__, "--measure", str(log), str(work), engine]
    stages: dict[str, dict] = {}
    numbers: dict = {}
    with subprocess.Popen(
        [*words, *(["--markers"] if markers else [])], stdout=subprocess.PIPE, text=True
    ) as child:
        for line in child.stdout or ():
            said = json.loads(line)
            if "numbers" in said:
                numbers = said["numbers"]
                continue
            stage = said.pop("stage")
            stages[stage] = said
            print(
                f"  {stage:<9} {said['seconds']:8.1f} s  {said['processor']:8.1f} s of processors  "
                f"{said['peak']:7.0f} MB",
                flush=True,
            )
    if child.returncode:
        raise SystemExit(f"the process ended with {child.returncode}")
    return stages, numbers


def compare_sizes(sizes: list[int], markers_up_to: int, folder: Path) -> None:
    """Measure every size, and print how time grows with rows."""
    found: dict[int, dict[str, dict]] = {}
    for rows in sizes:
        log = folder / f"log-{rows}.parquet"
        if not log.exists():
            write(log, rows)
        markers = rows <= markers_up_to
        print(f"{rows:,} rows, {log.stat().st_size / 1e6:,.0f} MB of Parquet, "
              f"{'with' if markers else 'without'} markers", flush=True)  # fmt: skip
        with tempfile.TemporaryDirectory(dir=folder) as work:
            found[rows], numbers = run(log, Path(work), markers, "batches")
        whole = sum(stage["seconds"] for stage in found[rows].values())
        most = max(stage["peak"] for stage in found[rows].values())
        print(f"  together  {whole:8.1f} s {'':27}{most:7.0f} MB\n  {numbers}", flush=True)
    if len(sizes) > 1:
        print("time grows as rows to the power")
        for stage in STAGES:
            spent = [found[rows][stage]["processor"] for rows in sizes]
            power = np.polyfit(np.log(sizes), np.log(np.maximum(spent, 1e-3)), 1)[0]
            steps = np.diff(np.log(spent)) / np.diff(np.log(sizes))
            print(f"  {stage:<9} {power:5.2f}  (from size to size: "
                  f"{', '.join(f'{step:.2f}' for step in steps)})")  # fmt: skip


def compare_engines(rows: int, folder: Path) -> None:
    """Measure one size here and on Ray's workers, and print how far their numbers are apart."""
    log = folder / f"log-{rows}.parquet"
    if not log.exists():
        write(log, rows)
    numbers = {}
    for engine in ("batches", "ray"):
        print(f"{rows:,} rows, engine {engine}", flush=True)
        with tempfile.TemporaryDirectory(dir=folder) as work:
            _, numbers[engine] = run(log, Path(work), True, engine)
    here, there = numbers["batches"], numbers["ray"]
    print("the same answer of the audit:", here["audit"] == there["audit"])
    for name in ("price", "error", "penalty", "cv_r2"):
        print(f"  {name}: apart by {abs(here[name] / there[name] - 1):.1e}")
    apart = np.abs(np.divide(here["reward"], there["reward"]) - 1).max()
    print(f"  rewards: apart by {apart:.1e}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--markers-up-to", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--ray", type=int)
    parser.add_argument("--measure", nargs=3)
    parser.add_argument("--markers", action="store_true")
    given = parser.parse_args()
    if given.measure:
        log, work, engine = given.measure
        measure(Path(log), Path(work), given.markers, engine)
        return
    with tempfile.TemporaryDirectory() as own:
        folder = given.folder or Path(own)
        folder.mkdir(parents=True, exist_ok=True)
        if given.ray:
            compare_engines(given.ray, folder)
        else:
            compare_sizes(given.sizes, given.markers_up_to, folder)


if __name__ == "__main__":
    main()
