import csv
import gzip
import io
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causalign import Logs, Roles
from causalign.errors import UnreadableFile
from causalign.logs import read_table
from causalign.logs.reading import read_with_notes

ROLES = Roles(completion="text", outcome="y", confounders="c")
SIZE = 30


def place(tmp_path, content, name="log.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def rows(delimiter=",", text="mail {i}", y="{i}"):
    cells = (text, y, "{c}")
    lines = ["text" + delimiter + "y" + delimiter + "c"]
    lines += [delimiter.join(cells).format(i=i, c=i % 2) for i in range(SIZE)]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", ["log.csv", "log.tsv"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("text", ["mail {i}", "a, b; c | d {i}", 'say ""hi {i}""\r\nor not; '])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_delimiters_are_found_whatever_the_name_says(name, delimiter, text, ends, tmp_path):
    quoted = f'"{text}"' if text != "mail {i}" else text
    content = rows(delimiter, quoted).replace("\r\n", "\v").replace("\n", ends)
    logs = Logs.read(place(tmp_path, content.replace("\v", "\r\n"), name), ROLES)
    assert logs.completions == [text.replace('""', '"').format(i=i) for i in range(SIZE)]
    assert logs.outcome.tolist() == list(range(SIZE))
    usual = delimiter == {"log.csv": ",", "log.tsv": "\t"}[name]
    told = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}[delimiter]
    assert (f"{told} between the columns" in logs.history) != usual


def test_unquoted_commas_do_not_hide_other_delimiters(tmp_path):
    for delimiter in ";\t|":
        content = rows(delimiter, "hello, friend {i}, buy: now", "{c},5")
        logs = Logs.read(place(tmp_path, content), ROLES)
        assert logs.completions[3] == "hello, friend 3, buy: now"
        assert set(logs.outcome) == {0.5, 1.5}


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize(("told", "delimiter"), [("sep=;", ";"), ("sep=,", ","), ('"sep=|"', "|")])
def test_a_first_line_may_tell_the_delimiter(mark, told, delimiter, tmp_path):
    table, notes = read_with_notes(place(tmp_path, f"{mark}{told}\r\n{rows(delimiter)}"))
    assert table.column_names == ["text", "y", "c"]
    assert table.num_rows == SIZE
    assert bool(notes) == (delimiter != ",")


def test_lines_may_end_as_on_old_macs(tmp_path):
    assert Logs.read(place(tmp_path, rows().replace("\n", "\r")), ROLES).outcome[-1] == SIZE - 1


@pytest.mark.parametrize("delimiter", ["\t", "|"])
@pytest.mark.parametrize(
    ("first", "second"), [('"Best deal', '10" pan'), ('"Best deal', 'a "good" one'), ('"', "x"),
                          ("a", '"a" or "b"'), ('"Best deal', '"of all')]
)  # fmt: skip
def test_a_text_that_begins_with_a_quote_swallows_no_rows(delimiter, first, second, tmp_path):
    lines = rows(delimiter).split("\n")
    lines[5] = lines[5].replace("mail 4", first)
    lines[9] = lines[9].replace("mail 8", second)
    logs = Logs.read(place(tmp_path, "\n".join(lines), "log.tsv"), ROLES)
    assert len(logs) == SIZE
    assert (logs.completions[4], logs.completions[8]) == (first, second)
    assert "quotes read as part of the texts" in logs.history


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ('"Best deal', "x", "text behind a closing quote in the row that begins in line 6"),
        ('"Best deal', 'great"', "opens a quote in line 6 that a later line closes"),
        ('"Best" deal', "x", "text behind a closing quote in the row that begins in line 6"),
    ],
)
def test_quotes_that_may_mean_two_things_are_refused(first, second, message, tmp_path):
    lines = rows(text='"mail, {i}"' if "Best deal" not in first or second == "x" else "mail {i}")
    lines = lines.split("\n")
    lines[5], lines[9] = f"{first},1,0", f"{second},2,0"
    with pytest.raises(UnreadableFile, match=message):
        read_table(place(tmp_path, "\n".join(lines)))


