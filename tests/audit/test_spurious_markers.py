"""Planted markers are found, innocent ones left alone; single effects equal trusted libraries'."""

import importlib.util
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy import sparse, stats

from causalign import Logs, Roles, artifacts, errors
from causalign.audit import add_markers, audit_logs, audit_markers
from causalign.audit.nested_markers import merge_variants
from causalign.audit.vocabulary import text_markers
from causalign.cli import main
from causalign.results import Verdict
from causalign.simulate import Newsletter
from causalign.stats.confounder_part import confounder_part
from causalign.stats.estimates import q_values
from causalign.stats.fold_ridge import FoldRidge
from causalign.stats.folds import group_folds
from causalign.stats.marker_alone import marker_alone
from causalign.stats.marker_effects import marker_effects
from causalign.stats.row_blocks import leading_components

WORDS = np.array([f"w{i}" for i in range(60)])


def sentences(generator, size):
    """Draw texts of eight words, rare and frequent ones, without any meaning."""
    share = 1 / np.arange(2, len(WORDS) + 2)
    picked = generator.choice(len(WORDS), (size, 8), p=share / share.sum())
    return [" ".join(WORDS[row]) for row in picked]


def log(texts, outcome, roles=None, **columns):
    table = pa.table({"text": texts, "y": outcome, **columns})
    return Logs.of(table, Roles("text", "y", **(roles or {"confounders": tuple(columns)})))


@pytest.fixture(scope="module")
def newsletter():
    """Offers as often on every day: only the greeting travels with the weekday."""
    return Newsletter(rows=2500, offer_on_weekend=0.2, offer_otherwise=0.2).simulate().logs


@pytest.fixture(scope="module")
def found(newsletter):
    return audit_markers(newsletter, sentiment=False)


def codes(audited):
    return {f.code: f.verdict for f in audited.findings}


def test_the_planted_marker_comes_first(found):
    assert found.markers.names[0] == "happy monday"
    assert {"happy", "monday"} <= set(found.markers.variants[0])
    first = found.table().to_pylist()[0]
    assert first["spurious"]
    assert first["naive lower"] > 1
    assert first["deconfounded lower"] < 0 < first["deconfounded upper"]
    assert codes(found)["MK101"] is Verdict.WARN
    assert "happy monday" in found.answer()


def test_what_the_text_causes_keeps_its_effect(found):
    rows = {r["marker"]: r for r in found.table().to_pylist()}
    offer = rows["with free returns"]
    assert not offer["spurious"]
    assert offer["deconfounded lower"] < 1.1 < offer["deconfounded upper"]
    assert offer["naive"] == pytest.approx(offer["deconfounded"], abs=0.15)


def test_an_offer_made_on_slow_days_is_worth_more_than_it_seems():
    hidden = audit_markers(Newsletter(rows=2500).simulate().logs, sentiment=False)
    offer = {r["marker"]: r for r in hidden.table().to_pylist()}["with free returns"]
    assert offer["spurious"]
    assert offer["naive upper"] < 0.6 < 0.7 < offer["deconfounded lower"]


def test_discoveries_come_first_then_distance(found):
    rows = found.table().to_pylist()
    order = [(not r["spurious"], -abs(r["distance"])) for r in rows]
    assert order == sorted(order)
    for r in rows:
        assert r["distance"] == pytest.approx(r["naive"] - r["deconfounded"], abs=1e-10)


def test_markers_reach_the_section(newsletter, found):
    section = add_markers(audit_logs(newsletter).section(), found)
    assert "happy monday" in section.answer
    assert section.numbers["spurious markers"] == len(found.spurious)
    assert section.tables["markers"].num_rows == len(found.markers)
    assert section.figures[-1].name == "markers"
    assert {"MK101", "MK102", "MK103"} <= {f.code for f in section.findings}


