"""The policy stage of a run: tuned twice, written side by side, resumed, refused."""

import os
import shutil
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from causalign import pipeline, recipe
from causalign.errors import RoleNotDeclared, SettingsError
from causalign.lm import LanguageModelWriter
from causalign.logs import Logs, Roles
from causalign.pipeline import tuning
from causalign.pipeline.generations import ChosenTexts
from causalign.policy import BestOf, PolicyFit, dpo
from causalign.results import Verdict
from causalign.reward import Ridge
from causalign.simulate import Newsletter

pytest.importorskip("peft")

CHECK_PAIRS = dpo.check_pairs
TRAINING = {"steps": 6, "batch_size": 4, "max_length": 48, "save_every": 2, "learning_rate": 0.01}


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """A newsletter whose mails answer one of five prompts."""
    folder = tmp_path_factory.mktemp("newsletter")
    Newsletter(rows=240, pairs=60).simulate().write(folder)
    table = pq.read_table(folder / "logs.parquet")
    prompts = pa.array([f"Write mail {row % 5}: " for row in range(len(table))])
    pq.write_table(table.append_column("prompt", prompts), folder / "prompted.parquet")
    pairs = pq.read_table(folder / "experiment.parquet")
    pairs = pairs.append_column("prompt", prompts[: len(pairs)])
    pq.write_table(pairs, folder / "prompted-pairs.parquet")
    return folder


@pytest.fixture(scope="module")
def written_settings(log, tiny_lm_folder):
    """A recipe with a policy stage, small in everything, as YAML."""
    settings = {
        "name": "small",
        "data": {
            "path": str(log / "logs.parquet"),
            "roles": {"completion": "mail", "outcome": "minutes_read", "confounders": ["weekday"]},
        },
        "encoder": "hashing",
        "evaluate": {"pairs": str(log / "experiment.parquet"), "markers": ["Happy", "re"]},
        "policy": {"method": "dpo", "model": str(tiny_lm_folder), "training": TRAINING},
        "start": {"training": TRAINING},
        "generate": {"texts": 8, "max_new_tokens": 6},
    }
    return yaml.safe_dump(settings)


@pytest.fixture
def settings(written_settings):
    """The recipe, to be changed by a test."""
    return yaml.safe_load(written_settings)


@pytest.fixture(scope="module")
def whole(written_settings, tmp_path_factory):
    """The run that nobody killed."""
    return run(yaml.safe_load(written_settings), tmp_path_factory.mktemp("whole"))


def run(settings, tmp_path, name="run"):
    path = tmp_path / "pipeline.yaml"
    path.write_text(yaml.safe_dump(settings))
    return pipeline.run(recipe.load(path), tmp_path / name, say=lambda line: None)


def policy_section(done):
    return next(s for s in done.sections if s.stage == "policy")


def test_both_policies_are_kept_compared_and_told(whole):
    stage = whole.folder / "4-policy"
    assert not (whole.folder / "4-policy.unfinished").exists()
    for name in ("start", "naive", "deconfounded"):
        assert PolicyFit.load(stage / name).curve.num_rows == 6
        assert (stage / name / "model" / "README.md").exists()
        assert (stage / name / "model" / "adapter_model.safetensors").exists()
    written = pq.read_table(stage / "generations.parquet")
    assert written.column_names == ["prompt", "before", "naive", "deconfounded"]
    assert written.num_rows == 8
    section = policy_section(whole)
    assert section.tables["texts side by side"].column_names == ["before", "naive", "deconfounded"]
    shares = section.tables["share of texts with a marker"].to_pylist()
    naive = next(r for r in shares if (r["marker"], r["policy"]) == ("re", "naive"))
    hits = sum("re" in text.casefold() for text in written["naive"].to_pylist())
    assert naive["share"] == pytest.approx(hits / 8)
    assert "The reward of the experiments rates" in section.answer
    assert section.answer in whole.answer
    assert {"PO120", "EV302", "PO109"} <= {f.code for f in section.findings}
    assert "PO120" in whole.report.read_text()


