import bz2
import gzip

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import norm

from causalign import Logs, Roles, audit
from causalign.errors import ColumnNotFound, InputError, RoleNotDeclared, SettingsError
from causalign.results import Verdict

ROLES = Roles(completion="text", outcome="y", confounders=("c",))
FRAME = {"text": ["a", "b", "c", "d"], "y": [1.0, 2.0, 0.5, 4.0], "c": ["u", "v", "u", "w"]}


def frame():
    return pd.DataFrame(FRAME)


def csv_bytes(separator=","):
    return frame().to_csv(index=False, sep=separator).encode()


WRITERS = {
    "logs.csv": lambda p: p.write_bytes(csv_bytes()),
    "logs.tsv": lambda p: p.write_bytes(csv_bytes("\t")),
    "logs.jsonl": lambda p: frame().to_json(p, orient="records", lines=True),
    "logs.parquet": lambda p: frame().to_parquet(p),
    "logs.csv.gz": lambda p: p.write_bytes(gzip.compress(csv_bytes())),
    "logs.tsv.bz2": lambda p: p.write_bytes(bz2.compress(csv_bytes("\t"))),
    "logs.csv.zst": lambda p: pa.output_stream(str(p), compression="zstd").write(csv_bytes()),
    "bom.csv": lambda p: p.write_bytes(b"\xef\xbb\xbf" + csv_bytes()),
}


@pytest.mark.parametrize("name", WRITERS)
def test_reads_every_format_alike(name, tmp_path):
    path = tmp_path / name
    if name.endswith(".zst"):
        with pa.output_stream(str(path), compression="zstd") as sink:
            sink.write(csv_bytes())
    else:
        WRITERS[name](path)
    logs = Logs.read(path, ROLES)
    assert logs.completions == FRAME["text"]
    np.testing.assert_array_equal(logs.outcome, FRAME["y"])
    assert logs.confounders[0].levels == ("u", "v", "w")
    assert name in logs.history[0]


def test_reads_a_folder_and_a_glob(tmp_path):
    for i in range(3):
        frame().to_parquet(tmp_path / f"part-{i}.parquet")
    (tmp_path / "notes.txt").write_text("not a log")
    assert len(Logs.read(tmp_path, ROLES)) == 12
    assert len(Logs.read(tmp_path / "part-[01].parquet", ROLES)) == 8


def test_promotes_integers_and_floats_across_files(tmp_path):
    frame().to_parquet(tmp_path / "a.parquet")
    frame().assign(y=[1, 2, 3, 4]).to_parquet(tmp_path / "b.parquet")
    assert Logs.read(tmp_path, ROLES).outcome.dtype == float


@pytest.mark.parametrize(
    "make", [pd.DataFrame, pl.DataFrame, pa.table], ids=["pandas", "polars", "arrow"]
)
def test_of_takes_every_frame(make):
    assert Logs.of(make(FRAME), ROLES).completions == FRAME["text"]


def test_of_takes_a_dataset_with_its_selection():
    datasets = pytest.importorskip("datasets")
    chosen = datasets.Dataset.from_dict(FRAME).select([3, 1])
    assert Logs.of(chosen, ROLES).completions == ["d", "b"]


def test_of_refuses_what_is_no_table():
    with pytest.raises(InputError, match="cannot be made of 'list'"):
        Logs.of([1, 2], ROLES)
    with pytest.raises(InputError, match="mixes types"):
        Logs.of(pd.DataFrame({"text": ["a", "b"], "y": [1, "x"], "c": [1, 2]}), ROLES)