def test_one_marker_equals_least_squares_of_statsmodels():
    sm = pytest.importorskip("statsmodels.api")
    generator = np.random.default_rng(0)
    x = (generator.random(400) < 0.2) * 1.0
    C = generator.normal(size=(400, 2)) + x[:, None]
    y = C @ [1.0, -0.5] + generator.normal(size=400) * (1 + x)
    part = confounder_part(y, C)
    effects = marker_effects(x[:, None], y, part)
    naive = sm.OLS(y, sm.add_constant(x)).fit(cov_type="HC3")
    assert effects.naive.estimate[0] == pytest.approx(naive.params[1], abs=1e-10)
    assert effects.naive.stderr[0] == pytest.approx(naive.bse[1], abs=1e-10)
    h = sm.OLS(y, sm.add_constant(C)).fit()
    np.testing.assert_allclose(part.coefficient, h.params[1:], atol=1e-10)
    rest = sm.OLS(y - C @ h.params[1:], sm.add_constant(x)).fit()
    assert effects.deconfounded.estimate[0] == pytest.approx(rest.params[1], abs=1e-10)
    # γ's own error is HC0, as influence functions give it.
    influence = part.influence.read(slice(0, 400))
    robust = influence.T @ influence
    np.testing.assert_allclose(robust, h.get_robustcov_results("HC0").cov_params()[1:, 1:], 1e-8)


def test_a_marker_alone_equals_double_machine_learning():
    """The same cross-fitted residuals in DoubleML: the same estimate to 1e-8."""
    dml = pytest.importorskip("doubleml")
    from sklearn.linear_model import RidgeCV

    generator = np.random.default_rng(1)
    T = generator.normal(size=(300, 3))
    x = (generator.random(300) < stats.norm.cdf(T[:, 0])) * 1.0
    c = T[:, 1] + generator.normal(size=300)
    y = x + T @ [1.0, 0.5, 0.0] + c + generator.normal(size=300)
    folds = group_folds(300, 3)
    part = confounder_part(y, c[:, None], text=FoldRidge.of(T, folds))
    found, _ = marker_alone(sparse.csr_array(x[:, None]), part)
    from causalign.stats.cross_fit import ridge_cross_fit

    centred = np.column_stack([y - y.mean(), c - c.mean(), x - x.mean()])
    u, v, r = (centred - ridge_cross_fit(T, centred, folds=folds).predicted).T
    # DoubleML takes predictions from outside: those of the residuals' regression on v are exact.
    data = dml.DoubleMLData.from_arrays(T, u - v * (v @ u) / (v @ v), r - v * (v @ r) / (v @ v))
    model = dml.DoubleMLPLR(data, RidgeCV(), RidgeCV(), n_folds=2)
    zero = {"d": {"ml_l": np.zeros((300, 1)), "ml_m": np.zeros((300, 1))}}
    model.fit(external_predictions=zero)
    assert found.estimate[0] == pytest.approx(model.coef[0], abs=1e-8)
    assert found.stderr[0] == pytest.approx(model.se[0], rel=0.02)


def test_the_error_of_the_distance_is_its_spread_over_draws():
    """Marker and confounder related, so that both sources of error count."""
    estimates, errors_ = [], []
    for seed in range(300):
        generator = np.random.default_rng(seed)
        c = generator.normal(size=500)
        x = (generator.random(500) < stats.norm.cdf(c - 1)) * 1.0
        y = 0.5 * c + generator.normal(size=500)
        found = marker_effects(x[:, None], y, confounder_part(y, c[:, None])).distance
        estimates.append(found.estimate[0])
        errors_.append(found.stderr[0])
    assert np.std(estimates) == pytest.approx(np.mean(errors_), rel=0.12)


def test_clustered_errors_count_clusters():
    """A marker used by whole clusters, an outcome and a confounder alike within them."""
    hits, naive = 0, 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        cluster = np.repeat(np.arange(60), 10)
        x = (generator.random(60) < 0.4)[cluster] * 1.0
        c = generator.normal(size=60)[cluster]
        y = 2 * c + generator.normal(size=600)
        part = confounder_part(y, c[:, None])
        p = marker_effects(x[:, None], y, part, clusters=cluster).distance.p_value[0]
        hits += p < 0.05
        naive += marker_effects(x[:, None], y, part).distance.p_value[0] < 0.05
    assert hits <= stats.binom.ppf(0.999, 200, 0.05)
    assert naive > 60


