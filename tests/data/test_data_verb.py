"""``causalign data``: lists, fetches, and says in a line what is wrong."""

import pytest

from causalign import data
from causalign.cli import main
from tests.data.imitated_publisher import TOP, Answer


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(a) for a in ("data", *arguments)])
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return stopped.value.code, " ".join(said.out.split()), said.err


@pytest.fixture
def known(upworthy, monkeypatch):
    monkeypatch.setattr("causalign.data.originals.SOURCES", {"upworthy": upworthy})


def test_list_names_them_all(capsys):
    code, said, _ = call(capsys, "list")
    assert code == 0
    for source in data.SOURCES.values():
        assert source.name in said
        assert source.page in said


def test_get_tells_sizes_licence_and_place(publisher, known, tmp_path, capsys):
    code, said, _ = call(capsys, "get", "upworthy", "--out", tmp_path / "here")
    assert code == 0
    assert "exploratory-packages-03.csv: 43 bytes from A publisher" in said
    assert "2 files in" in said
    assert "2 downloaded" in said
    assert "Licence: CC BY 4.0. Cite: Someone (2021)." in said

    code, said, _ = call(capsys, "get", "upworthy", "--out", tmp_path / "here")
    assert code == 0
    assert "verified; 0 downloaded" in said


def test_get_uses_a_folder_of_its_own(publisher, known, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call(capsys, "get", "upworthy")[0] == 0
    assert (tmp_path / "originals" / "upworthy" / "SOURCE.json").exists()


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("upwrothy", "did you mean 'upworthy'?"), ("mind", "https://msnews.github.io/")],
)
def test_what_cannot_be_fetched(name, wanted, capsys, tmp_path):
    code, _, said = call(capsys, "get", name, "--out", tmp_path / "here")
    assert code == 2
    assert wanted in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "here").exists()


def test_a_refusal_is_one_line(publisher, known, tmp_path, capsys):
    publisher.answers[TOP] = Answer(b"", 503)
    code, _, said = call(capsys, "get", "upworthy", "--out", tmp_path)
    assert code == 2
    assert "answered 503 Service Unavailable" in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["--help"], ["get", "--help"], ["list", "--help"]])
def test_help_has_an_example(arguments, capsys):
    code, said, _ = call(capsys, *arguments)
    assert code == 0
    assert "causalign data" in said.split("Example")[1]
