"""Which texts to test next: pairs chosen by what their tests would teach, or earn."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.special import ndtr

from causalign import figures
from causalign.errors import SettingsError
from causalign.experiment.candidates import (
    FEWEST_VALUED,
    CandidatePairs,
    Candidates,
    ReaderNoise,
    draw_pairs,
    prune_pairs,
)
from causalign.experiment.findings import pairs_considered, readers_suffice, scale_fits
from causalign.files import write_whole
from causalign.lm.words import parts_of, read_phrases, read_signs
from causalign.logs import Logs
from causalign.logs.outcome_model import UncertainReward, predict_outcome
from causalign.results import Finding, Result, Section
from causalign.settings import require_choice, require_number
from causalign.stats.optimal_design import (
    ChosenPairs,
    best_after,
    choose_for_best,
    choose_informative,
    pair_variance,
    readers_for_power,
)

Array = NDArray[np.float64]
Criterion = Literal["information", "best-text"]
CRITERIA: dict[Criterion, str] = {
    "information": "what they teach about the rewards of all texts",
    "best-text": "the value of the best text that will then be known",
}
UNITS: dict[Criterion, str] = {"information": "nats", "best-text": "reward"}
FORMATS = (".csv", ".jsonl", ".parquet")
# Words and signs that a table shows of what differs between two texts.
SHOWN = 8


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Design(Result):
    """The tests to run next, the most useful first, and what each would settle.

    Attributes
    ----------
    first, second : tuples of t str
        The two arms of each test.
    group, prompt : tuples of t str, or None
        Where the two compete, and what they answer.
    difference, standard_error : (t,) arrays
        Of the rewards, first less second, as the reward knows it before any of these tests.
    gain : (t,) array
        What each test adds to those before it: nats of information, or the reward of the best
        text, on average over groups.
    readers_needed : (t,) array
        Readers an arm for a test that finds the predicted difference with the power asked for.
    readers : int
        Readers an arm as asked for.
    power : float
    criterion : {"information", "best-text"}
    numbers : mapping from str to float
        What was chosen from, and what is known before and after.
    findings : tuple of Finding
    """

    first: tuple[str, ...]
    second: tuple[str, ...]
    group: tuple[str, ...] | None
    prompt: tuple[str, ...] | None
    difference: Array
    standard_error: Array
    gain: Array
    readers_needed: Array
    readers: int
    power: float
    criterion: Criterion
    numbers: dict[str, float]
    findings: tuple[Finding, ...]

    def table(self) -> pa.Table:
        """Return one row for each test, the most useful first."""
        count = len(self.first)
        sides = list(zip(self.first, self.second, strict=True))
        columns: dict[str, object] = {"test": list(_names(count))}
        if self.group is not None:
            columns["group"] = list(self.group)
        columns |= {
            "first": list(self.first),
            "second": list(self.second),
            "only_in_first": [_name_markers(a, b) for a, b in sides],
            "only_in_second": [_name_markers(b, a) for a, b in sides],
            "difference": self.difference,
            "standard_error": self.standard_error,
            "p_first_better": ndtr(self.difference / self.standard_error),
            f"gain_{UNITS[self.criterion]}": self.gain,
            "readers_needed": self.readers_needed,
        }
        return pa.table(columns)

    def arms(self) -> pa.Table:
        """Return one row for each arm: test, arm, text, readers, share of the test's traffic."""
        count = len(self.first)
        columns: dict[str, object] = {"test": [name for name in _names(count) for _ in "ab"]}
        for name, values in (("group", self.group), ("prompt", self.prompt)):
            if values is not None:
                columns[name] = [value for value in values for _ in "ab"]
        columns |= {
            "arm": ["a", "b"] * count,
            "text": [t for pair in zip(self.first, self.second, strict=True) for t in pair],
            "readers": [self.readers] * (2 * count),
            "share_of_traffic": [0.5] * (2 * count),
        }
        return pa.table(columns)

    def write(self, path: str | Path) -> Path:
        """Write the arms as csv, jsonl or parquet, by the name's ending; return the path."""
        target = check_format(path)
        with write_whole(target) as partial:
            if target.suffix == ".csv":
                pacsv.write_csv(self.arms(), partial)
            elif target.suffix == ".parquet":
                pq.write_table(self.arms(), partial)
            else:
                rows = self.arms().to_pylist()
                lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
                partial.write_text("".join(lines), "utf-8")
        return target

    def answer(self) -> str:
        """Return what to run, and what will then be known."""
        n = self.numbers
        return (
            f"Run {len(self.first):,} tests of {self.readers:,} readers an arm, chosen among "
            f"{n['pairs']:,.0f} pairs of {n['texts']:,.0f} texts by {CRITERIA[self.criterion]}. "
            f"They bring the standard error of a difference between texts that compete from "
            f"{n['standard_error']:.3g} to {n['standard_error_after']:.3g}, and the best text that "
            f"will then be known is expected to earn {n['best_after'] - n['best']:.3g} more."
        )

    def details(self) -> Sequence[str]:
        """Return the first tests, a line each."""
        rows = self.table().slice(0, 3).to_pylist()
        return [
            f"{row['test']}: “{row['first']}” against “{row['second']}”: {row['difference']:+.3g} "
            f"± {row['standard_error']:.2g}"
            for row in rows
        ]

    def drawing(self) -> figures.Drawing:
        """Return the predicted difference of each test with its interval."""
        half = 1.96 * self.standard_error
        return figures.forest(
            "next-tests",
            list(_names(len(self.first))),
            self.difference,
            self.difference - half,
            self.difference + half,
            xlabel="reward, first less second",
            caption="What the reward predicts of each proposed test, with 95 % intervals.",
            alt=self.answer(),
        )

    def section(self) -> Section:
        """Return the design as a section of a report."""
        return Section(
            stage="experiment",
            question="Which texts should be tested next?",
            answer=self.answer(),
            assumption="The reward is linear in its features, with the covariance that it states.",
            numbers=self.numbers,
            tables={"next tests": self.table()},
            figures=figures.draw_figures(self.drawing()),
            findings=self.findings,
        )


