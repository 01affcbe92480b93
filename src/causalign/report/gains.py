"""What deconfounding earns: the one number of the report, and the rewards side by side.

Gains are told in units of the outcome, or in money. Rewards are called by what they were fitted on.
"""

from dataclasses import dataclass

from causalign.figures import printable
from causalign.report import wording
from causalign.report.dumbbell import name_marker
from causalign.report.stage_results import Stages, to_float
from causalign.settings import require_number

NAMES = {
    "naive": "as logged",
    "deconfounded": "deconfounded",
    "experimental": "on other such pairs",
}
# Gains below this are told for so many texts at once.
SMALL, AT_ONCE = 0.1, 1000


@dataclass(frozen=True, slots=True)
class Money:
    """Say what one of the outcome is worth, so that gains are told in money.

    Parameters
    ----------
    value_per_unit : float
        What one of the outcome as logged is worth, such as 0.35 for a click.
    currency : str
        How the money is called, such as "EUR".

    Raises
    ------
    SettingsError
        When the value is no number above 0.
    """

    value_per_unit: float
    currency: str = ""

    def __post_init__(self) -> None:
        require_number("value_per_unit", self.value_per_unit, above=0)


@dataclass(frozen=True, slots=True)
class Headline:
    """The one number of the report, and what it is."""

    number: str
    interval: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """A small table in words: a name, a head, rows; cells that are right are marked."""

    name: str
    head: tuple[str, ...]
    rows: tuple[tuple[tuple[str, bool], ...], ...]
    note: str = ""


def write_headline(stages: Stages, money: Money | None) -> Headline | None:
    """Return the first that the stages support: earned, tuned, ranked, paid for a marker."""
    made = (
        _gain_of_choice(stages, money),
        gain_of_policy(stages),
        _gain_in_ranking(stages),
        _wrong_credit(stages),
    )
    return next(filter(None, made), None)


def _gain_of_choice(stages: Stages, money: Money | None) -> Headline | None:
    names = ("earned by choosing", "earned lower", "earned upper", "earned unit")
    estimate, lower, upper, unit = (stages.number("evaluate", name) for name in names)
    if estimate is None:
        return None
    pairs = stages.rows("evaluate", "earned by choosing between two texts")[0]["pairs"]
    factor, worded = _word_unit(str(unit), to_float(estimate), money)
    values = [to_float(value) * factor for value in (estimate, lower, upper)]
    number, interval = wording.with_interval(*values)
    return Headline(
        f"{number} {worded}",
        interval,
        "earned when the deconfounded reward, and not the one fitted as logged, chooses between "
        f"two texts; measured on {wording.number(to_float(pairs))} pairs that no fit has seen",
    )


def _word_unit(unit: str, size: float, money: Money | None) -> tuple[float, str]:
    """Return by what a gain is multiplied, and what it then is."""
    thing, per, trials = printable(unit, 60).partition(" per ")
    worth = 1.0 if money is None else money.value_per_unit
    many = abs(size * worth) < SMALL
    each = trials if per else "texts" if many else "text"
    if money is not None:
        thing = printable(money.currency, 20)
    words = f"{thing} per {f'{AT_ONCE:,} ' if many else ''}{each}"
    return worth * (AT_ONCE if many else 1.0), words.strip()


def gain_of_policy(stages: Stages) -> Headline | None:
    """Return what a judge that training never saw finds the deconfounded policy to gain."""
    names = ("reward gained by deconfounding", "lower", "upper")
    values = [stages.number("policy", name) for name in names]
    if None in values:
        return None
    number, interval = wording.with_interval(*map(to_float, values))
    units, judge = (printable(stages.detail("policy", name), 80) for name in ("units", "judge"))
    return Headline(
        f"{number} {units}",
        interval,
        f"more for texts of the policy tuned on the deconfounded outcome, as {judge} rates them",
    )


def _gain_in_ranking(stages: Stages) -> Headline | None:
    if stages.compared is None:
        return None
    rows = stages.rows("evaluate", "ranking of held-out pairs")
    names = (f"AUC above {rows[0]['reward']}", "above lower", "above upper")
    number, interval = wording.with_interval(*(to_float(rows[1][name]) for name in names))
    pairs = stages.number("evaluate", "held-out pairs")
    return Headline(
        f"{number} AUC",
        interval,
        "gained by the deconfounded reward over the one fitted as logged in ranking "
        f"{wording.number(to_float(pairs))} pairs that no fit has seen (½ is chance, 1 is perfect)",
    )


def _wrong_credit(stages: Stages) -> Headline | None:
    rows = [row for row in stages.rows("audit", "markers") if row["spurious"]]
    if not rows:
        return None
    row = max(rows, key=lambda r: abs(to_float(r["distance"])))
    ends = (
        to_float(row["distance"]),
        to_float(row["distance lower"]),
        to_float(row["distance upper"]),
    )
    number, interval = wording.with_interval(*ends)
    unit = printable(stages.log.get("unit of effects", "units of the outcome"), 60)
    return Headline(
        f"{number} {unit}",
        interval,
        f"credited to {name_marker(row)} that it does not cause: the confounders do",
    )


def compare_rewards(stages: Stages, money: Money | None) -> Comparison | None:
    """Return the rewards by two measures: pairs ranked rightly, and what choosing earns."""
    ranking, worded = stages.rows("evaluate", "ranking of held-out pairs"), ""
    if not ranking:
        return None
    earned = stages.rows("evaluate", "earned by choosing between two texts")
    head = ["reward fitted", "pairs ranked rightly"]
    if earned:
        best = max(abs(to_float(row["gain"])) for row in earned)
        factor, worded = _word_unit(str(earned[0]["unit"]), best, money)
        head.append("earned by choosing")
    else:
        head.append("AUC")
    rows = []
    for place, row in enumerate(ranking):
        percent = [100 * to_float(row[n]) for n in ("accuracy", "accuracy lower", "accuracy upper")]
        cells = [name_reward(str(row["reward"])), wording.spread(*percent, unit="\u00a0%")]
        if earned:
            gains = [to_float(earned[place][name]) * factor for name in ("gain", "lower", "upper")]
            cells.append(wording.spread(*gains, sign=True))
        else:
            ends = (to_float(row[name]) for name in ("AUC", "AUC lower", "AUC upper"))
            cells.append(wording.spread(*ends))
        rows.append(tuple((cell, False) for cell in cells))
    note = "95 % intervals in brackets."
    if earned:
        note += f" Earned: {worded}, above the toss of a coin."
    if about := printable(stages.detail("evaluate", "judges"), 600):
        note += f" {about}"
    return Comparison("Rewards, on pairs that no fit has seen", tuple(head), tuple(rows), note)


def name_reward(reward: str) -> str:
    """Return what a reward is called: by what it was fitted on."""
    first, _, rest = printable(reward, 60).partition(" ")
    return f"{NAMES.get(first, first)} {rest}".strip()
