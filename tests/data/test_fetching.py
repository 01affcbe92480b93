"""Files come whole from the publisher that lists them, or not at all."""

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path
from unittest.mock import Mock

import pytest

from causalign.data import SOURCES, fetch, find_source, publishers
from causalign.errors import ArtifactError, DownloadError, ExtraNotInstalled, SettingsError
from tests.data.imitated_publisher import (
    CONFIRMATORY,
    EXPLORATORY,
    TOP,
    Answer,
    osf_file,
    source_of,
)

ROOT = Path(__file__).parents[2]
FIRST, SECOND = "datasets--exploratory-packages-03.csv", "datasets--confirmatory-packages-03.csv"


def content(folder: Path) -> dict[str, bytes]:
    hidden = {".lock", "SOURCE.json"}
    return {
        p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name not in hidden
    }


def one_file(publisher, body=EXPLORATORY, **changed):
    """Return a source on OSF with one file, whose listing is changed as told."""
    entry = osf_file(publisher, "exploratory-packages.csv", body, **changed)
    publisher.json(TOP, {"data": [entry], "links": {}})
    return source_of(publishers.OSF("jd64p"), "*.csv")


def refused(made, folder, wanted, error=DownloadError):
    with pytest.raises(error) as raised:
        fetch(made, folder)
    assert wanted in str(raised.value)
    assert "\n" not in str(raised.value)
    assert content(folder) == {}
    assert not (folder / "SOURCE.json").exists()
    return str(raised.value)


def test_osf_folders_and_pages(publisher, upworthy, tmp_path):
    told, bars = [], {}

    def bar(file):
        bars[file.name] = Mock()
        return bars[file.name]

    found = fetch(upworthy, tmp_path, announce=told.extend, bar=bar)
    assert content(tmp_path) == {FIRST: EXPLORATORY, SECOND: CONFIRMATORY}
    assert found.files == found.downloaded == (FIRST, SECOND)
    assert [f.size for f in told] == [len(EXPLORATORY), len(CONFIRMATORY)]
    assert bars[FIRST].update.call_args.args == (len(EXPLORATORY),)
    assert bars[SECOND].update.call_args.args == (len(CONFIRMATORY),)

    record = json.loads((tmp_path / "SOURCE.json").read_text())
    assert (record["source"], record["licence"]) == ("upworthy", "CC BY 4.0")
    assert record["listing"] == publisher.address + TOP
    assert len(record["retrieved"]) == len("2021-08-01")
    assert {f["name"]: f["sha256"] for f in record["files"]} == {
        FIRST: hashlib.sha256(EXPLORATORY).hexdigest(),
        SECOND: hashlib.sha256(CONFIRMATORY).hexdigest(),
    }


def test_dataverse_gives_the_deposited_file(publisher, tmp_path):
    table, plain = b'"resp","text"\n50,"a"\n', b"read me"
    md5 = hashlib.md5(table).hexdigest()
    converted = {"id": 7, "filesize": 999, "originalFileSize": len(table), "md5": md5,
                 "originalFileFormat": "text/csv", "originalFileName": "HKData.csv",
                 "checksum": {"type": "MD5", "value": md5.upper()}}  # fmt: skip
    other = {"id": 8, "filesize": len(plain),
             "checksum": {"type": "SHA-1", "value": hashlib.sha1(plain).hexdigest()}}  # fmt: skip
    older = {"id": 9, "filesize": 3, "md5": hashlib.md5(b"old").hexdigest()}
    publisher.json(
        "/api/datasets/:persistentId/versions/:latest-published/files?persistentId=doi:10.7910/A/B",
        {"data": [{"label": "HKData.tab", "directoryLabel": "data", "dataFile": converted},
                  {"label": "README.txt", "dataFile": other},
                  {"label": "old.txt", "dataFile": older}]},
    )  # fmt: skip
    publisher.answers |= {
        "/api/access/datafile/7": Answer(b"resp\ttext\n50\ta\n"),
        "/api/access/datafile/7?format=original": Answer(table),
        "/api/access/datafile/8": Answer(plain),
        "/api/access/datafile/9": Answer(b"old"),
    }
    fetch(source_of(publishers.Dataverse("doi:10.7910/A/B"), "*"), tmp_path)
    assert content(tmp_path) == {
        "data--HKData.csv": table,
        "README.txt": plain,
        "old.txt": b"old",
    }


