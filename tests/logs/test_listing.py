import gzip
import os
import socket

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

from causalign import Logs, Roles
from causalign.errors import InputError, UnreadableFile
from causalign.logs import listing, read_table

ROLES = Roles(completion="text", outcome="y")
ROWS = "text,y\na,1\nb,2\n"


def write(path, content=ROWS):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def write_part(path, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"text": ["a", "b"], "y": [1.0, 2.0], **columns}), path)


@pytest.mark.parametrize(
    "name",
    [
        "deep/er/.ipynb_checkpoints/log-checkpoint.csv",
        "deep/_temporary/0/part-0.csv",
        ".Trash/log.csv",
        "._log.csv",
        ".~lock.log.csv",
        "_log.csv",
        "log.csv.tmp",
        "log.csv~",
        ".log.csv.crc",
    ],
)
def test_hidden_and_temporary_files_of_a_folder_are_passed_over(name, tmp_path):
    write(tmp_path / "log.csv")
    write(tmp_path / name)
    assert read_table(tmp_path).num_rows == 2
    assert read_table(f"{tmp_path}/**/*").num_rows == 2


def test_a_name_that_was_given_is_read_hidden_or_not(tmp_path):
    write(tmp_path / "_temporary" / ".hidden" / "_log.csv")
    assert read_table(tmp_path / "_temporary" / ".hidden" / "_log.csv").num_rows == 2
    assert read_table(tmp_path / "_temporary" / ".hidden" / "_*.csv").num_rows == 2
    write(tmp_path / "_temporary" / ".hidden" / "log.csv")
    assert read_table(tmp_path / "_temporary" / ".hidden").num_rows == 2


def test_only_hidden_files_are_no_log(tmp_path):
    write(tmp_path / "_SUCCESS")
    write(tmp_path / "_log.csv")
    with pytest.raises(UnreadableFile, match="holds no csv"):
        read_table(tmp_path)


def test_one_log_in_two_formats_is_not_read_twice(tmp_path):
    write(tmp_path / "log.csv")
    write_part(tmp_path / "more" / "log.parquet")
    with pytest.raises(InputError, match=r"several formats \(csv and parquet\)"):
        read_table(tmp_path)
    with pytest.raises(InputError, match="several formats"):
        read_table(tmp_path / "**" / "log.*")
    assert read_table(tmp_path / "*.csv").num_rows == 2


def test_one_log_packed_and_unpacked_is_not_read_twice(tmp_path):
    write(tmp_path / "log.csv")
    (tmp_path / "log.csv.gz").write_bytes(gzip.compress(ROWS.encode()))
    with pytest.raises(InputError, match="same rows twice"):
        read_table(tmp_path)


@pytest.mark.parametrize("door", ["folder", "glob of folders", "glob of files"])
def test_names_of_folders_are_columns(door, tmp_path):
    for week in (1, 2):
        for shop in ("K%C3%B6ln%2FS%C3%BCd", listing.MISSING):
            write_part(tmp_path / f"week={week}" / f"shop={shop}" / "part-0.parquet")
    path = {"folder": "", "glob of folders": "week=*", "glob of files": "**/*.parquet"}[door]
    table = read_table(tmp_path / path)
    assert table["week"].to_pylist() == ["1"] * 4 + ["2"] * 4
    # Arrow's own reading of the same folder.
    other = pads.dataset(tmp_path, partitioning="hive").to_table()
    ours, theirs = (
        sorted(zip(map(str, t["week"].to_pylist()), map(str, t["shop"].to_pylist()), strict=True))
        for t in (table, other)
    )
    assert ours == theirs
    assert set(table["shop"].to_pylist()) == {"Köln/Süd", None}


def test_names_of_folders_are_read_as_cells_of_a_file_without_types(tmp_path):
    for code, price in (("01", "2.5"), ("7", "3"), ("30", "10")):
        write_part(tmp_path / f"code={code}" / f"price={price}" / "part-0.parquet")
    code, price = Logs.read(tmp_path, Roles("text", "y", confounders=("code", "price"))).confounders
    assert (code.kind, code.levels) == ("categorical", ("01", "30", "7"))
    assert (price.kind, price.values.tolist()) == ("numeric", [2.5, 2.5, 10, 10, 3, 3])


