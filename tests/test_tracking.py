"""What stages found reaches trackers: numbers, answers, and the page where files are kept."""

import sys

import pytest
from typer.testing import CliRunner

import causalign as ca
from causalign.cli import app
from causalign.errors import ExtraNotInstalled, SettingsError
from causalign.results import Finding, Section, Verdict
from causalign.tracking import check_trackers, track

SECTION = Section(
    "audit",
    "What travels?",
    "Nothing does.",
    numbers={"rows": 40, "R² of 5 % каждый": 0.25, "method": "ridge", "upper": float("inf")},
    findings=(Finding("DA101", "a", Verdict.WARN, "b"), Finding("DA102", "a", Verdict.WARN, "b")),
)


@pytest.fixture
def mlflow(tmp_path, monkeypatch):
    """A store of its own in a folder."""
    pytest.importorskip("accelerate")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    return pytest.importorskip("mlflow")


def test_numbers_answers_and_the_page_are_in_mlflow(mlflow, tmp_path):
    page = tmp_path / "page"
    page.mkdir()
    (page / "report.html").write_text("<p>")
    track(SECTION, report_to=["mlflow"], project="mails", page=page)
    (run,) = mlflow.search_runs(experiment_names=["mails"], output_format="list")
    assert run.data.metrics == {
        "audit/rows": 40,
        "audit/R² of 5 - каждый": 0.25,
        "audit/findings: warn": 2,
    }
    assert run.data.params == {"audit.answer": "Nothing does."}
    kept = mlflow.artifacts.list_artifacts(run_id=run.info.run_id, artifact_path="report")
    assert [file.path for file in kept] == ["report/report.html"]


def test_a_run_that_is_open_holds_ours(mlflow):
    mlflow.set_experiment("mails")
    with mlflow.start_run() as outer:
        track(SECTION, report_to=["mlflow"], project="mails")
        assert mlflow.active_run().info.run_id == outer.info.run_id
    runs = mlflow.search_runs(experiment_names=["mails"], output_format="list")
    parents = [run.data.tags.get("mlflow.parentRunId") for run in runs]
    assert sorted(parents, key=str) == sorted([None, outer.info.run_id], key=str)


def test_a_result_is_tracked_by_its_section(tmp_path):
    pytest.importorskip("accelerate")
    pytest.importorskip("tensorboardX")
    logs = ca.simulate.Newsletter(rows=100).simulate().logs
    fit = ca.reward.Ridge().fit(logs, "hashing")
    track(fit, report_to=["tensorboard"], project="mails", folder=tmp_path)
    events = [path.read_bytes() for path in tmp_path.rglob("events.*")]
    assert any(b"reward/cv_r2" in data for data in events)


def test_trackers_that_are_not_there_are_told_before_anything_is_done(tmp_path):
    pytest.importorskip("accelerate")
    with pytest.raises(SettingsError, match="no tracker 'tensorbord'; did you mean 'tensorboard'"):
        check_trackers(["tensorbord"])
    with pytest.raises(SettingsError, match=r"'swanlab' is not installed: `pip install swanlab`"):
        track(SECTION, report_to=["swanlab"], folder=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_without_accelerate_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    monkeypatch.setitem(sys.modules, "accelerate.tracking", None)
    with pytest.raises(ExtraNotInstalled, match=r"Tracking needs accelerate.*causalign\[lm\]"):
        check_trackers(["tensorboard"])


def test_a_run_reports_to_a_tracker(tmp_path, monkeypatch, mlflow):
    monkeypatch.chdir(tmp_path)
    ca.simulate.Newsletter(rows=300).simulate().logs.save("logs")
    recipe = tmp_path / "pipeline.yaml"
    recipe.write_text(
        "name: mails\ndata:\n  path: logs/logs.parquet\n  roles: {completion: mail, outcome: "
        "minutes_read, confounders: [weekday]}\nencoder: hashing\n"
    )
    command = ["run", str(recipe), "--out", "run", "--report-to"]
    wrong = CliRunner().invoke(app, [*command, "mlflo"])
    assert isinstance(wrong.exception, SettingsError) or wrong.exit_code == 2
    assert not (tmp_path / "run").exists()
    done = CliRunner().invoke(app, [*command, "mlflow"], catch_exceptions=False)
    assert done.exit_code == 0
    (run,) = mlflow.search_runs(experiment_names=["mails"], output_format="list")
    assert run.data.metrics["audit/rows"] > 0
    kept = mlflow.artifacts.list_artifacts(run_id=run.info.run_id, artifact_path="report")
    assert "report/report.html" in [file.path for file in kept]
