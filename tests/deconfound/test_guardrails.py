"""Guardrails are deconfounded beside the outcome, by the same method, each as if it were alone."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from causalign import Logs, Roles
from causalign.deconfound import (
    Additive,
    DoubleML,
    OrdinaryLeastSquares,
    PermutationWeighting,
    TwoStageLeastSquares,
    adjust_logs,
)
from causalign.errors import InputError
from causalign.logs import scan_logs

ROLES = Roles(
    "text",
    "clicks",
    confounders=("price",),
    instruments=("cost",),
    features=("length",),
    guardrails=("complaints", "returns"),
)


def make_table(rows: int = 400, seed: int = 0) -> pa.Table:
    draw = np.random.default_rng(seed)
    length, cost = draw.normal(size=(2, rows))
    price = 0.5 * length + cost + draw.normal(size=rows)
    noise = draw.normal(size=(3, rows))
    return pa.table(
        {
            "text": [f"text {i}" for i in range(rows)],
            "clicks": length + 2 * price + noise[0],
            "complaints": -0.5 * length - price + noise[1],
            "returns": 0.3 * price + noise[2],
            "price": price,
            "cost": cost,
            "length": length,
        }
    )


@pytest.mark.parametrize(
    "method", [Additive(), OrdinaryLeastSquares(), TwoStageLeastSquares(), DoubleML()]
)
def test_a_guardrail_loses_what_it_would_lose_as_the_outcome(method):
    logs = Logs.of(make_table(), ROLES)
    adjusted = method.fit(logs).adjust(logs)
    assert adjusted.roles.guardrails == ("complaints_adjusted", "returns_adjusted")
    for name in ROLES.guardrails:
        alone = Logs.of(make_table(), replace(ROLES, outcome=name, guardrails=()))
        np.testing.assert_allclose(
            adjusted.rate(f"{name}_adjusted"), method.fit(alone).adjust(alone).outcome, rtol=1e-10
        )


def test_a_scan_takes_out_of_guardrails_what_rows_in_memory_lose(tmp_path):
    pq.write_table(make_table(), tmp_path / "log.parquet")
    scan = scan_logs(tmp_path / "log.parquet", ROLES, batch_rows=64)
    Additive().fit(scan).adjust(scan).save(tmp_path / "adjusted")
    logs = Logs.of(make_table(), ROLES)
    expected = Additive().fit(logs).adjust(logs)
    saved = Logs.load(tmp_path / "adjusted")
    assert saved.roles == expected.roles
    np.testing.assert_allclose(
        saved.rate("returns_adjusted"), expected.rate("returns_adjusted"), rtol=1e-8, atol=1e-10
    )


def test_weights_serve_guardrails_as_they_are():
    logs = Logs.of(make_table(), ROLES)
    adjusted = PermutationWeighting(repetitions=1).fit(logs).adjust(logs)
    assert adjusted.roles.guardrails == ROLES.guardrails


def test_the_section_tells_the_effects_on_guardrails():
    adjusted, section = adjust_logs(Additive(), Logs.of(make_table(), ROLES))
    assert {"effects", "effects on complaints", "effects on returns"} <= set(section.tables)
    assert "complaints, returns" in adjusted.history[-1]


def test_logs_with_a_guardrail_that_was_not_fitted_are_refused():
    logs = Logs.of(make_table(), ROLES)
    effect = Additive().fit(Logs.of(make_table(), replace(ROLES, guardrails=("returns",))))
    with pytest.raises(InputError, match="guardrail 'complaints' is not known"):
        effect.adjust(logs)


def test_counts_lose_the_trials_together():
    table = make_table()
    draw = np.random.default_rng(1)
    table = table.append_column("left", pa.array(draw.binomial(20, 0.2, len(table))))
    table = table.append_column("shown", pa.array(np.full(len(table), 20)))
    clicked = table.append_column("clicked", pa.array(draw.binomial(20, 0.4, len(table))))
    roles = replace(ROLES, outcome="clicked", trials="shown", guardrails=("left",))
    logs = Logs.of(clicked, roles)
    adjusted = Additive().fit(logs).adjust(logs)
    assert adjusted.roles.trials is None
    assert adjusted.rate("left_adjusted").mean() == pytest.approx(logs.rate("left").mean())
