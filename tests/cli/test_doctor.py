import pytest

from causalign.cli import main
from causalign.cli.output import console

LOGS = """text,y,price,place,shown
"a, b",yes,"1,234",007,2024-01-01
b,no,999,7,2024-01-02
c,yes,"1,234,567",08,2024-01-03
d,no,-,08,
"""


def told(tmp_path, capsys, monkeypatch, *options):
    monkeypatch.setattr(console, "width", 200)
    path = tmp_path / "logs.csv"
    path.write_text(LOGS, encoding="utf-8")
    with pytest.raises(SystemExit) as stopped:
        main(["doctor", "--logs", str(path), *options])
    said = capsys.readouterr()
    return stopped.value.code, said.out, said.err


def test_doctor_says_how_each_column_is_read(tmp_path, capsys, monkeypatch):
    roles = [
        "--completion",
        "text",
        "--outcome",
        "y",
        "--confounder",
        "price",
        "--cluster",
        "place",
    ]
    code, said, _ = told(tmp_path, capsys, monkeypatch, *roles)
    assert code == 0, said
    lines = {line.split()[0]: " ".join(line.split()) for line in said.splitlines() if line.strip()}
    assert lines["text"].startswith("text completion text 'a, b', 'b', 'c' 0 0")
    assert lines["y"].startswith("y outcome numeric 'yes', 'no' 0 0")
    assert lines["y:"] == "y: no and yes as 0 and 1"
    assert "'1,234' as 1234 (comma between thousands)" in lines["price:"]
    assert lines["price"].endswith("0 1: row 3 holds '-'")
    assert lines["place"].startswith("place cluster categorical '007', '7', '08' 0 0")
    assert lines["shown"].startswith("shown - datetime")


def test_doctor_exits_with_1_for_a_column_that_its_role_cannot_use(tmp_path, capsys, monkeypatch):
    code, said, _ = told(tmp_path, capsys, monkeypatch, "--outcome", "text")
    assert code == 1
    assert "refused" in said
    assert "is not numeric but text" in said
    code, _, said = told(tmp_path, capsys, monkeypatch, "--outcome", "prise")
    assert code == 2
    assert "did you mean 'price'" in said
