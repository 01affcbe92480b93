"""A run on logs that are read batch by batch: one line of the recipe, and the same answers."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from causalign import artifacts, pipeline, recipe
from causalign.errors import SettingsError
from causalign.logs import parts

ROWS = 4000
RECIPE = """
name: scanned
data:
  path: logs
  roles: {completion: text, outcome: y, confounders: [week, price], categorical: [week]}
  engine: ENGINE
encoder: style
reward: {method: ridge}
evaluate: {alike: true, truth: effect}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    random = np.random.default_rng(4)
    words = np.array(["the", "a", "is", "this", "to", "of", "river", "flat", "house", "quiet"])
    week, price = random.integers(0, 6, ROWS), random.normal(size=ROWS)
    shouts = random.random(ROWS) < 0.2 + 0.6 * (week < 2)
    bodies = [" ".join(row) for row in words[random.integers(0, 10, (ROWS, 6))]]
    texts = [f"{b} {i}" + "!" * int(s) for i, (b, s) in enumerate(zip(bodies, shouts, strict=True))]
    effect = np.array([0.3 * ("the " in b) for b in bodies])
    y = effect + 1.0 * (week < 2) + 0.2 * price + random.normal(scale=0.5, size=ROWS)
    table = pa.table({"text": texts, "y": y, "week": week, "price": price, "effect": effect})
    place = tmp_path_factory.mktemp("scans")
    (place / "logs").mkdir()
    for part in range(4):
        pq.write_table(table.slice(1000 * part, 1000), place / "logs" / f"{part}.parquet")
    for engine in ("batches", "ray", "null"):
        (place / f"{engine}.yaml").write_text(RECIPE.replace("ENGINE", engine))
    return place


def run(folder, engine):
    settings = recipe.load(folder / f"{engine}.yaml")
    done = pipeline.run(settings, folder / f"run-{engine}", say=lambda _: None, progress=False)
    return {path.name: artifacts.read_stage(path) for path in artifacts.stages(done.folder)}


@pytest.fixture(scope="module")
def batches(folder):
    return run(folder, "batches")


def test_a_run_by_batches_answers_as_one_in_memory(folder, batches):
    whole = run(folder, "null")
    assert batches.keys() == whole.keys()
    assert "confounded by week" in batches["1-audit"].answer
    for stages in (batches, whole):
        effects = stages["2-deconfound"].tables["effects"].to_pydict()
        price = effects["estimate"][effects["name"].index("price")]
        assert price == pytest.approx(0.2, abs=0.04)
    correlations = [stages["5-evaluate"].numbers for stages in (batches, whole)]
    assert correlations[0].keys() == correlations[1].keys()
    assert (folder / "run-batches" / "6-report" / "report.html").is_file()
    assert (folder / "run-batches" / "2-deconfound" / "logs.parquet").is_file()


def test_a_finished_run_is_not_done_again(folder, batches):
    told = []
    pipeline.run(
        recipe.load(folder / "batches.yaml"),
        folder / "run-batches",
        say=told.append,
        progress=False,
    )
    assert sum("done before" in line for line in told) == len(batches)


@pytest.mark.slow
def test_ray_changes_no_number(folder, batches, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setattr(parts, "PART_ROWS", 500)
    here = batches
    there = run(folder, "ray")
    assert here.keys() == there.keys()
    for name, section in here.items():
        assert section.answer == there[name].answer
        for key, value in section.numbers.items():
            other = there[name].numbers[key]
            assert other == (pytest.approx(value, rel=1e-9) if isinstance(value, float) else value)


def test_what_cannot_be_read_by_batches_is_refused_before_it_runs(folder):
    for words, told in (
        (("reward.method=pairwise", "data.roles.group=week", "data.roles.confounders=[price]",
          "data.roles.categorical=[]"), "all rows"),
        (("data.scale=logit",), "identity"),
        (("data.engine=spark",), "batches.* or .*ray"),
    ):  # fmt: skip
        with pytest.raises(SettingsError, match=told):
            pipeline.preview(
                recipe.load(folder / "batches.yaml", words), folder / "none", say=lambda _: None
            )
