"""Roles are guessed from names and values, and what came after the text is left out."""

import numpy as np
import pyarrow as pa
import pytest

from causalign.errors import InputError, SettingsError
from causalign.logs.role_guesses import guess_roles


def table(rows=400, **more):
    rng = np.random.default_rng(0)
    clicks = rng.integers(0, 20, rows)
    return pa.table(
        {
            "mailId": [f"m{i}" for i in range(rows)],
            "headline": [f"a headline about number {i}" for i in range(rows)],
            "question": [f"what about number {i % 9} then" for i in range(rows)],
            "clicks": clicks,
            "shown": clicks + rng.integers(1, 50, rows),
            "clicks_doubled": 2.0 * clicks + 1,
            "revenue": rng.normal(size=rows),
            "test_id": [i // 4 for i in range(rows)],
            "test_week": rng.integers(1, 10, rows),
            "author": [f"person {i % 40}" for i in range(rows)],
            "sent_on": [f"2026-01-{1 + i % 28:02d}" for i in range(rows)],
            "price": rng.normal(size=rows),
            "weekday": [("mon", "tue")[i % 2] for i in range(rows)],
            "version": ["1"] * rows,
            **more,
        }
    )


def test_every_column_gets_the_role_that_its_name_and_values_say():
    guesses = guess_roles(table())
    parts = {guess.column: guess.part for guess in guesses.columns}
    assert parts == {
        "mailId": "", "headline": "completion", "question": "prompt", "clicks": "outcome",
        "shown": "trials", "clicks_doubled": "", "revenue": "", "test_id": "group",
        "test_week": "confounder", "author": "cluster", "sent_on": "time", "price": "confounder",
        "weekday": "confounder", "version": "",
    }  # fmt: skip
    roles = guesses.roles
    assert roles.confounders == ("test_week", "price", "weekday")
    assert roles.categorical == ("test_week",)
    assert (roles.group, roles.cluster, roles.trials) == ("test_id", "author", "shown")


def test_what_goes_with_the_outcome_came_after_the_text_whatever_its_name():
    clicks = table()["clicks"].to_numpy()
    guesses = guess_roles(table(mood=clicks + 0.01 * np.arange(400)))
    mood = next(guess for guess in guesses.columns if guess.column == "mood")
    assert (mood.part, "came after the text" in mood.because) == ("", True)


def test_names_that_tell_the_outcome_came_after_the_text():
    clicks = table()["clicks"].to_numpy()
    told = table(badge=[("low", "some", "many")[min(c // 7, 2)] for c in clicks])
    assert "badge" in guess_roles(told).columns_of("confounder")  # it tells part of it
    told = table(badge=[f"level {c}" for c in clicks])
    badge = next(guess for guess in guess_roles(told).columns if guess.column == "badge")
    assert (badge.part, "came after the text" in badge.because) == ("", True)


def test_counts_of_reviews_stand_in_for_an_outcome_and_the_time_for_a_confounder():
    reviews = np.random.default_rng(0).integers(0, 9, 60)
    dates = [f"{1 + i % 12}/{1 + i % 28}/2024 9:{i % 60:02d}" for i in range(60)]
    texts = [f"rooms with a view number {i}" for i in range(60)]
    columns = {"name": texts, "number_of_reviews": reviews, "last_review": dates, "sent": dates}
    guesses = guess_roles(pa.table(columns))
    assert guesses.roles.outcome == "number_of_reviews"
    assert guesses.roles.time == "sent"
    assert guesses.roles.confounders == ("sent",)


def test_what_is_known_is_not_guessed():
    guesses = guess_roles(table(), outcome="price", completion="question")
    assert guesses.roles.outcome == "price"
    assert guesses.roles.completion == "question"
    assert "clicks" not in guesses.roles.confounders


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"a": [1, 2, 3], "b": ["x", "y", "z"]}, "No column holds texts"),
        ({"a": ["some words here"] * 3, "n": [1, 2, 3]}, "Columns of numbers: n"),
        ({"a": ["some words here"] * 3}, "Columns of numbers: none"),
    ],
)
def test_what_cannot_be_guessed_is_asked_for(columns, words):
    with pytest.raises(InputError, match=words):
        guess_roles(pa.table(columns))


@pytest.mark.parametrize(
    ("change", "known", "words"),
    [
        ({"sold": ["ja", "nein"] * 30}, "sold", "'sold' is not numeric but text"),
        ({"clicks": [5] * 60}, None, r"The outcome 'clicks' is constant \(5\)"),
        ({"sold": [True] * 60}, "sold", r"The outcome 'sold' is constant \(1\)"),
        ({"sold": [None] * 60}, "sold", "The outcome 'sold' holds no value in any row"),
        ({"sold": [np.inf] * 60}, "sold", "The outcome 'sold' holds no usable value in any row"),
    ],
)
def test_what_cannot_be_an_outcome_is_refused(change, known, words):
    columns = {"text": [f"rooms with a view number {i}" for i in range(60)], **change}
    with pytest.raises(InputError, match=words):
        guess_roles(pa.table(columns), outcome=known)


def test_the_text_is_not_its_own_outcome():
    with pytest.raises(SettingsError, match="'text' is named as 'completion' and as 'outcome'"):
        guess_roles(pa.table({"text": ["rooms with a view"] * 9}), outcome="text")


def test_columns_of_one_name_are_left_out_or_refused():
    texts, clicks = [f"rooms with a view number {i}" for i in range(60)], list(range(60))
    days = ["Mon", "Tue"] * 30
    twice = pa.table([texts, days, clicks, days], ["text", "day", "clicks", "day"])
    guessed = {guess.column: guess for guess in guess_roles(twice).columns}
    assert guessed["day"].part == ""
    assert "not the only one of this name" in guessed["day"].because
    twice = pa.table([texts, clicks, clicks], ["text", "clicks", "clicks"])
    with pytest.raises(InputError, match="2 columns named 'clicks'"):
        guess_roles(twice)


def test_columns_that_are_not_there_are_refused():
    with pytest.raises(InputError, match="There is no column 'click'"):
        guess_roles(table(), outcome="click")
