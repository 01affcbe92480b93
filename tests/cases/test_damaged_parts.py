"""Folders of Parquet of which a part is bad: named, nothing counted twice, nothing half-written.

Each part once was read without a word, or stopped a run that could not go on when it was mended.
"""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import causalign as ca
from causalign.errors import ArtifactError, ColumnNotFound, InputError, UnreadableFile
from causalign.lm import load_encoder
from causalign.logs.scan import scan_logs
from causalign.reward import LinearHead, RewardModel, score_logs, scoring

ROLES = ca.Roles("mail", "minutes", confounders=("price",))
ROWS = 300


def part(number: int) -> pa.Table:
    random = np.random.default_rng(number)
    return pa.table(
        {
            "mail": [f"free mugs {number} {i} {random.integers(10**6)}" for i in range(ROWS)],
            "minutes": random.normal(size=ROWS),
            "price": random.normal(size=ROWS),
            "row": np.arange(ROWS) + number * ROWS,
        }
    )


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "logs").mkdir()
    for number in range(4):
        path = tmp_path / "logs" / f"part-{number}.parquet"
        pq.write_table(part(number), path, compression="none", write_page_checksum=True)
    return tmp_path / "logs"


@pytest.fixture
def model(tmp_path):
    encoder = load_encoder("hashing")
    head = LinearHead(np.random.default_rng(1).normal(size=encoder.dimension), 0.5)
    RewardModel("hashing", head, encoder=encoder).save(tmp_path / "model")
    return tmp_path / "model"


DOORS = {
    "read": lambda folder, model: ca.Logs.read(folder, ROLES),
    "scan": lambda folder, model: list(scan_logs(folder, ROLES).batches()),
    "score": lambda folder, model: score_logs(
        model, folder, folder.parent / "out", completion="mail"
    ),
}
BY_EVERY_DOOR = pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)


def cut(path):
    path.write_bytes(path.read_bytes()[:4000])


def flip(path):
    content = bytearray(path.read_bytes())
    content[500:504] = bytes(255 - byte for byte in content[500:504])
    path.write_bytes(content)


def blank(path):
    content = bytearray(path.read_bytes())
    content[1000:3000] = bytes(2000)
    path.write_bytes(content)


def forget_end(path):
    path.write_bytes(path.read_bytes()[:-4] + b"XXXX")


def empty(path):
    path.write_bytes(b"")


@BY_EVERY_DOOR
@pytest.mark.parametrize("damage", [cut, flip, blank, forget_end, empty])
def test_a_damaged_part_is_named(folder, model, damage, door):
    damage(folder / "part-2.parquet")
    with pytest.raises(UnreadableFile, match=r"part-2\.parquet"):
        door(folder, model)


def change(path, name, column):
    table = pq.read_table(path)
    pq.write_table(table.set_column(table.column_names.index(name), name, column), path)


SCHEMAS = {
    "missing": (lambda p: pq.write_table(part(2).drop_columns(["price"]), p), ["price"]),
    "more": (lambda p: pq.write_table(part(2).append_column("new", [[1] * ROWS]), p), ["new"]),
    "words": (lambda p: change(p, "price", [["cheap"] * ROWS]), ["price", "type"]),
    "numbers": (lambda p: change(p, "mail", [list(range(ROWS))]), ["mail"]),
    "twice": (
        lambda p: pq.write_table(
            pa.table([*part(2).columns, [0.0] * ROWS], [*part(2).column_names, "price"]), p
        ),
        ["price", "twice"],
    ),
}


@BY_EVERY_DOOR
@pytest.mark.parametrize(("write", "words"), SCHEMAS.values(), ids=SCHEMAS)
def test_a_part_of_another_schema_is_named_before_any_work(folder, model, write, words, door):
    write(folder / "part-2.parquet")
    if words == ["new"] and door is DOORS["scan"]:
        assert sum(map(len, door(folder, model))) == 4 * ROWS  # it reads columns with a role
        return
    with pytest.raises((InputError, ColumnNotFound), match=r"part-2\.parquet") as refused:
        door(folder, model)
    assert all(word in str(refused.value) for word in words)
    assert not (folder.parent / "out").exists()


