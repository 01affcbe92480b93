"""Every result looks alike: a short repr, a card of HTML that runs nothing, a summary."""

import dataclasses
import re
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pytest

import causalign as ca
from causalign.errors import SettingsError
from causalign.results import Card, Finding, Result, Section, Verdict
from tests.architecture.source import exported, namespaces

FINDINGS = tuple(
    Finding(f"AA10{number}", "title", verdict, f"explanation {number}")
    for number, verdict in enumerate([Verdict.PASS, Verdict.WARN, Verdict.PASS, Verdict.FAIL])
)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Estimate(Result):
    words: str
    findings: tuple[Finding, ...] = FINDINGS
    rows: list[str] = field(default_factory=lambda: ["<script>", "b"])

    def answer(self) -> str:
        return self.words

    def details(self) -> list[str]:
        return ["Holds if: x < y."]

    def table(self) -> pa.Table:
        return pa.table({"<b>": self.rows})

    def section(self) -> Section:
        return Section("stage", "question", self.answer())


def test_repr_has_at_most_12_lines_and_counts_the_findings():
    assert repr(Estimate("The effect is 1.")) == (
        "Estimate\n  The effect is 1.\n  findings: 2 pass, 1 warn, 1 fail"
    )
    lines = repr(Estimate("word " * 1000)).splitlines()
    assert len(lines) <= 12
    assert max(map(len, lines)) <= 100


def test_html_is_escaped_and_its_table_is_cut():
    html = Estimate("a < b", rows=["<script>"] * 25)._repr_html_()
    assert "<script>" not in html
    assert "<b>" not in html
    assert "a &lt; b" in html
    assert "... and 5 more rows" in html
    assert "AA101" in html
    assert "AA100" not in html


def test_summary_lists_what_did_not_pass():
    assert Estimate("The effect is 1.").summary().splitlines() == [
        "The effect is 1.",
        "Holds if: x < y.",
        "[warn] AA101 title: explanation 1",
        "[fail] AA103 title: explanation 3",
        "findings: 2 pass, 1 warn, 1 fail",
    ]


def test_without_findings_nothing_is_counted_and_without_a_drawing_nothing_is_drawn():
    bare = Estimate("The effect is 1.", ())
    assert "findings" not in repr(bare)
    with pytest.raises(SettingsError, match="nothing to draw of this Estimate"):
        bare.plot()


HOSTILE = "<script>alert(1)</script>"
CLASSES = {
    thing: full
    for namespace in namespaces()
    for full, thing in exported(namespace)
    if isinstance(thing, type)
}
LARGE = re.compile(r"ndarray|pyarrow|Logs|Pairs")


def whole(count: int = 240) -> ca.Logs:
    """Logs whose words, columns and categories would run if a page let them."""
    rng = np.random.default_rng(0)
    day = rng.integers(0, 2, count)
    texts = [f"{HOSTILE if d else 'mails'} number {i} of {i % 7}" for i, d in enumerate(day)]
    columns = {
        "mail": texts,
        "minutes": day + rng.normal(size=count),
        "day": np.where(day, HOSTILE, "Monday"),
        "test": np.arange(count) // 2,
    }
    return ca.Logs.of(columns, ca.Roles("mail", "minutes", confounders=("day",), group="test"))


@pytest.fixture(scope="module")
def shown() -> dict[str, object]:
    """One of each kind that a person meets on the way from logs to a policy's value."""
    logs = whole()
    encoder = ca.lm.load_encoder("hashing")
    effect = ca.deconfound.OrdinaryLeastSquares().fit(logs)
    fit = ca.reward.Ridge().fit(logs, encoder)
    pairs = ca.reward.Pairwise().fit(logs, encoder)
    ranking = ca.evaluate.held_out({"ridge": fit.model, HOSTILE: pairs.model}, pairs=logs.pairs())
    simulated = ca.simulate.Newsletter(rows=200).simulate()
    return {
        "logs": logs,
        "roles": logs.roles,
        "pairs": logs.pairs(),
        "audit": ca.audit.audit_logs(logs, encoder),
        "effect": effect,
        "weights": ca.deconfound.PermutationWeighting().fit(logs, encoder),
        "fit": fit,
        "estimate": fit.estimate,
        "model": fit.model,
        "head": fit.model.head,
        "pairwise": pairs,
        "diagnostics": ca.reward.diagnose(fit.out_of_fold, logs.outcome),
        "ranking": ranking,
        "cross-fitted": ca.reward.cross_fit(ca.reward.Ridge(), logs, encoder),
        "simulated": simulated,
        "design": ca.simulate.Pricing(rows=200).simulate(),
        "plan": ca.experiment.plan(0.1, 0.01),
        "section": effect.section(),
    }


@pytest.mark.parametrize("thing", CLASSES, ids=CLASSES.values())
def test_no_class_writes_out_arrays_or_tables(thing):
    if not dataclasses.is_dataclass(thing) or not thing.__dataclass_params__.repr:
        return
    held = [
        one.name for one in dataclasses.fields(thing) if one.repr if LARGE.search(str(one.type))
    ]
    functions = [one for one in held if "Callable" in str(thing.__dataclass_fields__[one].type)]
    assert held == functions


@pytest.mark.parametrize("thing", CLASSES, ids=CLASSES.values())
def test_results_and_cards_look_as_all_do(thing):
    for alike in (Result, Card):
        if issubclass(thing, alike):
            assert thing._repr_html_ is alike._repr_html_
            assert thing.__repr__ is alike.__repr__ or thing is ca.Roles


KINDS = (
    *("logs", "roles", "pairs", "audit", "effect", "weights", "fit", "estimate", "model", "head"),
    *("pairwise", "diagnostics", "ranking", "cross-fitted", "simulated", "design", "plan"),
    "section",
)


@pytest.mark.parametrize("kind", KINDS)
def test_a_few_lines_and_a_card_that_runs_nothing(shown, kind):
    lines = repr(shown[kind]).splitlines()
    assert len(lines) <= 12
    assert max(map(len, lines)) <= 160
    card = shown[kind]._repr_html_()
    assert "<script" not in card
    ElementTree.fromstring(card.replace("&nbsp;", " "))


@pytest.mark.parametrize("kind", ["effect", "fit", "diagnostics", "ranking"])
def test_the_card_of_a_result_shows_its_picture_in_the_colours_of_the_page(shown, kind):
    card = shown[kind]._repr_html_()
    assert "<svg" in card
    assert "currentColor" in card
    assert "<figcaption>" in card


def test_figures_and_drawings_are_pictures(shown, monkeypatch):
    drawing = shown["effect"].drawing()
    assert repr(drawing).startswith("Drawing: confounder-effects\n  Effect of the confounders")
    assert "<svg" in drawing._repr_html_()
    figure = drawing.figure()
    assert repr(figure).startswith("Figure: confounder-effects\n")
    # What was read from a folder stands in a page as an image, in which no script runs.
    stored = dataclasses.replace(figure, svg=f"<svg>{HOSTILE}</svg>", alt='" onload="x')
    assert "<script" not in stored._repr_html_()
    image = ElementTree.fromstring(stored._repr_html_()).find("img")
    assert set(image.attrib) == {"alt", "src", "style"}
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert drawing._repr_html_() is None
    assert "<svg" not in shown["effect"]._repr_html_()


def test_roles_show_what_is_declared():
    roles = ca.Roles("mail", "minutes", confounders=("day",))
    assert repr(roles) == "Roles(completion='mail', outcome='minutes', confounders=('day',))"
    assert eval(repr(roles), {"Roles": ca.Roles}) == roles
