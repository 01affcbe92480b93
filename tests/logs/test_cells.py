import numpy as np
import pyarrow as pa
import pytest

from causalign.logs.cells import read_dates, read_numbers, read_slashed_dates, read_truth

NUMBERS = {
    "plain": (["1", "-2.5", "+3", ".5", "1e3"], [1, -2.5, 3, 0.5, 1000]),
    "comma between thousands": (["1,234", "1,234,567.8"], [1234, 1234567.8]),
    "comma beside shorter numbers": (
        ["999", "12", "1,234", "2,345", "3,456", "4,567", "5,678"],
        [999, 12, 1234, 2345, 3456, 4567, 5678],
    ),
    "point between thousands": (["1.234,5", "12.345.678", "7"], [1234.5, 12345678, 7]),
    "comma before decimals": (["1,5", "2,25", "0,123"], [1.5, 2.25, 0.123]),
    "spaces": (["1 234", "12 345,6", "7"], [1234, 12345.6, 7]),
    "narrow no-break spaces": (["1\u202f234", "1\u00a0234,5"], [1234, 1234.5]),
    "apostrophes": (["1'234", "1’234.5"], [1234, 1234.5]),
    "groups of two, as in India": (["12,34,567", "1,00,000.5"], [1234567, 100000.5]),
    "accounting": (["(1,234.50)", "12.00"], [-1234.5, 12]),
    "unicode minus": (["−5", "6", "–7"], [-5, 6, -7]),
    "minus behind": (["5-", "6"], [-5, 6]),
    "currency before and behind": (["$5", "-$6.50", "$ 7"], [5, -6.5, 7]),
    "currency as a word": (["5 EUR", "EUR 6.5"], [5, 6.5]),
    "percent": (["5%", "12.5 %"], [0.05, 0.125]),
    "other digits": (["１２", "３"], [12, 3]),
    "blanks around": ([" 1 ", "\t2"], [1, 2]),
}


@pytest.mark.parametrize("case", NUMBERS)
def test_numbers_as_people_write_them(case):
    cells, right = NUMBERS[case]
    read = read_numbers(pa.array(cells, pa.large_string()))
    assert read.refusal is None
    assert not read.odd.any()
    np.testing.assert_array_equal(read.values.to_numpy(zero_copy_only=False), right)


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["1,234", "5,678"], "'1,234', which may be 1.234 or 1234"),
        (["€1.234", "€5.678"], "may be 1.234 or 1234"),
        (["$5", "€6"], "mixes currencies"),
        (["5%", "0.06"], "with a percent sign ('5%') and without ('0.06')"),
    ],
)
def test_what_may_be_two_numbers_is_refused_in_words(cells, said):
    assert said in read_numbers(pa.array(cells, pa.large_string())).refusal


@pytest.mark.parametrize(
    "cell",
    [
        "-",
        "--",
        "unknown",
        "?",
        "1.2.3",
        "12:30",
        "5 kg",
        "1/2",
        "A1",
        "1,2,3",
        "(5",
        "--5",
        "51436e293066",
    ],
)
def test_what_is_no_number_is_odd(cell):
    read = read_numbers(pa.array(["1", "2", cell], pa.large_string()))
    assert read.odd.tolist() == [False, False, True]


@pytest.mark.parametrize(
    "cell", ["", " ", "NA", "n/a", "NaN", "null", "NULL", r"\N", "None", "<NA>"]
)
def test_what_says_that_a_number_is_missing(cell):
    read = read_numbers(pa.array(["1", cell, None], pa.large_string()))
    assert not read.odd.any()
    assert read.values.to_pylist() == [1, None, None]


def test_truth_values_in_words():
    read = read_truth(pa.array(["Yes", "no", "TRUE", None, "f"], pa.large_string()))
    assert read.values.to_pylist() == [True, False, True, None, False]
    assert read_truth(pa.array(["yes", "maybe"], pa.large_string())) is None
    assert read_truth(pa.array(["1", "0"], pa.large_string())) is None


DATES = {
    "days": (["2024-01-31", "1500-02-01"], ["2024-01-31", "1500-02-01"]),
    "slashes, year first": (["2024/01/31"], ["2024-01-31"]),
    "times": (["2024-01-31 08:30", "2024-01-31T08:30:01.5"],
              ["2024-01-31T08:30", "2024-01-31T08:30:01.5"]),
    "nanoseconds": (["2024-01-31T08:30:00.123456789"], ["2024-01-31T08:30:00.123456"]),
    "zones": (["2024-01-31T08:30:00Z", "2024-01-31 08:30:00+02:00", "2024-01-31 08:30:00 UTC"],
              ["2024-01-31T08:30", "2024-01-31T06:30", "2024-01-31T08:30"]),
}  # fmt: skip


@pytest.mark.parametrize("case", DATES)
def test_dates_of_iso_8601(case):
    cells, right = DATES[case]
    read = read_dates(pa.array(cells, pa.large_string()))
    assert read.refusal is None
    assert not read.odd.any()
    expected = np.array(right, dtype="datetime64[us]")
    np.testing.assert_array_equal(read.values.to_numpy(zero_copy_only=False), expected)


def test_dates_whose_column_says_which_number_is_the_month():
    american = read_slashed_dates(
        pa.array(["8/4/2016 11:52", "1/26/2016 9:05", None, "soon", "2/30/2016"], pa.large_string())
    )
    assert (american.refusal, american.how) == (None, "dates, month first")
    assert american.odd.tolist() == [False, False, False, True, True]
    days = [str(value)[:16] for value in american.values.to_pylist()[:2]]
    assert days == ["2016-08-04 11:52", "2016-01-26 09:05"]
    german = read_slashed_dates(pa.array(["31.1.2020", "1.2.2020"], pa.large_string()))
    assert [str(value)[:10] for value in german.values.to_pylist()] == ["2020-01-31", "2020-02-01"]


@pytest.mark.parametrize("cells", [["1/2/2020", "2/3/2020"], ["13/2/2020", "2/13/2020"]])
def test_dates_of_which_the_month_is_not_known(cells):
    read = read_slashed_dates(pa.array(cells, pa.large_string()))
    assert "day and month cannot be told apart" in read.refusal


def test_dates_that_are_none():
    read = read_dates(pa.array(["2024-02-31", "2024-02-28", "soon", None], pa.large_string()))
    assert read.odd.tolist() == [True, False, True, False]
    mixed = read_dates(pa.array(["2024-01-01T00:00Z", "2024-01-01"], pa.large_string()))
    assert "with a time zone and dates without" in mixed.refusal