def test_two_clusterings_are_at_least_as_careful_as_one():
    generator = np.random.default_rng(3)
    ways = generator.integers(20, size=(500, 2))
    x, c = generator.integers(2, size=500) * 1.0, generator.normal(size=500)
    y = c + generator.normal(size=20)[ways[:, 0]] + generator.normal(size=500)
    part = confounder_part(y, c[:, None])
    both = marker_effects(x[:, None], y, part, clusters=ways).naive.stderr
    for way in ways.T:
        assert both >= marker_effects(x[:, None], y, part, clusters=way).naive.stderr - 1e-12


@pytest.mark.parametrize("kind", ["skewed", "two values", "many categories"])
def test_innocent_markers_are_left_alone(kind):
    """Words that know nothing of a strong confounder: few draws may call any of them spurious.

    The naive test calls words that do nothing effective once one word is tied to the confounder.
    """
    wrong, power, naive = 0, 0, 0
    for seed in range(25):
        generator = np.random.default_rng(seed)
        texts = sentences(generator, 700)
        c = {
            "skewed": lambda g: g.lognormal(0, 1.2, 700),
            "two values": lambda g: (g.random(700) < 0.1) * 3.0,
            "many categories": lambda g: g.normal(0, 1.5, 20)[g.integers(20, size=700)],
        }[kind](generator)
        y = c + generator.normal(size=700)
        given = c if kind != "many categories" else [f"{v:.6f}" for v in c]
        planted = generator.random(700) < np.where(c > np.quantile(c, 0.85), 0.7, 0.05)
        texts = [f"planted {t}" if p else t for t, p in zip(texts, planted, strict=True)]
        found = audit_markers(log(texts, y, c=given), rare=15)
        innocent = [n for n in found.spurious if "planted" not in n and "log" not in n]
        wrong += bool(innocent)
        power += "planted" in found.spurious
        rows = {r["marker"]: r for r in found.table().to_pylist()}
        naive += rows["planted"]["naive q"] <= 0.05
    assert wrong <= 2
    assert power >= 23
    assert naive >= 23


def test_a_confounder_that_does_nothing_accuses_nobody():
    wrong = 0
    for seed in range(30):
        generator = np.random.default_rng(seed)
        day = generator.integers(5, size=600)
        texts = [f"{t} day{d}" for t, d in zip(sentences(generator, 600), day, strict=True)]
        days = [f"d{d}" for d in day]
        wrong += bool(audit_markers(log(texts, generator.normal(size=600), day=days)).spurious)
    assert wrong <= 4


def test_a_marker_that_stands_for_the_confounder_is_named():
    generator = np.random.default_rng(0)
    monday = generator.random(800) < 0.2
    texts = [
        f"happy monday {t}" if m else t
        for t, m in zip(sentences(generator, 800), monday, strict=True)
    ]
    found = audit_markers(log(texts, monday + generator.normal(size=800), monday=monday))
    finding = next(f for f in found.findings if f.code == "MK102")
    assert finding.verdict is Verdict.WARN
    assert "happy monday" in finding.explanation


def test_text_features_take_the_texts_share_out_of_the_confounder():
    """Without them a confounder that good texts prefer is paid for what the texts did."""
    generator = np.random.default_rng(0)
    good = generator.random(3000) < 0.5
    c = good + generator.normal(size=3000)
    y = 2.0 * good + generator.normal(size=3000)
    texts = [f"good {t}" if g else t for t, g in zip(sentences(generator, 3000), good, strict=True)]
    logs = log(texts, y, c=c)
    features = np.column_stack([good * 1.0, generator.normal(size=(3000, 3))])
    without, knowing = audit_markers(logs), audit_markers(logs, text_features=features)
    assert "good" in without.spurious
    assert codes(without)["MK103"] is Verdict.WARN
    assert "good" not in knowing.spurious
    assert codes(knowing)["MK103"] is Verdict.PASS


