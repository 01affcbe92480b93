"""The first screen: what a reader who reads nothing else takes away, from the tables of the stages.

Everything stands in tables and numbers that the stages stored, so that the report of an old run
can be written again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from causalign.figures import printable
from causalign.report import wording
from causalign.report.dumbbell import Dumbbell, connect_effects, is_first, name_marker
from causalign.report.gains import (
    Comparison,
    Headline,
    Money,
    compare_rewards,
    gain_of_policy,
    name_reward,
    write_headline,
)
from causalign.report.stage_results import Row, Stages, to_float
from causalign.results import Section

TEXTS_SHOWN = 3
TEXT_LENGTH = 160
SENTENCE_LENGTH = 600
MARKERS_NAMED = 3


@dataclass(frozen=True, slots=True)
class Opening:
    """What the first screen shows; a part that the stages do not support is None or empty.

    ``failure`` says why nothing but a sentence can be shown.
    """

    sentence: str
    headline: Headline | None
    rewards: Comparison | None
    markers: Dumbbell | None
    texts: Comparison | None
    advice: tuple[tuple[str, str], ...]
    facts: tuple[str, ...]
    failure: str = ""


def write_opening(
    sections: Sequence[Section], *, answer: str, money: Money | None = None, made: str = ""
) -> Opening:
    """Return the first screen of a report of these sections.

    Parameters
    ----------
    sections : sequence of Section
        What the stages stored.
    answer : str
        What to open on where no audit says whether the log is confounded.
    money : Money, optional
        What one of the outcome is worth.
    made : str
        The day on which the last stage ended.
    """
    stages = Stages(tuple(sections))
    return Opening(
        _sentence(stages) or say_answer(answer),
        write_headline(stages, money),
        compare_rewards(stages, money),
        connect_effects(stages.rows("audit", "markers"), stages.log.get("unit of effects", "")),
        _show_texts(stages),
        tuple(_advise(stages)),
        tuple(_facts(stages, made)),
    )


def say_answer(answer: str) -> str:
    """Return the answer of a run as a sentence or two to open on."""
    return printable(answer, SENTENCE_LENGTH)


def _sentence(stages: Stages) -> str:
    """Say whether the log is confounded, and what that cost a reward."""
    by = stages.number("audit", "confounded_by")
    if by is None:
        return ""
    confounded = by != "nothing"
    first = (
        f"The log is confounded by {printable(by, 120)}"
        if confounded
        else "No recorded confounder both shows in the texts and moves the outcome"
    )
    return f"{first}{_say_cost(stages, confounded)}."


def _say_cost(stages: Stages, confounded: bool) -> str:
    ranking = {
        str(row["reward"]): row for row in stages.rows("evaluate", "ranking of held-out pairs")
    }
    if stages.compared is None:
        return "; what that costs a reward was not judged" if confounded else ""
    before, after = (to_float(ranking[name]["accuracy"]) for name in stages.compared)
    ranks = f"a reward fitted on it as logged ranks {before:.0%} of unseen pairs rightly"
    then = f"{after:.0%} once the confounders’ effect is taken out"
    verdict = stages.verdict("EV102")
    if verdict == "pass":
        return f": {ranks}, {then}"
    if verdict == "fail":
        return f", but taking that out made the reward worse: {ranks}, {then}"
    return f", but no difference can be seen in what a reward learns: {ranks}, {then}"


def _show_texts(stages: Stages) -> Comparison | None:
    written = stages.rows("policy", "texts side by side")
    if written:
        written_by = {
            "before": "before tuning",
            "naive": "tuned on the outcome as logged",
            "deconfounded": "tuned on the deconfounded one",
        }
        if stages.detail("policy", "method") == "best-of":
            written_by = {
                "before": "as the writer wrote",
                "naive": "chosen by the reward as logged",
                "deconfounded": "chosen by the deconfounded one",
            }
        return _pick(written, "What the model writes", written_by, _say_shares(stages))
    differ = stages.rows("evaluate", "texts on which the rewards differ")
    if differ:
        one, other = (name for name in differ[0] if name != "better")
        chosen_by = {
            one: "the reward as logged would send",
            other: "the deconfounded one would send",
        }
        note = "The widest disagreements; bold is what did better."
        return _pick(differ, "Where the rewards disagree", chosen_by, note)
    liked = stages.rows("evaluate", "texts that each reward rates highest")
    if not liked:
        return None
    rated_by = {name: name_reward(name) for name in liked[0]}
    return _pick(liked, "The texts that each reward rates highest", rated_by)


def _say_shares(stages: Stages) -> str:
    """Say how often each policy writes a marker."""
    shares: dict[str, list[str]] = {}
    for row in stages.rows("policy", "share of texts with a marker"):
        shares.setdefault(printable(row["marker"], 40), []).append(f"{to_float(row['share']):.0%}")
    parts = [f"“{marker}” in {' → '.join(each)} of texts" for marker, each in shares.items()]
    return f"{'; '.join(parts[:TEXTS_SHOWN])}." if parts else ""


def _pick(rows: Sequence[Row], name: str, columns: dict[str, str], note: str = "") -> Comparison:
    """Return the first texts of some columns, which are named by what wrote or chose them."""
    cells = tuple(
        tuple(
            (printable(row[column], TEXT_LENGTH) or "(empty)", row.get("better") == column)
            for column in columns
        )
        for row in rows[:TEXTS_SHOWN]
    )
    return Comparison(name, tuple(columns.values()), cells, note)


def _advise(stages: Stages) -> list[tuple[str, str]]:
    """Return what to do, or why nothing can be advised."""
    advice = [("Use", _say_what_to_use(stages))] if stages.has_rewards else []
    rows = stages.rows("audit", "markers")
    words = [row for row in rows if is_first(row) and row["unit"] == "presence"]
    empty = [r for r in words if to_float(r["naive"]) > 0 >= to_float(r["deconfounded lower"])]
    if empty:
        named = wording.join_words(name_marker(row) for row in empty[:MARKERS_NAMED])
        paid = f"{named}: paid for as logged, and not seen to add anything."
        advice.append(("Do not count on", paid))
    worthy = [row for row in words if to_float(row["deconfounded lower"]) > 0]
    hidden = [r for r in worthy if to_float(r["naive"]) < to_float(r["deconfounded"])]
    if hidden:
        named = wording.join_words(name_marker(row) for row in hidden[:MARKERS_NAMED])
        advice.append(("Write more of", f"{named}: worth more than the log shows."))
    if test := _say_what_to_test(stages):
        advice.append(("Test next", test))
    return advice


def _say_what_to_use(stages: Stages) -> str:
    gain, judge = gain_of_policy(stages), stages.detail("policy", "judge")
    if gain is not None and stages.verdict("PO120") == "pass":
        chosen = stages.detail("policy", "method") == "best-of"
        use = (
            "the texts in 4-policy/best-of-deconfounded"
            if chosen
            else ("the model in 4-policy/deconfounded/model")
        )
        other = "chosen" if chosen else "of the one tuned"
        return (
            f"{use}: {printable(judge, 80)} rates its texts {gain.number} above those {other} as "
            f"logged ({gain.interval})."
        )
    verdict = stages.verdict("EV102")
    if verdict == "pass":
        return (
            "the reward in 3-reward/deconfounded: it ranks unseen pairs better than the one "
            "fitted as logged."
        )
    if verdict == "fail":
        return (
            "neither reward yet: deconfounding made the ranking worse. Ask which of the "
            "confounders is an effect of the text."
        )
    if verdict == "warn":
        return (
            "either reward: on these pairs no difference is seen. The deconfounded one is the "
            "safer choice where what travels with the texts may change."
        )
    return "no reward on this evidence alone: nothing judged whether it is right about new texts."


def _say_what_to_test(stages: Stages) -> str:
    verdict = stages.verdict("EV102")
    if stages.number("audit", "confounded_by") is None:
        return ""
    if verdict in ("", "not applicable"):
        return (
            "a few texts against each other, drawn at random: “causalign design” chooses them, "
            "and the pairs then judge the rewards."
        )
    if verdict == "pass":
        return "texts on which the two rewards disagree: “causalign design” ranks them."
    return "more pairs: “causalign design” chooses those that tell the rewards apart."


def _facts(stages: Stages, made: str) -> list[str]:
    log = stages.log
    facts = []
    if "rows" in log:
        facts.append(f"{wording.number(int(log['rows']))} rows fitted")
        facts.append(f"{wording.number(int(log['rows held out']))} held out")
    if "first day" in log:
        facts.append(f"{log['first day']} to {log['last day']}")
    if made:
        facts.append(f"run of {made}")
    if "hash" in log:
        facts.append(f"data {log['hash'][:8]}")
    return facts