def test_a_partition_without_a_value_is_missing(tmp_path):
    for week in ("1", "2", listing.MISSING):
        write_part(tmp_path / f"week={week}" / "part-0.parquet")
    with pytest.raises(InputError, match="2 missing values"):
        Logs.read(tmp_path, Roles("text", "y", confounders="week"))
    logs = Logs.read(tmp_path, Roles("text", "y", confounders="week"), drop_incomplete=True)
    assert logs.confounders[0].values.tolist() == [1, 1, 2, 2]


def test_a_column_may_repeat_what_its_folder_says_but_not_contradict_it(tmp_path):
    write_part(tmp_path / "week=1" / "part-0.parquet", week=[1, 1])
    write_part(tmp_path / "week=2" / "part-0.parquet", week=[2, 2])
    assert read_table(tmp_path)["week"].to_pylist() == [1, 1, 2, 2]
    write_part(tmp_path / "week=2" / "part-0.parquet", week=[2, 3])
    with pytest.raises(InputError, match="differs from its folder's name, week=2"):
        read_table(tmp_path)


@pytest.mark.parametrize(
    "other", ["part-0.parquet", "day=1/part-0.parquet", "week=1/week=1/p.parquet"]
)
def test_partitions_that_do_not_agree_are_refused(other, tmp_path):
    write_part(tmp_path / "week=1" / "part-0.parquet")
    write_part(tmp_path / other)
    if other == "part-0.parquet":
        write_part(tmp_path / "x" / "part-0.parquet")
    with pytest.raises(InputError, match="Partitions must agree"):
        read_table(tmp_path)


def test_a_file_that_two_links_reach_is_read_once(tmp_path):
    write(tmp_path / "a" / "log.csv")
    (tmp_path / "b").symlink_to(tmp_path / "a", target_is_directory=True)
    (tmp_path / "copy.csv").symlink_to(tmp_path / "a" / "log.csv")
    assert read_table(tmp_path).num_rows == 2
    assert read_table(tmp_path / "b").num_rows == 2


def test_a_loop_of_links_and_a_link_to_nothing_are_errors(tmp_path):
    write(tmp_path / "a" / "log.csv")
    (tmp_path / "a" / "back").symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(UnreadableFile, match="lies in itself"):
        read_table(tmp_path)
    (tmp_path / "a" / "back").unlink()
    (tmp_path / "a" / "gone.csv").symlink_to(tmp_path / "nothing.csv")
    for path in (tmp_path, tmp_path / "a" / "gone.csv"):
        with pytest.raises(UnreadableFile, match="cannot be read"):
            read_table(path)


@pytest.mark.parametrize("door", ["file", "folder", "glob"])
def test_pipes_and_sockets_do_not_hang(door, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "log.csv")
    os.mkfifo(tmp_path / "pipe.csv")
    path = {"file": tmp_path / "pipe.csv", "folder": tmp_path, "glob": tmp_path / "*"}[door]
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.csv")  # the name of a socket must be short
        with pytest.raises(UnreadableFile, match="a pipe, a socket or a device"):
            read_table(path)


def test_a_folder_that_cannot_be_opened_is_an_error(tmp_path, monkeypatch):
    write(tmp_path / "log.csv")
    write(tmp_path / "private" / "log.csv")
    scan = os.scandir

    def refuse(path):
        if os.path.basename(path) == "private":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(listing.os, "scandir", refuse)
    with pytest.raises(UnreadableFile, match=r"private' cannot be read: .*Permission denied"):
        read_table(tmp_path)


def test_a_file_that_may_not_be_read_is_an_error(tmp_path, monkeypatch):
    write(tmp_path / "log.csv")
    monkeypatch.setattr(listing.os, "access", lambda path, mode: False)
    for path in (tmp_path, tmp_path / "log.csv"):
        with pytest.raises(UnreadableFile, match="permission denied"):
            read_table(path)


@pytest.mark.parametrize("name", ["a.json", "a.xlsx", "a.txt", "a.feather", "a.zip", "a"])
def test_other_formats_are_refused_with_what_to_do(name, tmp_path):
    write(tmp_path / name)
    for path in (tmp_path / name, tmp_path / "*"):
        with pytest.raises(UnreadableFile, match="no format that can be read") as caught:
            Logs.read(path, ROLES)
        assert "\n" not in str(caught.value)