def design(
    candidates: Logs | Candidates,
    reward: UncertainReward,
    *,
    tests: int = 20,
    readers: int = 2000,
    criterion: Criterion = "information",
    noise: ReaderNoise | None = None,
    power: float = 0.8,
    seed: int = 0,
) -> Design:
    """Choose the tests to run next: pairs of texts, greedily, each given those before it.

    With posterior rewards ``r ~ N(μ, FF')``, a test of texts i and j with n readers an arm finds
    ``r_i - r_j`` with variance ``s² = 2(σ²/n + τ²)``. "information" takes the pair that adds most
    to the log determinant of what is known, ``½ ln(1 + ‖F_i - F_j‖²/s²)``; "best-text" the pair
    after whose test the best text of each group is expected to be best (knowledge gradient). The
    covariance is updated by rank one after each choice; nothing is fitted again.

    Assumption: the reward is linear in its features, and its covariance is right.

    Parameters
    ----------
    candidates : Logs or Candidates
        Of logs the distinct texts, within their group, or else their prompt.
    reward : UncertainReward
        A reward with ``covariance_factor``, such as a model that Ridge, WithinTests or Pooled
        fitted.
    tests : int
        How many.
    readers : int
        For each of the two arms of a test.
    criterion : {"information", "best-text"}
        What a test is chosen for: to learn what texts do, or to find the best ones.
    noise : ReaderNoise, optional
        How much one reader's outcome varies; that of the logs, unless given.
    power : float
        With which the readers needed find the predicted difference, at the 5 % level.
    seed : int
        Of the pairs that are drawn where there are more than a million.

    Returns
    -------
    Design

    Raises
    ------
    SettingsError
        For settings out of range, more tests than pairs, or a reward without a covariance.
    InputError
        For candidates of which no two can compete.

    References
    ----------
    Frazier, Powell and Dayanik (2009), INFORMS Journal on Computing 21; Fedorov (1972), Theory of
    Optimal Experiments.
    """
    require_number("tests", tests, least=1, whole=True)
    require_number("readers", readers, least=1, whole=True)
    require_number("power", power, above=0, below=1)
    require_choice("criterion", criterion, tuple(CRITERIA))
    factor_of = getattr(reward, "covariance_factor", None)
    if factor_of is None:
        raise SettingsError(
            "This reward does not say how sure it is (it has no covariance_factor), so what a test "
            "would teach is unknown. Fit one with Ridge, WithinTests or Pooled."
        )
    noise = _read_noise(candidates, noise)
    if isinstance(candidates, Logs):
        candidates = Candidates.of(candidates)
    pool = draw_pairs(candidates, seed)
    if len(pool.first) < tests:
        raise SettingsError(
            f"{tests:,} tests were asked for, but {len(candidates):,} candidates make only "
            f"{len(pool.first):,} pairs of different texts that may compete. Ask for fewer tests, "
            "or give more candidates."
        )
    mean = predict_outcome(reward, candidates.texts, candidates.prompts)
    factor = np.asarray(factor_of(candidates.texts, candidates.prompts), dtype=np.float64)
    variance = noise.of_difference(readers)
    group = candidates.codes
    if criterion == "information":
        chosen = choose_informative(factor, pool.first, pool.second, variance, tests)
    else:
        pool = prune_pairs(pool, mean, factor, group, max(FEWEST_VALUED, 4 * tests))
        chosen = choose_for_best(mean, factor, pool.first, pool.second, variance, tests, group)
    asked = _Asked(readers, criterion, power, noise)
    return _conclude(candidates, mean, factor, pool, chosen, asked)


