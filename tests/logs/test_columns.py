import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from causalign import Logs, Roles
from causalign.errors import ColumnNotFound, InputError
from causalign.logs import describe_columns, read_table

CONFOUNDER, CLUSTER = Roles("text", "y", confounders="c"), Roles("text", "y", cluster="c")
NUMBERS, NAMES, TRUTH, DATES = "numeric", "categorical", "boolean", "datetime"


def table(values) -> pa.Table:
    column = values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values)
    rows = len(column)
    return pa.table({"text": [f"t{i}" for i in range(rows)], "y": range(rows), "c": column})


def csv(tmp_path, cells) -> str:
    path = tmp_path / "log.csv"
    lines = [f'mail {i},{i},"{cell}"\n' for i, cell in enumerate(cells)]
    path.write_text("text,y,c\n" + "".join(lines), encoding="utf-8")
    return str(path)


WRITTEN = {
    "numbers": (["1", "2.5", "3"], NUMBERS),
    "true and false": (["True", "False", "True"], TRUTH),
    "yes and no": (["yes", "no", "yes"], NAMES),
    "dates": (["2024-01-31", "2024-02-01", "2024-02-02"], DATES),
    "words": (["a", "b", "a"], NAMES),
    "codes with numbers among them": (["A1", "17", "B2", "B3"], NAMES),
    "many codes": ([f"{i}{'ABC'[i % 3]}" for i in range(60)], NAMES),
    "many words": ([f"user {i}" for i in range(60)], NAMES),
    "leading zeros": (["01", "02", "11"], NAMES),
    "a year and month": (["2024-01", "2024-02", "2024-01"], NAMES),
    "nations": (["NA", "DE", "US"], NAMES),
}


@pytest.mark.parametrize("case", WRITTEN)
def test_what_a_file_without_types_holds(case, tmp_path):
    cells, kind = WRITTEN[case]
    assert Logs.read(csv(tmp_path, cells), CONFOUNDER).confounders[0].kind == kind


REFUSED = {
    "days or months first": (["01/02/2024", "02/02/2024"], "day and month cannot be told"),
    "a range among numbers": (["1", "2", "3+"], "row 2 holds '3"),
    "infinity": (["1", "inf", "2"], "row 1 is infinite"),
    "31 February": (["2024-02-31", "2024-02-01"], "holds dates, but 1 of its cells"),
    "a unit": ([f"{i / 4} kg" for i in range(60)], "with a unit or sign, such as '0.0 kg'"),
    "a sign": ([f"<{i}" for i in range(60)], "with a unit or sign, such as '<0'"),
    "times of day": ([f"12:{i:02}" for i in range(60)], "such as '12:00'"),
    "more than 2^53": (["9007199254740993", "1"], "beyond 2^53"),
    "nothing": (["", "", ""], "holds no value in any row"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_confounder_of_a_file_cannot_be(case, tmp_path):
    cells, said = REFUSED[case]
    with pytest.raises(InputError) as refused:
        Logs.read(csv(tmp_path, cells), CONFOUNDER)
    assert said in str(refused.value)
    assert "'c'" in str(refused.value)


def test_na_is_namibia_where_missing_cells_are_empty_and_missing_elsewhere(tmp_path):
    path = csv(tmp_path, ["NA", "Germany", "", "NA"])
    logs = Logs.read(path, CONFOUNDER, drop_incomplete=True)
    assert logs.confounders[0].levels == ("Germany", "NA")
    assert "'NA' as a name" in logs.history[1]
    with pytest.raises(InputError, match="2 missing values .*row 0, which holds 'NA'"):
        Logs.read(csv(tmp_path, ["NA", "Germany", "France", "NA"]), CONFOUNDER)
    with pytest.raises(InputError, match="1 missing values"):
        Logs.read(csv(tmp_path, ["NA", "u1", "u2"]), CLUSTER)


TYPED = {
    "whole numbers as text": (["10", "20", "10"], NAMES),
    "versions": (["1.0", "1.1", "1.0"], NAMES),
    "dates as text": (["2024-01-01", "2024-01-02"], DATES),
    "date": ([datetime.date(1500, 1, 1), datetime.date(1500, 1, 2)], DATES),
    "nanoseconds": (pa.array([1, 2], pa.timestamp("ns")), DATES),
    "a time zone": (pa.array([1, 2], pa.timestamp("s", "Asia/Tokyo")), DATES),
    "decimals": ([Decimal("1.10"), Decimal("2.20")], NUMBERS),
    "half floats": (pa.array(np.array([1, 2.5], dtype=np.float16)), NUMBERS),
    "unsigned": (pa.array([1, 2], pa.uint64()), NUMBERS),
    "a dictionary of integers": (pa.array([5, 7, 5]).dictionary_encode(), NAMES),
    "a dictionary of strings": (pa.array(["a", "b"]).dictionary_encode(), NAMES),
    "string views": (pa.array(["a", "b"], pa.string_view()), NAMES),
    "runs": (pa.RunEndEncodedArray.from_arrays([2, 3], [1.5, 2.5]), NUMBERS),
    "truth values of 8 bits": (
        pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, 0], pa.int8())),
        TRUTH,
    ),
    "UUIDs": (pa.array([b"0123456789abcdef", b"0123456789abcdeg"], pa.uuid()), NAMES),
}


