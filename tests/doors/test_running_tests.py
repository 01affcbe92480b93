"""A running test says the same in Python and on the command line."""

import pyarrow as pa
import pyarrow.csv
import pytest

import causalign as ca
from causalign.cli import main
from tests.experiment.running import ROLES, count_days


def call(*arguments) -> int:
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return stopped.value.code


def write(rows: list[dict], path) -> str:
    pa.csv.write_csv(pa.Table.from_pylist(rows), path)
    return str(path)


COUNTS = ["--arm", "text", "--outcome", "clicks", "--trials", "shown", "--time", "day"]


def test_a_reading_has_the_same_numbers(tmp_path, capsys):
    rows = count_days([0.05, 0.06, 0.07], unsubscribed=0.01)
    path = write(rows, tmp_path / "test.csv")
    more = ["--guardrail", "unsubscribed", "--minimum", "0.01", "--planned", "30000"]
    more += ["--control", "text A", "--level", "0.9"]
    assert call("experiment", "read", path, *COUNTS, *more, "--out", tmp_path / "out") == 0
    kept = ca.artifacts.read_stage(tmp_path / "out")
    known = ca.experiment.read(
        ca.Logs.read(path, ROLES),
        guardrails=["unsubscribed"],
        minimum=0.01,
        planned=30_000,
        control="text A",
        level=0.9,
    ).section()
    assert dict(kept.numbers) == dict(known.numbers)
    assert kept.answer == known.answer
    assert {n: t.to_pylist() for n, t in kept.tables.items()} == {
        n: t.to_pylist() for n, t in known.tables.items()
    }
    assert known.answer in " ".join(capsys.readouterr().out.split())


def test_a_plan_has_the_same_numbers(tmp_path):
    given = ["--baseline", "0.05", "--minimum", "0.01", "--arms", "3", "--looks", "7"]
    more = ["--power", "0.9", "--readers-a-day", "900", "--out", tmp_path / "out"]
    assert call("experiment", "plan", *given, *more) == 0
    known = ca.experiment.plan(0.05, 0.01, arms=3, looks=7, power=0.9, readers_a_day=900)
    assert dict(ca.artifacts.read_stage(tmp_path / "out").numbers) == known.section().numbers


def test_a_plan_like_a_test_has_the_same_numbers(tmp_path):
    path = write(count_days([0.05, 0.06]), tmp_path / "test.csv")
    given = ["--like", path, *COUNTS, "--minimum", "0.01", "--looks", "5"]
    assert call("experiment", "plan", *given, "--out", tmp_path / "out") == 0
    known = ca.experiment.plan_like(ca.Logs.read(path, ROLES), 0.01, looks=5)
    assert dict(ca.artifacts.read_stage(tmp_path / "out").numbers) == known.section().numbers
    assert call("experiment", "plan", "--minimum", "0.01") == 2


def test_a_reward_and_past_tests_say_what_to_expect(tmp_path):
    logs = ca.simulate.Newsletter(rows=200, pairs=5).simulate().logs
    fit = ca.reward.Ridge().fit(logs, "hashing")
    fit.model.save(tmp_path / "model")
    past = [
        r | {"test": test} for test in range(30) for r in count_days([0.05, 0.06], 1, seed=test)
    ]
    paths = write(count_days([0.05, 0.06]), tmp_path / "test.csv"), tmp_path / "past.csv"
    write(past, paths[1])
    reward = ["--reward-model", tmp_path / "model", "--past-tests", paths[1]]
    out = ["--past-group", "test", "--out", tmp_path / "out"]
    assert call("experiment", "read", paths[0], *COUNTS, *reward, *out) == 0
    roles = ca.Roles("text", "clicks", trials="shown", group="test")
    model = ca.reward.RewardModel.load(tmp_path / "model")
    expectation = ca.experiment.expect(model, ca.Logs.read(paths[1], roles))
    known = ca.experiment.read(ca.Logs.read(paths[0], ROLES), expectation=expectation)
    kept = ca.artifacts.read_stage(tmp_path / "out")
    assert dict(kept.numbers) == pytest.approx(dict(known.section().numbers))


REFUSED = {
    "no days": (["--arm", "text", "--outcome", "clicks", "--trials", "shown"], "--time COLUMN"),
    "one arm": (["--arm", "one", *COUNTS[2:]], "All rows have one arm, 'x'"),
    "too many": ([*COUNTS[:2], "--outcome", "many", *COUNTS[4:]], "0 <= many <= shown"),
    "no test": ([*COUNTS, "--group", "id"], "names no tests"),
    "a reward alone": ([*COUNTS, "--reward-model", "m"], "give both --reward-model and"),
    "no such control": ([*COUNTS, "--control", "z"], "No arm is the control 'z'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_test_is_refused(case, tmp_path, capsys):
    rows = [
        r | {"id": f"i{number}", "one": "x", "many": 2 * r["shown"]}
        for number, r in enumerate(count_days([0.05, 0.06]))
    ]
    given, words = REFUSED[case]
    assert call("experiment", "read", write(rows, tmp_path / "test.csv"), *given) == 2
    message = capsys.readouterr().err
    assert words in " ".join(message.split())
    assert "Traceback" not in message


def test_sizes_that_are_off_fail_under_strict(tmp_path):
    rows = count_days([0.05, 0.06])
    for row in rows:
        row["shown"] += 300 * (row["text"] == "text B")
    path = write(rows, tmp_path / "test.csv")
    assert call("experiment", "read", path, *COUNTS) == 0
    assert call("experiment", "read", path, *COUNTS, "--strict") == 1