def test_the_same_pairs_meet_and_only_who_won_differs(settings, tmp_path, monkeypatch):
    seen = []

    def stop_at_the_second(pairs):
        seen.append(pairs)
        if len(seen) == 2:
            raise Killed
        return CHECK_PAIRS(pairs)

    monkeypatch.setattr(dpo, "check_pairs", stop_at_the_second)
    with pytest.raises(Killed):
        run({k: v for k, v in settings.items() if k != "start"}, tmp_path)
    won = [{tuple(row) for row in pairs.rows.tolist()} for pairs in seen]
    naive, deconfounded = ({frozenset(row) for row in rows} for rows in won)
    assert naive == deconfounded
    assert len(naive) == TRAINING["steps"] * TRAINING["batch_size"]
    assert 0.05 < len(won[0] - won[1]) / len(won[0]) < 0.8


def test_without_a_policy_the_other_stages_are_the_same(whole, settings, tmp_path):
    plain = {k: v for k, v in settings.items() if k not in ("policy", "start", "generate")}
    without = run(plain, tmp_path)
    stages = {s.stage for s in without.sections}
    assert {s.stage for s in whole.sections} - stages == {"policy"}
    for stage in ("1-audit", "2-deconfound", "3-reward", "5-evaluate"):
        one, other = (
            (f / stage / "result.json").read_text() for f in (whole.folder, without.folder)
        )
        assert one == other


METHODS = {
    "sft": {"temperature": 1.0},
    "causal-preference": {
        "objective": "doubly-robust",
        "propensity": "uniform",
        "samples": {"evaluation_texts": 0, "max_new_tokens": 4, "samples_per_row": 1},
    },
    "ppo": {"rollout_size": 4, "evaluation_texts": 4, "max_new_tokens": 4},
}


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_other_methods_learn_from_either_outcome(settings, log, tmp_path, method):
    settings["data"]["path"] = str(log / "prompted.parquet")
    settings["data"]["roles"]["prompt"] = "prompt"
    settings["evaluate"]["pairs"] = str(log / "prompted-pairs.parquet")
    settings["policy"] |= {"method": method, **METHODS[method]}
    del settings["start"]
    section = policy_section(run(settings, tmp_path))
    assert section.details["method"] == method
    shown = section.tables["texts side by side"]
    assert shown.column_names == ["prompt", "before", "naive", "deconfounded"]
    assert shown["prompt"][0].as_py().startswith("Write mail")


@pytest.mark.parametrize("rows", [240, pytest.param(1500, marks=pytest.mark.slow)])
def test_without_an_experiment_held_out_rows_judge_if_they_can(settings, tmp_path, rows):
    Newsletter(rows=rows, pairs=2).simulate().write(tmp_path)
    settings["data"]["path"] = str(tmp_path / "logs.parquet")
    settings["evaluate"] = {}
    del settings["start"]
    section = policy_section(run(settings, tmp_path))
    found = next(f for f in section.findings if f.code == "PO120")
    assert (found.verdict is Verdict.NOT_APPLICABLE) == (rows == 240)
    assert ("held-out rows" in section.answer) == (rows == 1500)
    assert "share of texts with a marker" not in section.tables


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"policy": {"method": "dppo"}}, "or 'dpo'"),
        ({"policy": {"method": "dpo", "betta": 1}}, "did you mean 'beta'"),
        ({"policy": {"method": "sft"}}, "reads no outcome"),
        ({"policy": {"method": "ppo"}}, "how long to train"),
        ({"policy": {"method": "causal-preference"}}, "propensity"),
        ({"start": {"model": "other"}}, "'policy.model'"),
        ({"policy": None, "start": {}}, "name its method"),
        ({"generate": {"texts": 1}}, "at least 2"),
    ],
)
def test_refused_before_any_stage(settings, tmp_path, changed, said):
    if "start" not in changed:
        del settings["start"]
    with pytest.raises((SettingsError, RoleNotDeclared), match=said):
        run(settings | changed, tmp_path)
    assert not list((tmp_path / "run").glob("*-*"))


class Killed(BaseException):
    """Stand for a signal: nothing catches it on the way."""