def test_attributes_and_lengths_are_markers():
    generator = np.random.default_rng(0)
    c = generator.normal(size=1500)
    tone = np.where(c + generator.normal(size=1500) > 0, "warm", "cold")
    texts = [
        f"{t} {'x ' * int(8 + 3 * v)}" for t, v in zip(sentences(generator, 1500), c, strict=True)
    ]
    logs = log(texts, c + generator.normal(size=1500), {"confounders": ("c",)}, c=c, tone=tone)
    by_column = audit_markers(logs, attributes=("tone",))
    assert {"tone: warm", "tone: cold", "words (log)"} <= set(by_column.spurious)
    told = add_markers(audit_logs(logs).section(), by_column).tables["attributes asked about"]
    assert sorted(told["marker"].to_pylist()) == ["tone: cold", "tone: warm"]
    own = {"length": lambda given: [len(t) for t in given], "noise": generator.normal(size=1500)}
    by_function = audit_markers(logs, attributes=own)
    assert "length" in by_function.spurious
    assert "noise" not in by_function.spurious
    with pytest.raises(errors.InputError, match="noise"):
        audit_markers(logs, attributes={"noise": np.zeros(3)})


def test_sentiment_is_the_mean_valence_of_known_words():
    pytest.importorskip("vaderSentiment")
    texts = ["good good awful", "the table", "a terrible day", "great"] * 10
    found = text_markers(texts, sentiment=True)
    column = found.columns[:, [found.names.index("sentiment")]].toarray().ravel()[:4]
    # The lexicon says good 1.9, awful -2.0, terrible -2.1, great 3.1.
    raw = np.array([(2 * 1.9 - 2.0) / 3, 0, -2.1, 3.1])
    np.testing.assert_allclose(column, (raw - raw.mean()) / raw.std(), atol=1e-12)


def test_markers_in_the_same_texts_are_one():
    found = merge_variants(text_markers(["good morning friends", "hello you"] * 30, rare=20))
    phrases = [n for n, k in zip(found.names, found.kinds, strict=True) if k == "phrase"]
    assert phrases == ["good morning friends", "hello you"]
    assert "morning friends" in found.variants[0]


def test_the_frequent_are_kept_and_the_others_counted():
    texts = sentences(np.random.default_rng(0), 500)
    everything = text_markers(texts, rare=10, most=5000)
    few = text_markers(texts, rare=10, most=10)
    words = [k in ("word", "phrase") for k in few.kinds]
    assert sum(words) == 10
    assert few.left_out > 50
    assert set(few.names) <= set(everything.names)


def test_hostile_texts_stay_inert():
    generator = np.random.default_rng(0)
    c = generator.random(900) < 0.3
    evil = "<script>alert(1)</script> \u202e =cmd|calc \x00\x07 \ud83d\ude00"
    evil = evil.encode("utf-16", "surrogatepass").decode("utf-16")
    texts = [f"{evil} {t}" if v else t for t, v in zip(sentences(generator, 900), c, strict=True)]
    texts[0] += "x" * 1_000_000
    found = audit_markers(log(texts, 2 * c + generator.normal(size=900), c=c))
    assert any("script" in name for name in found.spurious)
    printed = " ".join([found.summary(), *(str(r) for r in found.table().to_pylist())])
    assert not any(character in printed for character in "\u202e\x00\x07")
    assert "<script" not in found.drawing().figure().svg


