"""A recipe that declares an audience reports for whom texts work, by every part of the run."""

import json

import pyarrow.parquet as pq
import pytest
import yaml

import causalign as ca
from causalign.reward import RewardModel


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    place = tmp_path_factory.mktemp("audiences")
    design = ca.simulate.OppositeTastes(rows=1500, disliked=1.5, newcomers=0.2).simulate()
    pq.write_table(design.logs.data, place / "log.parquet")
    roles = {
        "completion": "mail",
        "outcome": "minutes_read",
        "confounders": ["weekday"],
        "audience": ["reader"],
    }
    settings = {
        "name": "audiences",
        "data": {"path": "log.parquet", "roles": roles},
        "encoder": "style",
        "reward": {"method": "for-audience"},
    }
    (place / "pipeline.yaml").write_text(yaml.safe_dump(settings))
    recipe = ca.recipe.load(place / "pipeline.yaml")
    return ca.pipeline.run(recipe, place / "run", say=lambda line: None, progress=False)


def test_the_report_tells_for_whom(run):
    page = (run.folder / "6-report" / "report.md").read_text()
    assert "For whom does a text work" in page
    assert "Audiences differ" in page
    assert "markers by audience" in page
    codes = {finding.code for section in run.sections for finding in section.findings}
    assert {"EV501", "EV502", "EV503", "MK104"} <= codes


def test_the_stage_is_stored_and_the_rewards_know_audiences(run):
    kept = json.loads((run.folder / "5-evaluate-audiences" / "result.json").read_text())
    assert kept["numbers"]["worst audience"] == "new"
    model = RewardModel.load(run.folder / "3-reward" / "deconfounded")
    both = ["Last chance! A guide to choosing desk lamps.", "A guide to choosing desk lamps."]
    assert model.for_audience("new")(both) @ [1, -1] < 0
    assert model.for_audience("regular")(both) @ [1, -1] > 0
