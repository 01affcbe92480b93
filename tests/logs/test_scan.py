"""Logs on disk: batches have the levels of all rows, and say what is wrong with which file."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from causalign.errors import ColumnNotFound, InputError, UnreadableFile
from causalign.logs import Logs, Roles, hash_units, scan_logs
from causalign.logs import parts as parts_of_files

ROLES = Roles("text", "y", confounders=("week", "price"), categorical=("week",), cluster="user")


def make_table(rows: int = 300, seed: int = 0) -> pa.Table:
    random = np.random.default_rng(seed)
    return pa.table(
        {
            "text": [f"text {i} of {i % 7}" for i in range(rows)],
            "y": random.normal(size=rows),
            "week": random.integers(1, 30, rows),
            "price": random.normal(size=rows),
            "user": [f"user {k}" for k in random.integers(0, 40, rows)],
        }
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(parts_of_files, "PART_ROWS", 60)
    table = make_table()
    for part in range(3):
        some = table.slice(100 * part, 100)
        pq.write_table(some, tmp_path / f"part-{part}.parquet", row_group_size=30)
    return tmp_path


def test_batches_are_the_rows_of_logs_in_memory(folder):
    scan, logs = scan_logs(folder, ROLES, batch_rows=17), Logs.read(folder, ROLES)
    batches = list(scan.batches())
    assert len(scan) == len(logs) == 300
    assert len(scan.parts) == 6
    assert len(batches) > 12
    whole = logs.covariate("week")
    assert all(b.covariate("week").levels == whole.levels for b in batches)
    for name in ("week", "price"):
        values = np.concatenate([b.covariate(name).values for b in batches])
        np.testing.assert_array_equal(values, logs.covariate(name).values)
    assert [t for b in batches for t in b.completions] == logs.completions
    np.testing.assert_array_equal(np.concatenate([b.outcome for b in batches]), logs.outcome)
    assert [t for part in scan.split() for b in part.batches() for t in b.completions] == (
        logs.completions
    )


def test_logs_in_memory_are_cut_in_the_same_way(folder):
    logs = Logs.read(folder, ROLES)
    batches = list(logs.batches(70))
    assert [len(b) for b in batches] == [70, 70, 70, 70, 20]
    values = np.concatenate([b.covariate("week").values for b in batches])
    np.testing.assert_array_equal(values, logs.covariate("week").values)
    assert list(logs.batches()) == [logs]


def test_units_stay_together_whatever_the_batches(folder):
    scan, logs = scan_logs(folder, ROLES, batch_rows=17), Logs.read(folder, ROLES)
    hashed = np.concatenate([hash_units(b, 3, "test") for b in scan.batches()])
    np.testing.assert_array_equal(hashed, hash_units(logs, 3, "test"))
    assert all(len(np.unique(hashed[logs.clusters == c])) == 1 for c in np.unique(logs.clusters))
    kept, held = scan.hold_out(0.3, seed=1)
    sides = [{u for b in s.batches() for u in b.data["user"].to_pylist()} for s in (kept, held)]
    assert not sides[0] & sides[1]
    assert len(kept) + len(held) == 300
    drawn = scan.sample(100, seed=2)
    assert 30 < len(drawn) < 200
    assert "drew" in drawn.history[-1]
    assert scan.sample(1000).completions == logs.completions


def test_the_hash_is_uniform():
    rows = 20_000
    logs = Logs.of(
        {"text": [f"text {i}" for i in range(rows)], "y": np.arange(rows)}, Roles("text", "y")
    )
    hashed = np.column_stack([hash_units(logs, seed, "test") for seed in range(3)])
    counts = np.stack([np.histogram(h, 20, (0, 1))[0] for h in hashed.T])
    chi = ((counts - rows / 20) ** 2 / (rows / 20)).sum(axis=1)
    assert (chi < 45).all()  # 19 degrees of freedom: p = .0007
    assert np.abs(np.corrcoef(hashed.T)[np.triu_indices(3, 1)]).max() < 0.03


def test_incomplete_rows_are_refused_or_passed_over(tmp_path):
    table = make_table()
    holes = [None if i in (5, 250) else i * 1.0 for i in range(300)]
    table = table.set_column(3, "price", pa.array(holes))
    table = table.set_column(0, "text", pa.array([None if i == 7 else f"t{i}" for i in range(300)]))
    pq.write_table(table, tmp_path / "log.parquet")
    with pytest.raises(InputError, match="price"):
        scan_logs(tmp_path / "log.parquet", ROLES)
    scan = scan_logs(tmp_path / "log.parquet", ROLES, batch_rows=50, drop_incomplete=True)
    kept = [t for b in scan.batches() for t in b.completions]
    assert len(kept) == len(scan) == 297
    assert "pass over 3 incomplete rows" in scan.history


def test_a_damaged_part_is_named(folder):
    scan = scan_logs(folder, ROLES)
    path = folder / "part-1.parquet"
    data = bytearray(path.read_bytes())
    data[4:900] = b"\xff" * 896
    path.write_bytes(data)
    with pytest.raises(UnreadableFile, match="part-1.parquet"):
        list(scan.batches())
    path.write_bytes(data[:500])
    with pytest.raises(UnreadableFile, match="part-1.parquet"):
        scan_logs(folder, ROLES)


def test_parts_of_other_schemas_are_named(folder):
    pq.write_table(make_table().drop_columns(["price"]), folder / "part-3.parquet")
    with pytest.raises(ColumnNotFound, match="part-3.parquet"):
        scan_logs(folder, ROLES)
    other = make_table()
    other = other.set_column(3, "price", pa.array([f"{i}.5 euros" for i in range(300)]))
    pq.write_table(other, folder / "part-3.parquet")
    with pytest.raises(InputError, match="price"):
        scan_logs(folder, ROLES)


def test_kept_columns_are_of_one_type_in_all_parts(folder):
    table, numbers = make_table(100), pa.array(range(100))
    for part, more in enumerate((numbers, numbers.cast(pa.float64()), pa.nulls(100))):
        pq.write_table(table.append_column("rank", more), folder / f"part-{part}.parquet")
    batches = scan_logs(folder, ROLES, keep=("rank",)).batches()
    kept = pa.concat_tables([logs.data.select(["rank"]) for logs in batches])
    assert kept.schema.field("rank").type == pa.float64()
    assert kept["rank"].to_pylist() == [*range(100), *range(100), *[None] * 100]
    words = pa.array([f"rank {i}" for i in range(100)])
    pq.write_table(table.append_column("rank", words), folder / "part-1.parquet")
    with pytest.raises(InputError, match=r"part-1.parquet' holds a column in another type.*rank"):
        scan_logs(folder, ROLES, keep=("rank",))
    assert len(scan_logs(folder, ROLES)) == 300  # nobody asks for it


def test_kept_bytes_stay_what_they_are(folder):
    table, words = make_table(100), pa.array([b"tea"] * 100)
    for part, more in enumerate((words, pa.array([b"\xff"] * 100), words)):
        pq.write_table(table.append_column("picture", more), folder / f"part-{part}.parquet")
    batches = scan_logs(folder, ROLES, keep=("picture",)).batches()
    kept = [logs.data["picture"][0].as_py() for logs in batches]
    assert set(kept) == {"tea", b"\xff"}


def test_a_constant_outcome_is_refused(tmp_path):
    table = make_table().set_column(1, "y", pa.array(np.ones(300)))
    pq.write_table(table, tmp_path / "log.parquet")
    with pytest.raises(InputError, match="constant"):
        scan_logs(tmp_path / "log.parquet", ROLES)


def test_objects_in_a_storage_are_read_where_they_lie(folder):
    fsspec = pytest.importorskip("fsspec")
    from causalign.logs.remote import hash_log_file

    system = fsspec.filesystem("memory")
    for part in range(3):
        place = f"/scans/week={part}/part.parquet"
        system.pipe(place, (folder / f"part-{part}.parquet").read_bytes())
    system.pipe("/scans/_temporary/part.parquet", b"no")
    roles = Roles("text", "y", confounders=("price", "week"), categorical=("week",))
    here = scan_logs(folder, ROLES)
    columns = [name for name in make_table().column_names if name != "week"]
    for part in range(3):
        table = pq.read_table(folder / f"part-{part}.parquet", columns=columns)
        with system.open(f"/scans/week={part}/part.parquet", "wb") as file:
            pq.write_table(table, file, row_group_size=30)
    scan = scan_logs("memory://scans", roles, batch_rows=40)
    assert len(scan) == 300
    assert [t for b in scan.batches() for t in b.completions] == [
        t for b in here.batches() for t in b.completions
    ]
    assert scan.columns["week"].levels == ("0", "1", "2")
    assert scan.history[0].startswith("scan 300 rows of memory://scans in 3 files")
    assert len({hash_log_file(file) for file in scan.files}) == 3
    system.pipe("/scans/week=1/part.parquet", b"PAR1 no")
    with pytest.raises(UnreadableFile, match="scans/week=1/part.parquet"):
        scan_logs("memory://scans", roles)
    with pytest.raises(UnreadableFile, match="memory://nowhere"):
        scan_logs("memory://nowhere", roles)