def test_another_order_and_kinds_that_go_together_are_read(folder, model):
    change(folder / "part-1.parquet", "mail", part(1)["mail"].dictionary_encode())
    change(folder / "part-2.parquet", "price", [list(range(ROWS))])
    reordered = part(3).select(["row", "price", "mail", "minutes"])
    pq.write_table(reordered, folder / "part-3.parquet")
    (folder / "part-4.parquet.tmp").write_bytes((folder / "part-0.parquet").read_bytes()[:500])
    pq.write_table(part(0).slice(0, 0), folder / "part-5.parquet")
    logs = ca.Logs.read(folder, ROLES)
    assert logs.data["row"].to_pylist() == list(range(4 * ROWS))
    assert logs.completions == [text for i in range(4) for text in part(i)["mail"].to_pylist()]
    batches = scan_logs(folder, ROLES).batches()
    assert [text for batch in batches for text in batch.completions] == logs.completions
    scored = score_logs(model, folder, folder.parent / "out", completion="mail")
    assert (scored.rows, scored.parts) == (4 * ROWS, 5)


@pytest.mark.parametrize("number", [0, 2])
def test_a_part_without_a_value_in_a_column_is_passed_over_or_named(folder, number):
    change(folder / f"part-{number}.parquet", "price", pa.nulls(ROWS))
    left = ca.Logs.read(folder, ROLES, drop_incomplete=True)
    scan = scan_logs(folder, ROLES, drop_incomplete=True)
    assert len(scan) == len(left) == 3 * ROWS
    assert np.concatenate([b.outcome for b in scan.batches()]).tolist() == left.outcome.tolist()
    for read in (ca.Logs.read, lambda *given: list(scan_logs(*given).batches())):
        with pytest.raises(InputError, match=r"'price'.*missing"):
            read(folder, ROLES)
    for other in range(4):
        change(folder / f"part-{other}.parquet", "price", pa.nulls(ROWS))
    with pytest.raises(InputError, match="0 of 1200 rows have a value in each"):
        scan_logs(folder, ROLES, drop_incomplete=True)


def result(folder):
    return [pq.read_table(path) for path in sorted(folder.glob("part-*.parquet"))]


def test_scores_go_on_where_a_damaged_part_was_mended(folder, model, tmp_path, monkeypatch):
    sound = (folder / "part-2.parquet").read_bytes()
    flip(folder / "part-2.parquet")
    out = tmp_path / "out"
    with pytest.raises(UnreadableFile, match=r"part-2\.parquet"):
        score_logs(model, folder, out, completion="mail")
    assert len(result(out)) == 2
    (folder / "part-2.parquet").write_bytes(sound)
    scored, score = [], scoring._score_part
    monkeypatch.setattr(scoring, "_score_part", lambda *a: (scored.append(1), score(*a))[1])
    assert score_logs(model, folder, out, completion="mail").rows == 4 * ROWS
    assert len(scored) == 2
    score_logs(model, folder, tmp_path / "whole", completion="mail")
    assert result(out) == result(tmp_path / "whole")
    # What was scored must not change behind the scores.
    pq.write_table(part(9), folder / "part-2.parquet")
    with pytest.raises(ArtifactError, match="of other logs"):
        score_logs(model, folder, out, completion="mail")


def test_a_disk_that_fills_up_loses_and_doubles_nothing(folder, model, tmp_path, monkeypatch):
    out, write = tmp_path / "out", pq.write_table
    room = [2]

    def fill(table, target, **how):
        if not room[0]:
            target.write_bytes(b"PAR1half")
            raise OSError(28, "No space left on device")
        room[0] -= 1
        write(table, target, **how)

    monkeypatch.setattr(scoring.pq, "write_table", fill)
    with pytest.raises(ArtifactError, match=r"part-00002-000000\.parquet.*No space left"):
        score_logs(model, folder, out, completion="mail")
    monkeypatch.undo()
    assert sorted(path.name for path in out.iterdir()) == [
        ".lock",
        "_plan.json",
        "part-00000-000000.parquet",
        "part-00001-000000.parquet",
    ]
    assert score_logs(model, folder, out, completion="mail").rows == 4 * ROWS
    score_logs(model, folder, tmp_path / "whole", completion="mail")
    assert result(out) == result(tmp_path / "whole")


def test_damage_in_what_was_scored_is_seen(folder, model, tmp_path):
    score_logs(model, folder, tmp_path / "out", completion="mail")
    target = tmp_path / "out" / "part-00001-000000.parquet"
    content = bytearray(target.read_bytes())
    rewards = pq.ParquetFile(target).metadata.row_group(0).column(4)
    start = rewards.dictionary_page_offset or rewards.data_page_offset
    content[start + rewards.total_compressed_size - 5] ^= 1
    target.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"part-00001-000000\.parquet.*Delete it"):
        score_logs(model, folder, tmp_path / "out", completion="mail")
