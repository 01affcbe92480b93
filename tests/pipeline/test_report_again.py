"""A report that is written again says what the run was told, and what it is told now."""

import json

import pytest

from causalign import pipeline, report, simulate
from causalign.errors import SettingsError
from causalign.logs import Roles
from causalign.recipe import Data, Evaluation, Recipe


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("newsletter")
    simulate.Newsletter(rows=600, pairs=200).simulate().write(folder)
    roles = Roles("mail", "minutes_read", confounders=["weekday"])
    recipe = Recipe(
        "newsletter",
        Data(path=str(folder / "logs.parquet"), roles=roles),
        encoder="style",
        evaluate=Evaluation(str(folder / "experiment.parquet")),
        report=report.Money(2.0, "EUR"),
    )
    return pipeline.run(recipe, folder / "run", say=lambda line: None)


def test_gains_are_told_in_money_and_again(ran):
    assert b"EUR per " in ran.report.read_bytes()
    assert b"EUR per " in pipeline.rebuild_report(ran.folder).report.read_bytes()


def test_another_price_is_told_and_kept(ran):
    again = pipeline.rebuild_report(ran.folder, report.Money(3.0, "CHF"))
    assert b"CHF per " in again.report.read_bytes()
    assert b"CHF per " in pipeline.rebuild_report(ran.folder).report.read_bytes()


def test_the_day_of_the_run_and_its_rows_are_told(ran):
    costs = json.loads((ran.folder / "cost.json").read_text())
    day = max(stage["day"] for stage in costs.values())
    page = ran.report.read_text("utf-8")
    assert f"run of {day}" in page
    assert "rows fitted" in page


@pytest.mark.parametrize("worth", [0, -1, float("nan")])
def test_what_is_worth_nothing_is_refused(worth):
    with pytest.raises(SettingsError, match="value_per_unit"):
        report.Money(worth)