MOMENTS = [
    "naive/training/checkpoint-4/whole.json",
    pytest.param("naive.json", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_interrupted_stage_goes_on_to_the_same_result(
    whole, settings, tmp_path, monkeypatch, moment
):
    replace = os.replace

    def interrupted(one, other, *more):
        replace(one, other, *more)
        if str(other).endswith(moment):
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", interrupted)
        with pytest.raises(Killed):
            run(settings, tmp_path)
    assert not (tmp_path / "run" / "4-policy").exists()
    run(settings, tmp_path)
    assert_same(tmp_path / "run", whole.folder)


def assert_same(one, other):
    for name in ("result.json", "generations.parquet", "naive/model/adapter_model.safetensors"):
        assert (one / "4-policy" / name).read_bytes() == (other / "4-policy" / name).read_bytes()
    assert not (one / "4-policy.unfinished").exists()


# The child kills itself when the file of this name has just been written.
CHILD = """
import os, signal, sys
from causalign import artifacts, pipeline, recipe
replace = os.replace
def killing(a, b, *more):
    replace(a, b, *more)
    if str(b).endswith(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
os.replace = killing
pipeline.run(recipe.load(sys.argv[1]), sys.argv[2], say=lambda line: None)
"""


def start(path: Path, folder: Path, name: str) -> int:
    command = [sys.executable, "-c", CHILD, str(path), str(folder), name]
    return subprocess.run(command, env=os.environ, capture_output=True).returncode


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["start/model", MOMENTS[0], "deconfounded/fit.json"])
def test_a_killed_stage_goes_on_to_the_same_result(whole, written_settings, tmp_path, moment):
    path, folder = tmp_path / "pipeline.yaml", tmp_path / "killed"
    path.write_text(written_settings)
    assert start(path, folder, moment) == -signal.SIGKILL
    assert start(path, folder, "nothing") == 0
    assert_same(folder, whole.folder)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")
def test_workers_of_ray_write_what_one_process_writes(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(tuning, "TEXTS_AT_A_TIME", 3)
    del settings["start"]
    written = []
    for engine in ("batches", "ray"):
        settings["data"]["engine"] = engine
        stage = run(settings, tmp_path).folder / "4-policy"
        written.append(pq.read_table(stage / "generations.parquet"))
        shutil.rmtree(stage)  # the stages before it stay, whatever the engine
    assert written[0].equals(written[1])


BEST = {"n": 3, "caution": 0.5}


def test_choosing_stands_beside_tuning_in_the_same_tables(settings, tmp_path):
    done = run(settings | {"best_of": BEST}, tmp_path)
    section, stage = policy_section(done), done.folder / "4-policy"
    names = ["before", "naive", "deconfounded", "naive, best of 3", "deconfounded, best of 3"]
    assert section.tables["texts side by side"].column_names == names
    described = section.tables["what each policy writes"]
    assert described["policy"].to_pylist() == names
    assert described["reward"].null_count == 0
    chosen = pq.read_table(stage / "best-of-deconfounded" / "texts.parquet")
    assert chosen.num_rows == 8
    # Both rewards chose among the same candidates, which the starting model wrote.
    offered = [
        pq.read_table(stage / f"best-of-{name}" / "candidates.parquet")["text"].to_pylist()
        for name in ("naive", "deconfounded")
    ]
    assert offered[0] == offered[1]
    assert {"WR101", "WR102", "PO109"} <= {f.code for f in section.findings}


def test_choosing_alone_needs_no_tuning_and_is_resumed(settings, tmp_path, monkeypatch):
    del settings["start"]
    model = settings["policy"]["model"]
    settings["policy"] = {"method": "best-of", "writer": {"model": model}, **BEST}
    asked = []
    write = LanguageModelWriter.write

    def count(self, prompts, n, seed):
        asked.append(len(prompts))
        return write(self, prompts, n, seed)

    monkeypatch.setattr(LanguageModelWriter, "write", count)
    monkeypatch.setattr(tuning, "compare_policies", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(settings, tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(LanguageModelWriter, "write", lambda *arguments: 1 / 0)
    done = run(settings, tmp_path)
    assert asked == [8]  # what was answered before the failure was kept
    section = policy_section(done)
    assert section.details["method"] == "best-of"
    assert "chosen by the deconfounded one" in done.report.read_text()
    written = pq.read_table(done.folder / "4-policy" / "generations.parquet")
    assert written.column_names == ["prompt", "before", "naive", "deconfounded"]


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"best_of": BEST | {"writer": {"model": "smollm2"}}}, "starts from"),
        ({"best_of": {"m": 3}}, "best_of"),
        ({"best_of": {"n": 0}}, "n must be"),
        ({"policy": {"method": "best-of"}, "best_of": BEST, "start": None}, "already"),
        ({"policy": None, "start": None, "best_of": {"writer": {"url": "x"}}}, "best_of.writer"),
    ],
)
def test_settings_of_a_choice_that_cannot_be_are_refused(settings, tmp_path, changed, match):
    with pytest.raises(SettingsError, match=match):
        run(settings | changed, tmp_path)