@pytest.mark.parametrize(
    ("values", "categorical", "kind", "expected"),
    [
        ([1, 2, 1], False, "numeric", [1, 2, 1]),
        ([201303, 201306, 201303], True, "categorical", [0, 1, 0]),
        ([True, False, True], False, "boolean", [1, 0, 1]),
        (["x", "w", "x"], False, "categorical", [1, 0, 1]),
        (
            pd.to_datetime(["1970-01-02 00:00", "1970-01-01 00:00", "1970-01-01 12:00"]),
            False,
            "datetime",
            [1, 0, 0.5],
        ),
        (pd.Categorical(["x", "w", "x"]), False, "categorical", [1, 0, 1]),
    ],
)
def test_kinds_of_confounders(values, categorical, kind, expected):
    roles = Roles("text", "y", confounders=("c",), categorical=("c",) if categorical else ())
    logs = Logs.of(pd.DataFrame({"text": list("abc"), "y": [1, 2, 3], "c": values}), roles)
    (covariate,) = logs.confounders
    assert covariate.kind == kind
    np.testing.assert_array_equal(covariate.values, expected)


def test_trials_make_the_outcome_a_rate():
    table = {"text": ["a", "b"], "y": [1, 3], "n": [10, 20]}
    logs = Logs.of(pa.table(table), Roles("text", "y", trials="n"))
    np.testing.assert_allclose(logs.outcome, [0.1, 0.15])


def test_with_outcome_keeps_the_old_column_and_adds_history():
    logs = Logs.of(frame(), ROLES)
    changed = logs.with_outcome(np.arange(4.0), "replaced")
    np.testing.assert_array_equal(changed.outcome, np.arange(4.0))
    np.testing.assert_array_equal(logs.outcome, FRAME["y"])
    assert changed.history[-1] == "replaced"
    assert "y" in changed.data.column_names
    with pytest.raises(InputError, match="4 finite numbers"):
        logs.with_outcome(np.array([1.0, np.nan, 1.0, 1.0]), "x")


def test_drop_incomplete_says_how_many():
    table = pa.table(
        {"text": ["a", None, "", "d", "e"], "y": [1, 2, 3, None, 5.0], "c": list("uvuvw")}
    )
    logs = Logs.of(table, ROLES, drop_incomplete=True)
    assert logs.completions == ["a", "e"]
    assert logs.history[-1] == "left out 3 incomplete rows"


def test_require_names_free_columns():
    logs = Logs.of(frame().assign(free=1), ROLES)
    with pytest.raises(RoleNotDeclared, match="declare no instruments.*without a role: free"):
        logs.require("instruments")
    with pytest.raises(ColumnNotFound, match="did you mean 'text'"):
        logs.numbers("txt")


def test_a_lone_name_is_a_role_of_one():
    assert Roles("t", "y", confounders="c").confounders == ("c",)
    with pytest.raises(SettingsError, match="twice"):
        Roles("t", "y", confounders=("c", "c"))


PACKAGES = pa.table(
    {
        "text": ["a", "b", "c", "d", "e", "a"],
        "y": [50, 20, 30, 9, 9, 1],
        "n": [1000, 1000, 1000, 100, 100, 1000],
        "test": [1, 1, 1, 2, 2, 3],
        "image": ["x", "x", None, "x", "x", "x"],
    }
)


def test_pairs_within_groups_are_oriented_and_complete():
    logs = Logs.of(PACKAGES, Roles("text", "y", trials="n", group="test"))
    pairs = logs.pairs()
    found = set(zip(pairs.chosen, pairs.rejected, strict=True))
    assert found == {("a", "b"), ("a", "c"), ("c", "b")}
    assert (pairs.margin > 0).all()
    np.testing.assert_allclose(sorted(pairs.margin), [0.01, 0.02, 0.03])


def test_pairs_by_several_columns_leave_out_unknown_keys():
    logs = Logs.of(PACKAGES, Roles("text", "y", trials="n", group="test"))
    pairs = logs.pairs(by=("test", "image"))
    assert list(zip(pairs.chosen, pairs.rejected, strict=True)) == [("a", "b")]