def test_the_command_names_the_marker(tmp_path, capsys):
    made = Newsletter(rows=500, pairs=2).simulate()
    made.write(tmp_path)
    given = ["audit", str(tmp_path / "logs.parquet"), "--completion", "mail", "--outcome"]
    given += ["minutes_read", "--confounder", "weekday", "--encoder", "tfidf"]
    for more in ([], ["--no-markers"]):
        out = tmp_path / f"run{len(more)}"
        with pytest.raises(SystemExit) as stopped:
            main([*given, *more, "--out", str(out / "1-audit")])
        assert stopped.value.code == 0
        assert ("happy monday" in capsys.readouterr().out) is not bool(more)
        section = artifacts.read_stage(out / "1-audit")
        assert ("markers" in section.tables) is not bool(more)


def test_nothing_to_test_is_said():
    texts = ["a", "?!", "b"] * 20
    found = audit_markers(log(texts, np.arange(60.0), c=np.arange(60.0)), rare=40)
    assert found.spurious == ()
    assert codes(found)["MK101"] is Verdict.PASS
    with pytest.raises(errors.RoleNotDeclared):
        audit_markers(log(texts, np.arange(60.0), {}))
    with pytest.raises(errors.SettingsError):
        audit_markers(log(texts, np.arange(60.0), c=np.arange(60.0)), level=1.5)


def test_markers_of_few_clusters_are_left_out():
    generator = np.random.default_rng(0)
    cluster = np.repeat(np.arange(40), 20)
    texts = [
        f"{t} {'local' if g < 5 else ''}"
        for t, g in zip(sentences(generator, 800), cluster, strict=True)
    ]
    c = generator.normal(size=800)
    roles = {"confounders": ("c",), "cluster": "g"}
    found = audit_markers(log(texts, c + generator.normal(size=800), roles, c=c, g=cluster))
    assert not any("local" in name for name in found.markers.names)


@pytest.mark.parametrize("rows", [30, 90])
def test_leading_components_are_those_of_scikit_learn(rows):
    decomposition = pytest.importorskip("sklearn.decomposition")
    X = np.random.default_rng(0).normal(size=(rows, 60)) * np.linspace(3, 0.1, 60)
    theirs = decomposition.PCA(5, svd_solver="full").fit_transform(X)
    everything = slice(0, len(X))
    ours = leading_components(X, 5).read(everything)[:, ::-1]
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=1e-8)
    np.testing.assert_array_equal(leading_components(X, 60).read(everything), X)


def test_q_values_equal_statsmodels():
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    p = np.random.default_rng(0).beta(0.3, 2, 200)
    expected = multitest.multipletests(p, method="fdr_by")[1]
    np.testing.assert_allclose(q_values(p), expected, rtol=1e-12)
    with_gap = q_values([0.01, np.nan, 0.5])
    np.testing.assert_allclose(with_gap[[0, 2]], q_values([0.01, 0.5]))
    assert np.isnan(with_gap[1])


@pytest.mark.slow
def test_the_greeting_is_found_in_real_texts_and_others_are_left_alone(real_data):
    """100 draws in three sets of real texts; the naive test is taken in on the same draws."""
    path = Path(__file__).parents[2] / "benchmarks" / "markers.py"
    spec = importlib.util.spec_from_file_location("markers_study", path)
    study = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(study)
    study.STRENGTHS = (1.0,)
    rows = []
    for name, count in (("hacker_news", 34), ("news", 33), ("pizza_requests", 33)):
        texts, y = study.read(name)
        markers = study.both_ways(texts)
        vectors = study.text_vectors([*texts, *(study.MARKER + t for t in texts)])
        for seed in range(1000, 1000 + count):
            rows += study.draw(seed, y, markers, vectors, "shuffled", study.STRENGTHS)
    assert len(rows) == 100
    assert np.mean([r["found"] for r in rows]) >= 0.9
    assert np.mean([r["false"] / max(r["called"], 1) for r in rows]) <= 0.05
    # Nothing a text says matters here: every naive discovery is false.
    assert np.mean([r["naive called"] > 0 for r in rows]) > 0.9
    assert np.mean([r["after called"] > 0 for r in rows]) <= 0.12