def test_hugging_face_at_the_commit_that_is_listed(publisher, tmp_path):
    large = b"\x1f\x8b compressed"
    named = [
        {"rfilename": "harmless-base/train.jsonl.gz", "size": len(large), "blobId": "0" * 40,
         "lfs": {"sha256": hashlib.sha256(large).hexdigest(), "size": len(large)}},
        {"rfilename": "README.md", "size": 3, "blobId": "1" * 40},
    ]  # fmt: skip
    publisher.json("/api/datasets/an/hh?blobs=true", {"sha": "abc", "siblings": named})
    place = "/datasets/an/hh/resolve/abc/"
    elsewhere = Answer(b"", 302, {"Location": f"{publisher.address}/storage?signed=1"})
    publisher.answers[f"{place}harmless-base/train.jsonl.gz"] = elsewhere
    publisher.answers["/storage?signed=1"] = Answer(large)
    fetch(source_of(publishers.HuggingFace("an/hh"), "harmless-*/*.gz"), tmp_path)
    assert content(tmp_path) == {"harmless-base--train.jsonl.gz": large}
    with pytest.raises(DownloadError, match=r"states no checksum for 'README.md'"):
        fetch(source_of(publishers.HuggingFace("an/hh"), "*.md"), tmp_path / "other")


def test_the_hubs_own_client_reads_the_imitated_listing_alike(publisher):
    client = pytest.importorskip("huggingface_hub.hf_api")
    large = {"sha256": hashlib.sha256(b"a").hexdigest(), "size": 1, "pointerSize": 120}
    named = [{"rfilename": "a.gz", "size": 1, "blobId": "0" * 40, "lfs": large},
             {"rfilename": "b.txt", "size": 1, "blobId": "1" * 40}]  # fmt: skip
    publisher.json("/api/datasets/an/hh?blobs=true", {"sha": "abc", "siblings": named})
    theirs = client.DatasetInfo(id="an/hh", sha="abc", siblings=named).siblings
    ours = list(publishers.HuggingFace("an/hh").files())
    assert [(f.path, f.size) for f in ours] == [(s.rfilename, s.size) for s in theirs]
    assert [f.checksum for f in ours] == [f"sha256:{theirs[0].lfs.sha256}", None]


@pytest.mark.parametrize("algorithm", ["sha1", "md5"])
def test_internet_archive(publisher, tmp_path, algorithm):
    body = b"7z\xbc\xaf'\x1c"
    file = {"name": "academia.7z", "size": str(len(body)),
            algorithm: hashlib.new(algorithm, body).hexdigest()}  # fmt: skip
    publisher.json("/metadata/stackexchange", {"files": [{"name": "own_files.xml"}, file]})
    publisher.answers["/download/stackexchange/academia.7z"] = Answer(body)
    fetch(source_of(publishers.InternetArchive("stackexchange"), "academia.7z"), tmp_path)
    assert content(tmp_path) == {"academia.7z": body}


def test_a_second_time_asks_for_nothing(publisher, upworthy, tmp_path):
    fetch(upworthy, tmp_path)
    publisher.seen.clear()
    found = fetch(upworthy, tmp_path)
    assert found.files == (FIRST, SECOND)
    assert found.downloaded == ()
    assert publisher.seen == []

    (tmp_path / SECOND).unlink()
    assert fetch(upworthy, tmp_path).downloaded == (SECOND,)
    assert content(tmp_path) == {FIRST: EXPLORATORY, SECOND: CONFIRMATORY}
    assert not [path for path in publisher.seen if "exploratory" in path]


def test_files_that_are_there_stay(publisher, upworthy, tmp_path):
    (tmp_path / FIRST).write_bytes(EXPLORATORY)
    assert fetch(upworthy, tmp_path).downloaded == (SECOND,)


