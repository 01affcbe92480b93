import gzip
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causalign.errors import UnreadableFile
from causalign.logs import json_lines, read_table


def read(tmp_path, content, name="log.jsonl"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path)


@pytest.mark.parametrize(
    "line",
    [
        '{"a":' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        '{"a":' + "[" * 1_000_000,
        '{"a":' + "[\n" * 100_000,
        r'{"t":"x\\","a":' + "[" * 100_000,
    ],
)
def test_depth_that_would_end_the_process_is_refused(line, tmp_path):
    with pytest.raises(UnreadableFile, match="nested deeper than 100 levels"):
        read(tmp_path, '{"a":1}\n' + line + "\n")


def test_brackets_within_strings_are_no_depth(tmp_path):
    texts = ["[" * 5_000, '"{' * 300, "\\" * 7 + "[" * 300, "{\\"]
    lines = "".join(json.dumps({"a": text}) + "\n" for text in texts)
    assert read(tmp_path, lines)["a"].to_pylist() == texts


values = st.recursive(
    st.none() | st.text(alphabet='a"\\[]{}', max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("b", max_size=2), inner),
    max_leaves=12,
)


def depth_of(value):
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


@given(values, st.integers(0, 9))
@settings(max_examples=100, deadline=None)
def test_depth_is_that_of_the_parser_wherever_a_chunk_ends(value, cut):
    text = json.dumps(value).encode()
    deepest = depth = inside = 0
    rest = b""
    for start in range(0, len(text), cut + 1):
        rest, found, depth, inside = one_chunk(rest + text[start : start + cut + 1], depth, inside)
        deepest = max(deepest, found)
    assert (deepest, depth, inside) == (depth_of(value), 0, 0)


def one_chunk(chunk, depth, inside):
    rest = chunk[-1:] if (len(chunk) - len(chunk.rstrip(b"\\"))) % 2 else b""
    return rest, *json_lines._deepest(chunk[: len(chunk) - len(rest)], depth, inside)


def test_a_chunk_that_ends_in_a_backslash(tmp_path, monkeypatch):
    monkeypatch.setattr(json_lines, "_CHUNK", 1)
    texts = ['a"[', "\\" * 3, '\\"{{', "x"]
    lines = "".join(json.dumps({"a": text}) + "\n" for text in texts)
    assert read(tmp_path, lines)["a"].to_pylist() == texts


def test_integers_that_no_number_holds_are_text_as_written(tmp_path):
    ids = ["123456789012345678901234567890", "-18446744073709551615", "7"]
    lines = "".join(f'{{"id":{i},"big":1e300,"y":{n}.5}}\n' for n, i in enumerate(ids))
    table = read(tmp_path, lines)
    assert table["id"].to_pylist() == ids
    assert table["big"].to_pylist() == [1e300] * 3
    assert table["y"].to_pylist() == [0.5, 1.5, 2.5]
    exact = read(tmp_path, '{"id":9007199254740993}\n{"id":1}\n')
    assert exact["id"].to_pylist() == [9007199254740993, 1]


def test_what_json_dumps_writes_is_read(tmp_path):
    lines = '\ufeff{"a":NaN,"b":"x"}\r\n\r\n{"a":1.5,"b":null}\r\n{"a":-Infinity}'
    table = read(tmp_path, lines)
    np.testing.assert_array_equal(table["a"].to_numpy(), [np.nan, 1.5, -np.inf])
    assert table["b"].to_pylist() == ["x", None, None]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            '{"a":1}\n{"a":2}\n\n{"a":"x"}\n',
            "line 4: the field 'a' mixes types, a number in line 1",
        ),
        ('{"a":null}\n{"a":true}\n{"a":1}\n', "line 3: the field 'a' mixes types, true or false"),
        ('{"a":{"b":1}}\n{"a":"x"}\n', "line 2: the field 'a' mixes types, an object in line 1"),
        ('{"a":1}\n{"a":1,"a":2}\n', "line 2 holds the field 'a' twice"),
        ('[{"a":1},{"a":2}]', "one JSON array. Write one object on each line"),
        ('{"a":1}\n{"a":2', "line 2 is damaged"),
        ("{'a':1}\n", "line 1 is damaged"),
        ('{"a":1},\n{"a":2},\n', "line 1 is damaged"),
        (b'{"a":"x"}\n{"a":"gr\xf6\xdf"}\n', "line 2 is not UTF-8"),
        (b'{"gr\xf6\xdf":"x"}\n', "line 1 is not UTF-8"),
        ("1\n2\n", "line 1 holds a number, where each line must be a JSON object"),
        ('{"a":"\\ud800"}\n', "surrogate"),
        ('{"a":1e400}\n{"a":1}\n', "too big"),
        ("{}\n{}\n", "no fields"),
        ("\n\n", "no fields"),
        (b"\x80\x81\xff", "line 1 is not UTF-8"),
    ],
)
def test_damage_is_named_by_its_line(content, message, tmp_path):
    with pytest.raises(UnreadableFile, match=message.replace("(", r"\(")) as caught:
        read(tmp_path, content)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_cut_short_or_lies_about_its_packing(tmp_path):
    packed = gzip.compress(b'{"a":1}\n' * 10_000)
    assert read(tmp_path, packed, "a.jsonl.gz").num_rows == 10_000
    with pytest.raises(UnreadableFile, match="cut short"):
        read(tmp_path, packed[:-20], "a.jsonl.gz")
    with pytest.raises(UnreadableFile, match="packed by gzip"):
        read(tmp_path, packed, "a.jsonl")


def test_one_long_line_takes_seconds(tmp_path):
    table = read(tmp_path, b'{"a":"' + b'x\\"[' * (10 << 20) + b'"}\n{"a":"y"}\n')
    assert len(table["a"][0].as_py()) == 30 << 20
