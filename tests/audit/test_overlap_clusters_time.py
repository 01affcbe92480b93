"""Overlap, clusters and time: each finding fires where it must and stays silent where it must."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from causalign import Logs, Roles
from causalign.audit import audit_logs
from causalign.cli import main
from causalign.errors import InputError
from causalign.results import Verdict
from causalign.stats.counterparts import calibrated, condition_overlap
from causalign.stats.predictability import cross_fit_predictions

PASS, WARN, FAIL, NONE = Verdict.PASS, Verdict.WARN, Verdict.FAIL, Verdict.NOT_APPLICABLE


def found_in(columns, features=None, **roles):
    table = {"y": np.random.default_rng(7).normal(size=len(next(iter(columns.values()))))}
    table |= {"text": [f"t{i}" for i in range(len(table["y"]))], **columns}
    found = audit_logs(
        Logs.of(pa.table(table), Roles("text", "y", **roles)), text_features=features
    )
    return {f.code: f for f in found.findings}


def met(slope, seed, size=1500):
    """Draw texts of 20 numbers and a condition whose probability the first of them sets."""
    generator = np.random.default_rng(seed)
    texts = generator.normal(size=(size, 20))
    other = expit(slope * texts[:, 0])
    return texts, (generator.random(size) < other).astype(int), np.column_stack([1 - other, other])


@pytest.mark.parametrize(("slope", "near"), [(4, 0.04), (8, 0.06)])
def test_the_share_without_counterpart_is_the_true_one(slope, near):
    texts, member, truth = met(slope, 0)
    share = np.bincount(member) / len(member)
    rows = np.arange(len(member))
    expected = (truth[rows, 1 - member] < 0.05 * share[1 - member]).mean()
    scores = cross_fit_predictions(texts, (member[:, None] == [0, 1]) * 1.0, rows)
    found = condition_overlap(scores, member, rows)
    assert expected > 0.3
    assert found.missing == pytest.approx(expected, abs=near)
    left = ((member - truth[:, 1]) ** 2).mean() / member.var()
    assert found.left == pytest.approx(left, abs=0.05)


def test_calibration_is_logistic_regression():
    texts, member, _ = met(2, 1)
    s = texts[:, 0]
    found = calibrated(np.column_stack([-s, s]), member)[:, 1]
    fit = LogisticRegression(C=1e9).fit(s[:, None], member)
    assert found == pytest.approx(fit.predict_proba(s[:, None])[:, 1], abs=1e-3)


def test_overlap_is_silent_where_texts_met_all_conditions():
    for seed in range(30):
        texts, member, _ = met((0, 1)[seed % 2], seed, 300)
        found = found_in({"c": member.astype(str)}, texts, confounders=("c",))
        assert (found["OV101"].verdict, found["OV102"].verdict) == (PASS, PASS)


def test_a_text_that_determines_its_condition_is_found():
    texts, member, _ = met(0, 0)
    texts[:, 5] = member
    found = found_in({"c": member.astype(str)}, texts, confounders=("c",))
    assert (found["OV101"].verdict, found["OV102"].verdict) == (WARN, FAIL)
    assert found["OV101"].numbers["missing"] > 0.99
    number = found_in({"c": texts @ np.arange(20.0)}, texts, confounders=("c",))
    assert number["OV102"].verdict is FAIL


def test_half_of_the_texts_met_one_condition_only():
    generator = np.random.default_rng(3)
    kind, coin, free = generator.random((3, 2000)) < 0.5
    texts = np.column_stack([kind, kind & coin, generator.normal(size=(2000, 5))])
    met_by = np.where(kind, coin, free)
    found = found_in({"c": met_by, "d": free}, texts, confounders=("c", "d"))
    assert found["OV101"].numbers["missing"] == pytest.approx(kind.mean(), abs=0.02)
    assert "c (5" in found["OV101"].explanation


def test_what_cannot_be_seen_of_overlap_is_said():
    rows = {"c": np.arange(300) % 3}
    assert found_in(rows, confounders=("c",), categorical=("c",))["OV101"].verdict is NONE
    own = {"c": [f"only {i}" for i in range(300)]}
    features = np.random.default_rng(0).normal(size=(300, 4))
    assert "20 clusters" in found_in(own, features, confounders=("c",))["OV101"].explanation
    with pytest.raises(InputError):
        condition_overlap(np.zeros((4, 2)), np.zeros(4, int), np.arange(4))


@pytest.mark.parametrize(("clusters", "verdict"), [(5, WARN), (29, WARN), (30, PASS)])
def test_few_clusters(clusters, verdict):
    found = found_in({"shop": np.arange(600) % clusters}, cluster="shop")
    assert found["CL101"].verdict is verdict
    assert found["CL102"].verdict is PASS


@pytest.mark.parametrize(("share", "verdict"), [(0.1, PASS), (0.5, WARN)])
def test_one_cluster_dominates(share, verdict):
    shop = np.where(np.arange(2000) < share * 2000, 0, 1 + np.arange(2000) % 60)
    found = found_in({"shop": shop}, cluster="shop")
    sizes = np.bincount(shop)
    assert found["CL102"].verdict is verdict
    effective = found["CL102"].numbers["effective_clusters"]
    assert effective == pytest.approx(2000**2 / (sizes**2).sum())


def test_two_ways_report_the_worse():
    rows = np.arange(600)
    found = found_in({"a": rows % 100, "b": rows // 100}, cluster=("a", "b"))
    assert found["CL101"].numbers == {"clusters": 6, "column": "b"}


def test_what_has_one_value_in_each_cluster():
    shop = np.arange(600) // 50
    columns = {"shop": shop, "city": shop % 3, "price": np.arange(600.0)}
    roles = {"cluster": "shop", "categorical": ("city",)}
    found = found_in(columns, confounders=("city", "price"), **roles)["CL103"]
    assert found.verdict is WARN
    assert "city (12 of shop)" in found.explanation
    assert "price" not in found.explanation
    assert found_in(columns, confounders=("price",), **roles)["CL103"].verdict is PASS
    many = {"shop": np.arange(600) // 2, "city": np.arange(600) // 2 % 3}
    enough = found_in(many, confounders=("city",), **roles)["CL103"]
    assert (enough.verdict, enough.numbers["constant"]) == (PASS, 1)
    texts = {**columns, "text": [f"text {s}" for s in shop]}
    assert "text (12 of shop)" in found_in(texts, **roles)["CL103"].explanation


def test_clusters_of_one_row_say_nothing_of_what_varies():
    found = found_in({"shop": np.arange(300), "city": np.arange(300) % 3}, cluster="shop")
    assert found["CL103"].numbers["constant"] == 0


def test_copies_of_a_text_on_both_sides():
    plain = [f"text {i // 2}" for i in range(400)]
    together = found_in({"text": plain, "shop": np.arange(400) // 2}, cluster="shop")
    assert together["CL104"].verdict is PASS
    apart = found_in({"text": plain, "shop": np.arange(400) % 40}, cluster="shop")
    assert apart["CL104"].numbers["share"] == 1.0
    spelled = [t.upper() + "  " if i % 2 else t for i, t in enumerate(plain)]
    assert found_in({"text": plain})["CL104"].verdict is PASS
    assert found_in({"text": spelled})["CL104"].verdict is WARN


@pytest.mark.parametrize("clusters", [2, 3, 4])
def test_few_clusters_are_audited_all_the_same(clusters):
    features = np.random.default_rng(0).normal(size=(300, 4))
    columns = {"shop": np.arange(300) % clusters, "c": np.arange(300.0) % 17}
    found = found_in(columns, features, cluster="shop", confounders=("c",))
    assert found["CL101"].verdict is WARN


def history(seed, *, outcome=0.0, texts=0.0, monday_outcome=0.0, monday_texts=0.0, size=500):
    """Draw two years in which outcome and texts may drift, and may be other on Mondays."""
    generator = np.random.default_rng(seed)
    days = np.sort(generator.uniform(0, 730, size))
    drift, monday = (days / 730 - 0.5) * np.sqrt(12), np.floor(days) % 7 == 0
    features = generator.normal(size=(size, 15))
    features[:, 0] += texts * drift + monday_texts * monday
    y = features[:, 1] + outcome * drift + monday_outcome * monday + generator.normal(size=size)
    # 2022-01-03 was a Monday.
    when = np.datetime64("2022-01-03") + (days * 86_400e6).astype("timedelta64[us]")
    columns = {"y": y, "when": when, "month": when.astype("datetime64[M]").astype(str)}
    return columns, features


@pytest.mark.parametrize(
    ("drawn", "roles", "code"),
    [
        ({"outcome": 0.7, "texts": 1.0}, {}, "TM101"),
        ({"monday_outcome": 1.5, "monday_texts": 2.5}, {}, "TM102"),
    ],
)
def test_time_that_confounds_is_found(drawn, roles, code):
    other = {"TM101": "TM102", "TM102": "TM101"}[code]
    for seed in range(5):
        columns, features = history(seed, **drawn)
        found = found_in(columns, features, time="when", **roles)
        assert (found[code].verdict, found[other].verdict) == (WARN, PASS), seed
    assert ("weekday" if code == "TM102" else "first quarter") in found[code].explanation


INNOCENT = [
    ({}, ()),
    ({"outcome": 0.7}, ()),
    ({"texts": 1.0}, ()),
    ({"outcome": 0.7, "texts": 1.0}, ("when",)),
    ({"outcome": 0.7, "texts": 1.0}, ("month",)),
    ({"monday_outcome": 1.5}, ()),
    ({"monday_texts": 2.5}, ()),
]


@pytest.mark.parametrize(("drawn", "confounders"), INNOCENT)
def test_time_that_does_not_confound_is_left_alone(drawn, confounders):
    for seed in range(20):
        columns, features = history(seed, **drawn, size=300)
        found = found_in(columns, features, time="when", confounders=confounders)
        assert {found[c].verdict for c in ("TM101", "TM102", "TM103")} == {PASS}, seed


@pytest.mark.slow
@pytest.mark.parametrize(("drawn", "confounders"), INNOCENT)
def test_false_alarms_in_100_draws(drawn, confounders):
    alarms = 0
    for seed in range(100):
        columns, features = history(seed + 1000, **drawn)
        found = found_in(columns, features, time="when", confounders=confounders)
        alarms += any(found[c].verdict is WARN for c in ("TM101", "TM102", "TM103"))
        if not confounders:
            label = np.random.default_rng(seed).integers(7, size=len(features)).astype(str)
            found = found_in({"c": label}, features, confounders=("c",))
            alarms += any(found[c].verdict in (WARN, FAIL) for c in ("OV101", "OV102"))
    assert alarms <= 2


def test_gaps():
    days = np.r_[np.arange(100), np.arange(150, 250)].astype("datetime64[D]")
    found = found_in({"when": np.repeat(days, 2)}, time="when")["TM103"]
    assert found.verdict is WARN
    assert found.numbers["gap_days"] == 51
    assert "between 1970-04-10 and 1970-05-31" in found.explanation
    weekly = np.repeat(np.arange(10) * 7, 20).astype("datetime64[D]")
    assert found_in({"when": weekly}, time="when")["TM103"].verdict is PASS


@pytest.mark.parametrize(
    ("column", "roles", "said"),
    [
        (["some day"] * 300, {"time": "when"}, "text that is no date"),
        ([True, False] * 150, {"time": "when"}, "neither a date nor a number"),
        ([5] * 300, {"time": "when"}, "the same in all rows"),
        (np.arange(300).astype("datetime64[D]"), {}, "these columns hold dates: when"),
    ],
)
def test_time_that_cannot_be_read_is_said(column, roles, said):
    found = found_in({"when": column}, **roles)
    assert found["TM101"].verdict is NONE
    assert said in found["TM101"].explanation
    assert "TM102" not in found


@pytest.mark.parametrize("role", ["time", "cluster", "group"])
def test_lists_order_and_cluster_nothing(role):
    with pytest.raises(InputError, match="holds list"):
        found_in({"when": [[1]] * 300}, **{role: "when"})


def test_numbers_and_iso_text_have_an_order():
    columns, features = history(0, outcome=0.7, texts=1.0)
    day = columns.pop("when").astype("datetime64[D]")
    for when in (day.astype(int), day.astype(str)):
        found = found_in({**columns, "when": when}, features, time="when")
        assert found["TM101"].verdict is WARN
    assert found_in({**columns, "when": day.astype(int)}, time="when")["TM102"].verdict is NONE


def test_time_at_the_command_line(tmp_path, capsys):
    columns, _ = history(0, size=120)
    table = {**columns, "text": [f"news {i}" for i in range(120)]}
    pq.write_table(pa.table(table), tmp_path / "logs.parquet")
    with pytest.raises(SystemExit) as stopped:
        main(["audit", str(tmp_path / "logs.parquet"), "--completion", "text", "--outcome", "y",
              "--time", "when", "--encoder", "hashing"])  # fmt: skip
    assert stopped.value.code == 0
    assert "TM101" in capsys.readouterr().out