def test_nothing_of_the_user_is_overwritten(publisher, upworthy, tmp_path):
    (tmp_path / SECOND).write_bytes(b"years of work")
    with pytest.raises(ArtifactError, match="is not the file that the publisher lists"):
        fetch(upworthy, tmp_path)
    assert content(tmp_path) == {SECOND: b"years of work"}


def test_a_folder_of_other_data_is_refused(publisher, upworthy, tmp_path):
    fetch(upworthy, tmp_path)
    with pytest.raises(ArtifactError, match="holds other data"):
        fetch(source_of(publishers.OSF("jd64p"), "*.csv", name="hongkong"), tmp_path)
    (tmp_path / "SOURCE.json").write_text("[1")
    with pytest.raises(ArtifactError, match="is damaged"):
        fetch(upworthy, tmp_path)


def test_wrong_checksum_names_both_sums_and_leaves_nothing(publisher, tmp_path):
    made = one_file(publisher)
    other = EXPLORATORY.replace(b"12", b"13")
    publisher.answers["/download/exploratory-packages.csv"].body = other
    told = refused(made, tmp_path, hashlib.sha256(other).hexdigest())
    assert hashlib.sha256(EXPLORATORY).hexdigest() in told
    assert "https://example.org/page" in told


def test_truncated_file(publisher, tmp_path):
    made = one_file(publisher)
    answer = publisher.answers["/download/exploratory-packages.csv"]
    answer.body, answer.headers = EXPLORATORY[:9], {"Content-Length": str(len(EXPLORATORY))}
    refused(made, tmp_path, "broke off")


@pytest.mark.parametrize(
    ("path", "answer", "wanted"),
    [
        ("/download/exploratory-packages.csv", Answer(b"", 404), "answered 404"),
        ("/download/exploratory-packages.csv", Answer(b"", 403), "answered 403"),
        (TOP, Answer(b"", 503), "answered 503"),
        (TOP, Answer(b"<html>Sign in</html>"), "is not JSON"),
        (TOP, Answer(b"[" * 100_000), "is not of the form that was expected (RecursionError"),
        (TOP, Answer(b'{"errors": []}'), "is not of the form that was expected (KeyError"),
        (TOP, Answer(b'["a"]'), "is not of the form that was expected (TypeError"),
        (TOP, Answer(b'{"data": [], "links": {}}'), "names no file '*.csv' among 0"),
        (TOP, Answer(b'{"data": [], "links": {"next": "https://a.b/"}}'), "goes on elsewhere"),
    ],
)
def test_what_a_publisher_may_answer(publisher, tmp_path, path, answer, wanted):
    made = one_file(publisher)
    publisher.answers[path] = answer
    refused(made, tmp_path, wanted)


def test_a_listing_without_end(publisher, tmp_path):
    publisher.json(TOP, {"data": [], "links": {"next": publisher.address + TOP}})
    refused(source_of(publishers.OSF("jd64p"), "*"), tmp_path, "more than 200 pages")


@pytest.mark.parametrize("sha256", [None, "", "0", "z" * 64])
def test_without_a_checksum_nothing_is_fetched(publisher, tmp_path, sha256):
    made = one_file(publisher, extra={"hashes": {"sha256": sha256}})
    refused(made, tmp_path, "states no checksum for 'exploratory-packages.csv'")
    assert publisher.seen == [TOP]