def test_pairs_significance_is_the_two_proportion_test():
    logs = Logs.of(PACKAGES, Roles("text", "y", trials="n", group="test"))
    kept = logs.pairs(significance=0.05)
    z = (0.05 - 0.03) / np.sqrt(0.04 * 0.96 * 2 / 1000)
    assert 2 * norm.sf(z) < 0.05
    assert set(zip(kept.chosen, kept.rejected, strict=True)) == {("a", "b"), ("a", "c")}


def test_pairs_of_equal_texts_are_left_out():
    table = pa.table({"text": ["a", "a", "b"], "y": [1, 2, 3], "g": [1, 1, 1]})
    pairs = Logs.of(table, Roles("text", "y", group="g")).pairs()
    assert set(pairs.chosen) == {"b"}
    assert pairs.to_trl()[0].keys() == {"chosen", "rejected", "margin", "weight"}


def test_matched_pairs_use_each_row_once_whatever_the_outcome():
    generator = np.random.default_rng(0)
    size = 101
    table = pa.table(
        {
            "text": [f"t{i}" for i in range(size)],
            "y": generator.normal(size=size),
            "g": generator.integers(7, size=size),
        }
    )
    logs = Logs.of(table, Roles("text", "y"))
    anyone, within = logs.matched_pairs(seed=1), logs.matched_pairs(("g",), seed=1)
    sizes = np.bincount(table["g"].to_numpy())
    assert (len(anyone), len(within)) == (50, (sizes // 2).sum())
    for pairs in (anyone, within):
        assert len(np.unique(pairs.rows)) == 2 * len(pairs)
        y = logs.outcome[pairs.rows]
        np.testing.assert_allclose(pairs.margin, y[:, 0] - y[:, 1])
        assert (pairs.margin > 0).all()
    g = table["g"].to_numpy()[within.rows]
    assert (g[:, 0] == g[:, 1]).all()
    turned = logs.with_outcome(-logs.outcome, "turned").matched_pairs(seed=1)
    np.testing.assert_array_equal(turned.rows, anyone.rows[:, ::-1])
    some = logs.matched_pairs(seed=1, most=20)
    assert len(some) == 20
    assert {tuple(row) for row in some.rows} <= {tuple(row) for row in anyone.rows}


def test_pairs_match_brute_force():
    generator = np.random.default_rng(0)
    size = 200
    table = pa.table(
        {
            "text": [f"t{i}" for i in range(size)],
            "y": generator.normal(size=size),
            "g": generator.integers(30, size=size),
        }
    )
    logs = Logs.of(table, Roles("text", "y", group="g"))
    pairs = logs.pairs(minimum_margin=0.5)
    y, g = logs.outcome, table["g"].to_numpy()
    wanted = {
        (f"t{i}", f"t{j}")
        for i in range(size)
        for j in range(size)
        if i != j and g[i] == g[j] and y[i] - y[j] > 0.5
    }
    assert set(zip(pairs.chosen, pairs.rejected, strict=True)) == wanted


def test_huge_cell_and_duplicates_are_findings(tmp_path):
    rows = [("x" * 10_000_000, 1.0, 0), ("b", 2.0, 1), ("b", 2.0, 1), ("d", 3.0, 0), ("e", 4.0, 1)]
    path = tmp_path / "logs.csv"
    pd.DataFrame(rows, columns=["text", "y", "c"]).to_csv(path, index=False)
    found = {f.code: f for f in audit(Logs.read(path, ROLES), folds=2).findings}
    assert found["DA102"].verdict is Verdict.WARN
    assert "10,000,000" in found["DA102"].explanation
    assert found["DA101"].verdict is Verdict.WARN
    assert "1 of 5 rows repeat" in found["DA101"].explanation


def test_parquet_larger_than_a_row_group(tmp_path):
    pq.write_table(pa.table(FRAME), tmp_path / "x.parquet", row_group_size=1)
    assert len(Logs.read(tmp_path / "x.parquet", ROLES)) == 4