def check_format(path: str | Path) -> Path:
    """Return where a design is written; raise ``SettingsError`` for an ending without writer.

    Parameters
    ----------
    path : path
        Ends in .csv, .jsonl or .parquet.
    """
    target = Path(path)
    if target.suffix not in FORMATS:
        raise SettingsError(
            f"A design is written as {', '.join(FORMATS)}; {target.name!r} ends in none of them."
        )
    return target


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a design was asked for."""

    readers: int
    criterion: Criterion
    power: float
    noise: ReaderNoise


def _read_noise(candidates: Logs | Candidates, noise: ReaderNoise | None) -> ReaderNoise:
    if noise is not None:
        return noise
    if isinstance(candidates, Logs):
        return ReaderNoise.of(candidates)
    raise SettingsError(
        "Say how much one reader's outcome varies: noise=ReaderNoise.of_rate(0.02) for an event, "
        "or noise=ReaderNoise(variance) in squared units of the reward."
    )


def _conclude(
    candidates: Candidates,
    mean: Array,
    factor: Array,
    pool: CandidatePairs,
    chosen: ChosenPairs,
    asked: _Asked,
) -> Design:
    """Return the chosen tests, the better text first, and what is known before and after them."""
    i, j = pool.first[chosen.place], pool.second[chosen.place]
    i, j = np.where(mean[i] >= mean[j], i, j), np.where(mean[i] >= mean[j], j, i)
    difference = mean[i] - mean[j]
    needed = readers_for_power(difference, asked.noise.variance, power=asked.power)
    before = pair_variance(factor, pool.first, pool.second)
    moved = pair_variance(chosen.changes, pool.first, pool.second)
    best, after = best_after(mean, chosen.changes, candidates.codes)
    labels, prompts = candidates.labels, candidates.prompts

    def pick(values: Sequence[str]) -> tuple[str, ...]:
        return tuple(values[row] for row in i)

    return Design(
        first=pick(candidates.texts),
        second=tuple(candidates.texts[row] for row in j),
        group=None if labels is None else pick(labels),
        prompt=None if prompts is None else pick(prompts),
        difference=difference,
        standard_error=np.sqrt(pair_variance(factor, i, j)),
        gain=chosen.gain,
        readers_needed=needed,
        readers=asked.readers,
        power=asked.power,
        criterion=asked.criterion,
        numbers={
            "texts": float(len(candidates)),
            "pairs": float(pool.total),
            "tests": float(len(i)),
            "readers": float(asked.readers),
            "standard_error": float(np.sqrt(before.mean())),
            "standard_error_after": float(np.sqrt(np.maximum(before - moved, 0.0).mean())),
            "best": best,
            "best_after": after,
        },
        findings=(
            readers_suffice(needed, asked.readers, asked.power),
            pairs_considered(len(pool.first), pool.total, pool.how),
            scale_fits(mean, asked.noise.rate, asked.noise.scale),
        ),
    )


def _names(count: int) -> list[str]:
    width = len(str(count))
    return [f"test-{number:0{width}d}" for number in range(1, count + 1)]


def _name_markers(text: str, other: str) -> str:
    """Return the words and signs that a text has and another has not, as many as a table shows."""
    there = {*_read_markers(other)}
    own = [marker for marker in dict.fromkeys(_read_markers(text)) if marker not in there]
    more = f" and {len(own) - SHOWN} more" if len(own) > SHOWN else ""
    return ", ".join(own[:SHOWN]) + more


def _read_markers(text: str) -> list[str]:
    return [word for word in read_phrases(text) if len(parts_of(word)) == 1] + read_signs(text)
