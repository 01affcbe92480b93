import json

import numpy as np
import pyarrow.parquet as pq
import pytest

import causalign as ca
from causalign.cli import main
from causalign.errors import NotIdentified, RoleNotDeclared
from causalign.results import Verdict

LIKED = "Last chance! Readers love these desk lamps in three colours."


@pytest.fixture(scope="module")
def logs():
    design = ca.simulate.OppositeTastes(rows=3000, disliked=1.5, newcomers=0.2).simulate()
    return ca.deconfound.Additive().fit(design.logs, "style").adjust(design.logs)


@pytest.fixture(scope="module")
def study(logs):
    return ca.evaluate.audiences(logs, "style", written=[LIKED] * 10)


def verdicts(result):
    return {finding.code: finding.verdict for finding in result.findings}


def test_opposite_tastes_are_found_and_who_loses_is_named(study):
    assert study.test.p_value == 0.0005
    assert study.worst == "new"
    whole, each = study.written
    assert whole.estimate[0] > 0.1
    assert each.upper[0] < 0 < each.lower[1]
    assert verdicts(study) == {
        "EV501": Verdict.WARN,
        "EV502": Verdict.FAIL,
        "EV503": Verdict.PASS,
    }
    assert "least for 'new'" in study.answer()


def test_each_audience_gets_the_text_that_it_likes(study):
    _, new, regular = study.texts
    assert not new.startswith("Last chance!")
    assert regular.startswith("Last chance!")
    gains = study.targeting
    assert gains.targeting.upper[0] > 0
    assert gains.regret.estimate[0] > 0.5


def test_one_reward_for_all_is_not_calibrated_for_the_minority(study):
    slopes = study.calibration.slope
    assert slopes.upper[0] < 1 < slopes.upper[1]
    assert slopes.estimate[1] == pytest.approx(1, abs=0.15)
    assert study.calibration.gap.estimate[0] < -1 < study.calibration.gap.estimate[1]


def test_the_section_holds_what_a_report_needs(study):
    section = study.section()
    assert section.numbers["worst audience"] == "new"
    assert set(section.tables) == {"audiences", "gain of targeting", "texts chosen"}
    assert section.tables["audiences"]["audience"].to_pylist() == ["new", "regular"]
    assert "new · its own" in section.figures[0].alt


def test_alike_audiences_pass(logs):
    random = np.random.default_rng(0)
    names = random.choice(["left", "right"], len(logs))
    table = logs.data.drop_columns("reader").append_column("reader", [names.tolist()])
    result = ca.evaluate.audiences(ca.Logs.of(table, logs.roles), "style")
    assert verdicts(result)["EV501"] is Verdict.PASS
    assert verdicts(result)["EV502"] is Verdict.PASS
    assert result.targeting.targeting.lower[0] <= 0


def test_few_rows_are_named(logs):
    names = logs.data["reader"].to_pylist()
    names[:3] = ["rare"] * 3
    table = logs.data.drop_columns("reader").append_column("reader", [names])
    result = ca.evaluate.audiences(ca.Logs.of(table, logs.roles), "style")
    assert verdicts(result)["EV503"] is Verdict.WARN
    assert "'rare' (3)" in result.findings[2].explanation


def test_logs_of_one_audience_or_none_are_refused(logs):
    same = logs.data.drop_columns("reader").append_column("reader", [["all"] * len(logs)])
    with pytest.raises(NotIdentified):
        ca.evaluate.audiences(ca.Logs.of(same, logs.roles), "style")
    with pytest.raises(RoleNotDeclared):
        ca.evaluate.audiences(ca.Logs.of(same, ca.Roles("mail", "minutes_read")), "style")


def test_the_command_gives_the_same_numbers(logs, study, tmp_path):
    pq.write_table(logs.data, tmp_path / "log.parquet")
    (tmp_path / "written.csv").write_text("mail\n" + f'"{LIKED}"\n' * 10)
    asked = ["evaluate", "audience", tmp_path / "log.parquet", "--completion", "mail", "--outcome",
             "minutes_read_adjusted", "--audience", "reader", "--written",
             tmp_path / "written.csv", "--encoder", "style", "--out", tmp_path / "out"]  # fmt: skip
    with pytest.raises(SystemExit) as stopped:
        main(list(map(str, asked)))
    assert stopped.value.code == 0
    kept = json.loads((tmp_path / "out" / "result.json").read_text())
    assert kept["numbers"] == pytest.approx(dict(study.section().numbers))