@pytest.mark.parametrize(
    "name",
    ["../x.csv", "a/../x.csv", "/etc/x.csv", "a\\x.csv", ".x.csv", "a/.x.csv", "C:x.csv", "x\n.csv",
     "..", "x.csv.", "a//x.csv", "SOURCE.json", "source.JSON", "x" * 300, ""],
)  # fmt: skip
def test_a_listed_name_cannot_leave_the_folder(publisher, tmp_path, name):
    folder = tmp_path / "deep" / "here"
    entry = osf_file(publisher, "x.csv", EXPLORATORY) | {}
    entry["attributes"]["name"] = name
    publisher.json(TOP, {"data": [entry], "links": {}})
    refused(source_of(publishers.OSF("jd64p"), "*"), folder, "unsafe name")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "address", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x", "http://[", "x y", None]
)
def test_only_web_addresses_are_opened(publisher, tmp_path, address):
    entry = osf_file(publisher, "x.csv", EXPLORATORY)
    entry["links"]["download"] = address
    publisher.json(TOP, {"data": [entry], "links": {}})
    refused(source_of(publishers.OSF("jd64p"), "*"), tmp_path, "")


def test_a_redirect_stays_on_the_web(publisher, tmp_path):
    made = one_file(publisher)
    away = Answer(b"", 302, {"Location": "ftp://127.0.0.1/x"})
    publisher.answers["/download/exploratory-packages.csv"] = away
    refused(made, tmp_path, "No connection adapters were found for 'ftp://127.0.0.1/x'")


def test_no_network(publisher, tmp_path):
    made = one_file(publisher)
    publisher.close()
    refused(made, tmp_path / "new", "Cannot reach 127.0.0.1")
    assert not (tmp_path / "new").exists()


def test_a_silent_server(publisher, tmp_path, monkeypatch):
    monkeypatch.setattr("causalign.data.fetching.SECONDS", 0.2)
    made = one_file(publisher)
    publisher.answers["/download/exploratory-packages.csv"].stops_after = 5
    refused(made, tmp_path, "was silent")


def test_too_small_a_disk_is_told_before(publisher, tmp_path, monkeypatch):
    made = one_file(publisher)
    left = namedtuple("Usage", "free")(3)
    monkeypatch.setattr("shutil.disk_usage", lambda _: left)
    refused(made, tmp_path, "has 3 left", ArtifactError)
    assert publisher.seen == [TOP]


def test_disk_that_fills_on_the_way(publisher, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pooch.core.hash_matches", full)
    refused(one_file(publisher), tmp_path, "No space left on device", ArtifactError)


KILLED = """
import sys
from pathlib import Path
from causalign.data import Source, fetch, publishers
publishers.OSF.base = sys.argv[1]
fetch(Source("upworthy", "", "", "", "", "", (), publishers.OSF("jd64p"), ("*.csv",)),
      Path(sys.argv[2]))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
def test_killed_and_repeated(publisher, tmp_path):
    body = os.urandom(1 << 19)
    made = one_file(publisher, body)
    answer = publisher.answers["/download/exploratory-packages.csv"]
    answer.stops_after = 5 << 16
    child = subprocess.Popen([sys.executable, "-c", KILLED, publisher.address, str(tmp_path)])
    deadline = time.monotonic() + 60
    while not any(content(tmp_path).values()) and time.monotonic() < deadline:
        time.sleep(0.01)
    child.kill()
    child.wait()
    (half,) = tmp_path.glob(".*.partial-*/*")
    assert 0 < half.stat().st_size < len(body)

    answer.stops_after = None
    assert fetch(made, tmp_path).downloaded == ("exploratory-packages.csv",)
    assert content(tmp_path) == {"exploratory-packages.csv": body}


def test_without_the_extra(publisher, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    refused(one_file(publisher), tmp_path, "pip install 'causalign[data]'", ExtraNotInstalled)


def test_the_table_of_sources_is_whole():
    for name, made in SOURCES.items():
        assert made.name == name
        assert made.page.startswith("https://")
        assert all((made.title, made.publisher, made.licence, made.citation, made.read_by))
        assert (made.deposit is None) == bool(made.by_hand) == (not made.files)
        for reader in made.read_by:
            assert (ROOT / reader.split()[0]).exists(), reader


def test_unknown_and_by_hand():
    with pytest.raises(SettingsError, match="did you mean 'upworthy'"):
        find_source("upwrothy")
    with pytest.raises(DownloadError, match=r"wants the licence accepted .* https://msnews"):
        fetch(find_source("mind"), Path("nowhere"))
    assert not Path("nowhere").exists()
