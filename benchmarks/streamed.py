"""Peak memory of two-stage least squares from Parquet, at 1 and 10 million rows: it must not grow.

python benchmarks/streamed.py [1 10]
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

FIT = """
import sys, time
from causalign.deconfound import TwoStageLeastSquares
from causalign.logs import Roles, scan_logs
own = tuple(f"w{i}" for i in range(20))
roles = Roles("text", "y", confounders=("d", *own), instruments=("z0", "z1"))
method = TwoStageLeastSquares(exogenous=own)
started = time.perf_counter()
effect = method.fit(scan_logs(sys.argv[1], roles))
at = effect.names.index("d")
# Not ru_maxrss, which a child inherits from its parent.
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]
print(f"{effect.observations:>12,} rows  {time.perf_counter() - started:6.1f} s  "
      f"peak {int(peak) * 1024 / 1e6:6.0f} MB  "
      f"d {effect.estimates[at]:.6f} ± {effect.covariance[at, at] ** 0.5:.6f}")
"""
ROWS_AT_ONCE = 250_000


def write(path: Path, millions: int) -> None:
    """Write a log with a text, one endogenous and 20 exogenous confounders and two instruments."""
    generator = np.random.default_rng(0)
    writer = None
    for _ in range(millions * 1_000_000 // ROWS_AT_ONCE):
        z, w = generator.normal(size=(2, ROWS_AT_ONCE)), generator.normal(size=(20, ROWS_AT_ONCE))
        hidden, noise = generator.normal(size=(2, ROWS_AT_ONCE))
        d = 0.5 * z[0] + 0.3 * z[1] + hidden + generator.normal(size=ROWS_AT_ONCE)
        columns = {"text": ["a text"] * ROWS_AT_ONCE, "y": 0.7 * d + w.sum(0) + hidden + noise}
        columns |= {"d": d, "z0": z[0], "z1": z[1], **{f"w{i}": w[i] for i in range(20)}}
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def main(millions_of_rows: tuple[int, ...] = (1, 10)) -> None:
    """Fit logs of several sizes, each in a process of its own, and print time and peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        for millions in millions_of_rows:
            path = Path(folder) / "log.parquet"
            write(path, millions)
            subprocess.run([sys.executable, "-c", FIT, str(path)], check=True)


if __name__ == "__main__":
    main(tuple(int(word) for word in sys.argv[1:]) or (1, 10))