@pytest.mark.parametrize("case", TYPED)
def test_what_a_column_of_a_type_is(case):
    values, kind = TYPED[case]
    assert Logs.of(table(values), CONFOUNDER).confounders[0].kind == kind


UNUSABLE = {
    "lists": ([[1], [2]], "holds list"),
    "structs": ([{"a": 1}, {"a": 2}], "holds struct"),
    "durations": (pa.array([1, 2], pa.duration("s")), "not numeric but duration"),
    "times of day": (pa.array([1, 2], pa.time32("s")), "not numeric but time32"),
    "nulls": (pa.nulls(2), "holds no value"),
    "many decimals as text": ([f"{i / 7:.3f}" for i in range(60)], "numbers written as text"),
    "percents as text": (["5%", "6%"], "numbers written as text, such as '5%'"),
    "many numbers and a word": ([*map(str, range(60)), "null"], "such as '0' and 'null'"),
    "a null in a dictionary": (
        pa.DictionaryArray.from_arrays(pa.array([0, 1, 2]), pa.array(["a", None, "b"])),
        "1 missing",
    ),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_what_no_confounder_can_be(case):
    values, said = UNUSABLE[case]
    with pytest.raises(InputError) as refused:
        Logs.of(table(values), CONFOUNDER)
    assert said in str(refused.value)
    assert "'c'" in str(refused.value)


def test_names_of_a_type_are_exact():
    same = pa.array([1, 1, 2], pa.timestamp("ns"))
    for values in (same, [2**60, 2**60, 2**60 + 1], [1.5, 1.5, 2.0], [True, True, False]):
        assert len(set(Logs.of(table(values), CLUSTER).clusters)) == 2


def test_columns_with_a_role_have_few_types():
    values = pa.array([1, 2], pa.int8())
    data = Logs.of(table(values), CONFOUNDER).data
    assert [str(field.type) for field in data.schema] == ["large_string", "int64", "int64"]
    dates = pa.array([1, 2], pa.timestamp("s", "Asia/Tokyo"))
    assert str(Logs.of(table(dates), CONFOUNDER).data["c"].type) == "timestamp[us]"


def test_a_column_without_a_role_is_read_when_it_is_asked_for(tmp_path):
    path = csv(tmp_path, ["1,234.5", "7", "8"])
    logs = Logs.read(path, Roles("text", "y"))
    np.testing.assert_array_equal(logs.numbers("c"), [1234.5, 7, 8])
    assert logs.covariate("c").kind == NUMBERS
    words = Logs.read(csv(tmp_path, ["1", "2", "x"]), Roles("text", "y"))
    with pytest.raises(InputError, match="row 2 holds 'x'"):
        words.numbers("c")


def test_categories_spelled_in_another_way_are_not_taken_as_average():
    from causalign.deconfound import OrdinaryLeastSquares

    roles = Roles("text", "y", confounders="c", categorical="c")
    effect = OrdinaryLeastSquares().fit(Logs.of(table([1, 2, 1, 2, 2]), roles))
    assert len(effect.predict(Logs.of(table([1.0, 2.0]), roles))) == 2
    with pytest.raises(InputError, match="in another way here: '1.0'"):
        effect.predict(Logs.of(table(["1.0", "2.0"]), roles))
    with pytest.raises(InputError, match="held categories .* holds numbers here"):
        effect.predict(Logs.of(table([7, 8]), CONFOUNDER))
    np.testing.assert_array_equal(effect.predict(Logs.of(table(["x", "y"]), roles)), [0, 0])


def test_readings_say_what_was_read(tmp_path):
    path = csv(tmp_path, ["1,234", "999", "1,234,567", "-", ""])
    text, outcome, price = describe_columns(
        read_table(path), {"text": ["completion"], "c": ["confounders"]}
    )
    assert (text.kind, outcome.kind, outcome.role) == ("text", NUMBERS, "")
    assert price.how == "'1,234' as 1234 (comma between thousands)"
    assert price.examples == ("'1,234'", "'999'", "'1,234,567'")
    assert (price.missing, price.odd, price.first_odd) == (1, 1, "row 3 holds '-'")
    with pytest.raises(ColumnNotFound, match="did you mean 'text'"):
        describe_columns(read_table(path), {"texts": ["completion"]})


def test_two_columns_of_one_name_are_refused_where_they_are_named():
    frame = pd.DataFrame([["a", 1, 2, 3], ["b", 2, 3, 4]], columns=["text", "y", "c", "c"])
    assert len(Logs.of(frame, Roles("text", "y"))) == 2
    with pytest.raises(InputError, match="2 columns named 'c'"):
        Logs.of(frame, CONFOUNDER)
    readings = describe_columns(_twice(), {"c": ["group"]})
    assert ["only one" in reading.refusal for reading in readings] == [False, False, True, True]


def _twice() -> pa.Table:
    return pa.table([["a", "b"], [1, 2], [1, 2], [3, 4]], names=["text", "y", "c", "c"])