@pytest.fixture
def guarded(settings, log, tmp_path):
    """The recipe for a log with complaints, which travel with the weekday as minutes do."""
    table = pq.read_table(log / "logs.parquet")
    complaints = [
        float(text.count("!")) + 2 * (day == "Monday") + row % 3
        for row, (text, day) in enumerate(
            zip(table["mail"].to_pylist(), table["weekday"].to_pylist(), strict=True)
        )
    ]
    path = tmp_path / "guarded.parquet"
    pq.write_table(table.append_column("complaints", pa.array(complaints)), path)
    settings["data"]["path"] = str(path)
    settings["data"]["roles"]["guardrails"] = ["complaints"]
    settings["encoder"] = "style"  # of few numbers, so that the held-out rows can judge
    return settings


def test_guardrails_are_deconfounded_priced_limited_and_judged(guarded, tmp_path):
    best = BEST | {"limits": ["complaints <= 2"]}
    done = run(guarded | {"best_of": best, "prices": {"complaints": 0.5}}, tmp_path)
    section = policy_section(done)
    table = section.tables["what each policy writes"]
    assert table["complaints"].null_count == 0
    costs = [f.title for f in section.findings if f.code == "PO121"]
    assert len(costs) == 4, costs  # two tuned, two chosen, against what was written before
    assert "WR105" in {f.code for f in section.findings}
    effects = next(s for s in done.sections if s.stage == "deconfound").tables
    assert "effects on complaints" in effects
    # Another price is another run of this stage, and of no other.
    again = run(guarded | {"best_of": best, "prices": {"complaints": 5.0}}, tmp_path, "other")
    assert again.sections[1].numbers == done.sections[1].numbers


def test_guardrails_that_nobody_can_judge_are_named(guarded, tmp_path):
    guarded["encoder"] = "hashing"
    del guarded["start"]
    findings = policy_section(run(guarded, tmp_path)).findings
    told = next(f for f in findings if f.code == "PO121")
    assert told.verdict is Verdict.WARN
    assert "too few" in told.explanation


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"prices": {"complaint": 1.0}}, "'prices': There is no guardrail 'complaint'"),
        ({"best_of": {"limits": ["refunds <= 1"]}}, "'best_of.limits': There is no guardrail"),
        ({"prices": {"complaints": 1.0}, "policy": None, "start": None}, "paid by what is tuned"),
        ({"reward": {"method": "pairwise"}}, "Use the method 'ridge'"),
    ],
)
def test_guardrails_that_cannot_be_are_refused(guarded, tmp_path, changed, match):
    if "reward" in changed:
        guarded["data"]["roles"]["group"] = "weekday"
        guarded["data"]["roles"]["confounders"] = ["day"]
    with pytest.raises(SettingsError, match=match):
        run(guarded | changed, tmp_path)


def test_what_a_guardrail_buys_is_drawn_for_each_reward():
    words = ["free", "now", "calm", "news"]
    texts = [f"{a} {b} {c}" for a in words for b in words for c in words]
    table = {
        "text": texts,
        "clicks": [text.count("free") + 0.1 * text.count("now") for text in texts],
        "complaints": [2.0 * text.count("free") for text in texts],
    }
    logs = Logs.of(pa.table(table), Roles("text", "clicks", guardrails=("complaints",)))
    model = Ridge().fit(logs, "hashing").model
    best = BestOf(caution=0).choose([texts[:16], texts[16:40]], model, [None] * 2)
    drawn = ChosenTexts({"naive": best, "deconfounded": best}).draw_frontiers()
    assert [one.name for one in drawn] == ["frontier-0-naive", "frontier-0-deconfounded"]
    assert drawn[0].caption.startswith("Naive reward. What complaints buys")
