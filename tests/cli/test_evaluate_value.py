"""``causalign evaluate value`` ends in a number or in a refusal, and never in a traceback."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from causalign import evaluate
from causalign.cli import main


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(a) for a in arguments])
    return stopped.value.code, capsys.readouterr()


@pytest.fixture
def files(tmp_path):
    generator = np.random.default_rng(0)
    n = 500
    logged = -5 - generator.random(n)
    tuned = np.minimum(logged + 0.3 * generator.normal(size=n) - 0.045, 0)
    table = {"clicks": generator.random(n), "logged": logged, "tuned": tuned}
    table |= {"guess": np.full(n, 0.5), "probability": np.exp(logged), "user": np.arange(n) // 2}
    table |= {"far": logged + 9 * generator.normal(size=n) - 40}
    pq.write_table(pa.table(table), tmp_path / "logs.parquet")
    own = {"target_logprob": tuned, "logging_logprob": logged}
    pq.write_table(pa.table(own), tmp_path / "samples.parquet")
    return tmp_path


def test_a_number(files, capsys):
    columns = ["--outcome", "clicks", "--logging-logprob", "logged", "--target-logprob", "tuned"]
    code, said = call(
        capsys, "evaluate", "value", files / "logs.parquet", *columns, "--predicted", "guess",
        "--direct", "guess", "--samples", files / "samples.parquet", "--cluster", "user",
        "--range", 0, 1, "--out", files / "value",
    )  # fmt: skip
    assert code == 0, said.err
    assert "by doubly-robust" in " ".join(said.out.split())
    kept = json.loads((files / "value" / "result.json").read_text())
    assert 0.4 < kept["section"]["numbers"]["value"] < 0.6 if "section" in kept else kept


def test_two_policies_on_the_same_log(files, capsys):
    table = pq.read_table(files / "logs.parquet")
    half = (table["logged"].to_numpy() + table["tuned"].to_numpy()) / 2
    pq.write_table(table.append_column("half", pa.array(half)), files / "logs.parquet")
    given = ["--outcome", "clicks", "--logging-logprob", "logged", "--target-logprob", "tuned"]
    code, said = call(capsys, "evaluate", "value", files / "logs.parquet", *given,
                      "--against-logprob", "half", "--out", files / "two")  # fmt: skip
    assert code == 0, said.err
    assert "Against half that is" in " ".join(said.out.split())
    numbers = json.loads((files / "two" / "result.json").read_text())["numbers"]
    assert numbers["difference lower"] < numbers["difference"] < numbers["difference upper"]
    alone = numbers["value upper"] - numbers["value lower"]
    assert numbers["difference upper"] - numbers["difference lower"] < alone
    same = [*given, "--against-logprob", "tuned", "--out", files / "same"]
    assert call(capsys, "evaluate", "value", files / "logs.parquet", *same)[0] == 0
    assert json.loads((files / "same" / "result.json").read_text())["numbers"]["difference"] == 0
    code, said = call(capsys, "evaluate", "value", files / "logs.parquet", *given,
                      "--against-logprob", "far")  # fmt: skip
    assert code == 0
    assert "no difference can be given" in " ".join(said.out.split())


def test_a_pilot_gives_what_it_gives_in_python(files, capsys):
    generator = np.random.default_rng(1)
    guess = generator.normal(size=60)
    pilot = {
        "clicks": guess + generator.normal(size=60),
        "guess": guess,
        "user": np.arange(60) // 2,
    }
    samples = {"predicted": generator.normal(size=400)}
    for name, table in (("pilot", pilot), ("written", samples)):
        pq.write_table(pa.table(table), files / f"{name}.parquet")
    code, said = call(
        capsys, "evaluate", "value", files / "logs.parquet", "--outcome", "clicks", "--predicted",
        "guess", "--samples", files / "written.parquet", "--pilot", files / "pilot.parquet",
        "--cluster", "user", "--out", files / "piloted",
    )  # fmt: skip
    assert code == 0, said.err
    assert "(by pilot)" in " ".join(said.out.split())
    numbers = json.loads((files / "piloted" / "result.json").read_text())["numbers"]
    log = evaluate.OffPolicyLog(
        pq.read_table(files / "logs.parquet")["clicks"].to_numpy(),
        clusters=np.arange(500) // 2,
        samples=evaluate.TargetSamples(**samples),
        pilot=evaluate.PilotTexts(pilot["clicks"], guess, pilot["user"]),
    )
    value = evaluate.Pilot().estimate(log)
    ends = [numbers[name] for name in ("value", "value lower", "value upper")]
    assert ends == pytest.approx([value.estimate, value.lower, value.upper])
    named = ["--outcome", "clicks", "--pilot", files / "written.parquet"]
    code, said = call(capsys, "evaluate", "value", files / "logs.parquet", *named)
    assert code == 2
    assert "The pilot has no column 'clicks'" in " ".join(said.err.split())


def test_a_refusal_fails_under_strict(files, capsys):
    columns = ["--outcome", "clicks", "--logging-logprob", "logged", "--target-logprob", "far"]
    code, said = call(capsys, "evaluate", "value", files / "logs.parquet", *columns, "--strict")
    assert code == 1
    assert "No number can be given" in said.out


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["--outcome", "click"], "did you mean 'clicks'"),
        (["--outcome", "clicks"], "Nothing can be estimated from outcomes alone"),
        (["--outcome", "clicks", "--target-logprob", "tuned"], "one is missing"),
        (
            ["--outcome", "clicks", "--direct", "guess", "--against-logprob", "tuned"],
            "one is missing",
        ),
        (
            [
                "--outcome",
                "clicks",
                "--target-logprob",
                "tuned",
                "--logging-logprob",
                "probability",
            ],
            "look like probabilities",
        ),
    ],
)
def test_bad_input(files, capsys, columns, message):
    code, said = call(capsys, "evaluate", "value", files / "logs.parquet", *columns)
    assert code == 2
    assert message in " ".join(said.err.split())