def test_texts_of_several_lines_are_texts(tmp_path):
    text = "Dear Anna,\nbuy, {i}"
    for body in (text, "Dear Anna,\r\nbuy {i}", 'a "" b\n\n\nc'):
        content = "text,y\n" + "".join(f'"{body.format(i=i)}",{i}\n' for i in range(9))
        table = read_table(place(tmp_path, content))
        assert table["text"][8].as_py() == body.format(i=8).replace('""', '"')
        assert table.num_rows == 9
    one = read_table(place(tmp_path, 'text\n"a\nb"\n"c"\nd\n'))
    assert one["text"].to_pylist() == ["a\nb", "c", "d"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_backslashes_before_quotes(delimiter, tmp_path):
    text = r'"say \"hi {i}\", C:\new \\ end\\"'
    logs = Logs.read(place(tmp_path, rows(delimiter, text)), ROLES)
    assert logs.completions[0] == 'say "hi 0", C:\\new \\ end\\'
    assert "a backslash before signs within texts" in logs.history


def test_backslashes_before_quotes_that_nothing_encloses(tmp_path):
    table = read_table(place(tmp_path, 'text,y\nsay \\"hi\\",1\n"a, \\"b\\"",2\nC:\\new\\\\,3\n'))
    assert table["text"].to_pylist() == ['say "hi"', 'a, "b"', "C:\\new\\"]


def test_backslashes_before_tabs_and_line_ends_as_mysql_writes_them(tmp_path):
    content = "text\ty\nC:\\\\new\t1\na\\\tb\t2\none\\\ntwo\t3\n\\N\t4\n" + "x\t5\n" * 20
    table, notes = read_with_notes(place(tmp_path, content, "log.tsv"))
    assert table["text"].to_pylist()[:5] == ["C:\\new", "a\tb", "one\ntwo", "\\N", "x"]
    assert notes == ("a backslash before signs within texts",)


def test_quotes_within_cells_that_none_enclose_are_quotes(tmp_path):
    content = 'text,y\n5" disk,1\n"a, b",2\n"say ""hi""",3\nplain,4\n'
    table = read_table(place(tmp_path, content))
    assert table["text"].to_pylist() == ['5" disk', "a, b", 'say "hi"', "plain"]


def test_titles_and_comments_above_the_header(tmp_path):
    for above in ("Report of March\n\n", "# exported, in 2024\n# by shop\n", "\n\n", "Report\n"):
        table, notes = read_with_notes(place(tmp_path, above + rows()))
        assert table.column_names == ["text", "y", "c"]
        assert table.num_rows == SIZE
        assert f"{above.count(chr(10))} lines above the header left out" in notes
    table, notes = read_with_notes(place(tmp_path, "#id" + rows()[4:]))
    assert (table.column_names[0], notes) == ("#id", ())


def test_a_delimiter_at_the_end_of_each_row(tmp_path):
    for end in (",\n", ",\r\n"):
        body = rows().replace("\n", end).replace(f"c{end}", f"c{end[1:]}", 1)
        table, notes = read_with_notes(place(tmp_path, body))
        assert table.column_names == ["text", "y", "c"]
        assert table["text"][0].as_py() == "mail 0"
        assert notes == ("a last column without a name left out, which is empty",)
    assert read_table(place(tmp_path, rows().replace("\n", ",\n"))).column_names[3] == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text,y,c\na,1,0\nb,2,0,9\nc,3,1\n" + "d,1,0\n" * 9, "has 4 cells in line 3 but 3 names"),
        ("text,y,c\na,1,0\nb,2\nc,3,1\n" + "d,1,0\n" * 9, "has 2 cells in line 3 but 3 names"),
        ('text,y\n"a\nb",1\nc,d,2\n' + "e,1\n" * 9, "has 3 cells in line 4 but 2 names"),
        ("text,y\nx,a,1\ny,b,2\n", "has 3 cells in line 2 but 2 names"),
        ("text\nhello, you\nhello, me\n", "has 2 cells in line 2 but 1 names"),
        (
            "text,y\n" + "a,1\n" * 9 + '"cut sho',
            "opens a quote in the row that begins in line 11 that is never closed",
        ),
        ("text,y\na,1\nb\0,2\n", "bytes of zero .first in line 3"),
        ("text,y\na,1\ngr\xf6\xdfe,2\n".encode("latin-1"), "not UTF-8 text .line 3"),
        ("gr\xf6\xdfe,y\na,1\n".encode("latin-1"), "not UTF-8 text .line 1"),
        ("text,y\na,1\n".encode("utf-16"), "UTF-16"),
        ("text,y\na,1\n".encode("utf-16-le"), "UTF-16"),
        ("text,y\na,1\n".encode("utf-32"), "UTF-16"),
        (",,\n1,2,3\n", "no header"),
        ("\n\n", "no header"),
        (b"PK\x03\x04rest", "Excel"),
        (b"PAR1rest", "Name it .parquet"),
        (b"\n <!DOCTYPE html><html>", "HTML"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (gzip.compress(b"text,y\na,1\n", mtime=0), "Name it .gz"),
    ],
)
def test_damage_is_named_by_its_line(content, message, tmp_path):
    with pytest.raises(UnreadableFile, match=message) as caught:
        read_table(place(tmp_path, content))
    assert len(str(caught.value).splitlines()) == 1


