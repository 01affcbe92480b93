"""What a stage cost: wall time and peak memory, kept beside results that must not depend on it."""

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from causalign.artifacts import read_json, write_json

KILOBYTES_PER_MEBIBYTE = 1024


@contextmanager
def recorded(path: Path, stage: str) -> Iterator[None]:
    """Add the seconds and the peak resident memory (MiB) of the block to a JSON file."""
    _forget_peak()
    started = time.perf_counter()
    yield
    known = read_json(path) if path.exists() else {}
    known[stage] = {
        "seconds": round(time.perf_counter() - started, 1),
        "peak memory, MiB": round(_peak()),
    }
    write_json(path, known)


def _forget_peak() -> None:
    """Let Linux count the peak anew; elsewhere it stays that of the whole process so far."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _peak() -> float:
    try:
        status = Path("/proc/self/status").read_text()
        line = next(row for row in status.splitlines() if row.startswith("VmHWM"))
        return int(line.split()[1]) / KILOBYTES_PER_MEBIBYTE
    except (OSError, StopIteration):
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        # macOS counts bytes, the others kilobytes.
        bytes_each = 1 if sys.platform == "darwin" else 1024
        return most * bytes_each / (1 << 20)
