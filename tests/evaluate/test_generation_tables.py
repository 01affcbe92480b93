"""Texts of several policies come into one order, or it is said what stands against it."""

import pyarrow as pa
import pytest

from causalign.errors import ColumnNotFound, InputError, SettingsError
from causalign.evaluate import align_generations, read_generations


def test_rows_are_matched_by_prompt_and_repeats_in_their_order():
    before = pa.table({"prompt": ["a", "b", "a"], "completion": ["a1", "b1", "a2"]})
    after = pa.table({"prompt": ["b", "a", "a"], "completion": ["B1", "A1", "A2"]})
    texts, prompts = align_generations({"before": before, "after": after})
    assert texts == {"before": ["a1", "b1", "a2"], "after": ["A1", "B1", "A2"]}
    assert prompts == ["a", "b", "a"]
    with pytest.raises(InputError, match="'short' 1"):
        align_generations({"before": before, "short": after.slice(0, 1)})
    with pytest.raises(InputError, match="lacks 1 of 3, for instance 'b'"):
        align_generations({"before": before, "other": after.slice(1).take([0, 1, 1])})
    with pytest.raises(InputError, match="or none"):
        align_generations({"before": before, "bare": after.drop_columns(["prompt"])})


def test_one_table_has_a_column_for_each_policy():
    table = pa.table({"prompt": pa.array([None, None], pa.string()), "x": ["1", "2"],
                      "y": ["3", None]})  # fmt: skip
    assert read_generations(table.slice(0, 1), ["x", "y"]) == ({"x": ["1"], "y": ["3"]}, None)
    with pytest.raises(SettingsError, match="named twice: x, x"):
        read_generations(table, ["x", "x"])
    with pytest.raises(SettingsError, match="at least two"):
        read_generations(table, ["x"])
    with pytest.raises(ColumnNotFound, match="'file.csv' has no column 'z'"):
        read_generations(table, ["x", "z"], name="file.csv")
    with pytest.raises(InputError, match="holds no text in row 1"):
        read_generations(table, ["x", "y"])