def test_a_packed_file_that_is_cut_short(tmp_path):
    packed = gzip.compress(rows(text=os.urandom(20).hex() + "{i}").encode() * 50)
    with pytest.raises(UnreadableFile, match="cut short"):
        read_table(place(tmp_path, packed[: len(packed) // 2], "log.csv.gz"))


def test_names_of_columns_twice_or_blank_harm_nobody_without_a_role(tmp_path):
    table = read_table(place(tmp_path, ",text,y,y\n1,a,2,3\n2,b,4,5\n"))
    assert table.column_names == ["", "text", "y", "y"]
    assert table.to_pandas().iloc[1].tolist() == ["2", "b", "4", "5"]


def test_only_a_header_is_no_row(tmp_path):
    for content in ("text,y", "text,y\n", "text,y\n\n\n"):
        assert read_table(place(tmp_path, content)).num_rows == 0


def test_a_cell_larger_than_what_python_reads_and_a_delimiter_beyond_the_sample(tmp_path):
    content = "text;y\n" + "".join(f'"{"x, " * 100_000}";{i},5\n' for i in range(3))
    table = read_table(place(tmp_path, content))
    assert table["y"].to_pylist() == ["0,5", "1,5", "2,5"]
    assert len(table["text"][2].as_py()) == 300_000


def test_a_row_beyond_the_sample_is_proved_as_well(tmp_path):
    content = rows() + "mail,1,0\n" * 100_000 + "hello, you,1,0\n"
    with pytest.raises(UnreadableFile, match="4 cells in line 100032"):
        read_table(place(tmp_path, content))


def test_ten_megabytes_take_a_second_or_two(tmp_path):
    content = "text;y\n" + '"say ""hi"", and more words; go on";2,5\n' * 250_000
    path = place(tmp_path, content)
    assert read_table(path).num_rows == 250_000


cells = st.text(alphabet='a"\\,;\t|\n\r #=', max_size=6).filter(lambda t: t.strip() == t)


@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=6), st.sampled_from(",;\t|"))
@settings(max_examples=120, deadline=None)
def test_what_python_writes_is_read_or_refused_never_changed(tmp_path_factory, pairs, delimiter):
    """A reader may say that it does not understand; it may not hand over other cells."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerows([("text", "y", "n"), *((a, b, "1") for a, b in pairs)])
    path = place(tmp_path_factory.getbasetemp(), stream.getvalue())
    table = read_table(path)
    found = [[cell or "" for cell in row.values()] for row in table.to_pylist()]
    assert found == [[a, b, "1"] for a, b in pairs]


def test_numbers_of_quoted_cells_are_as_of_unquoted_ones(tmp_path):
    quoted = rows(text='"mail {i}"', y='"{i}"')
    one, other = (Logs.read(place(tmp_path, text), ROLES) for text in (quoted, rows()))
    np.testing.assert_array_equal(one.outcome, other.outcome)
    assert one.completions == other.completions
