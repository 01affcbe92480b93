import numpy as np
import pyarrow as pa
import pytest

from causalign import Logs, Roles
from causalign.errors import InputError, SettingsError
from causalign.scales import rescaled
from causalign.splits import held_out_rows, one_per_group


def logs(y, n=None, **roles):
    table = {
        "text": [f"t{i % 7}" for i in range(len(y))],
        "y": y,
        "g": [i // 3 for i in range(len(y))],
    }
    if n is not None:
        table["n"] = n
    return Logs.of(
        pa.table(table), Roles("text", "y", trials="n" if n is not None else None, **roles)
    )


def test_empirical_logit_is_finite_at_the_ends():
    found = rescaled(logs([0, 5, 10], [10, 10, 10]), "logit").outcome
    np.testing.assert_allclose(found, [np.log(0.5 / 10.5), 0, np.log(10.5 / 0.5)])


def test_log_and_logit_of_plain_outcomes():
    np.testing.assert_allclose(rescaled(logs([1.0, np.e]), "log").outcome, [0, 1])
    np.testing.assert_allclose(rescaled(logs([0.5, 0.75]), "logit").outcome, [0, np.log(3)])
    with pytest.raises(InputError, match="above 0"):
        rescaled(logs([0.0, 1.0]), "log")
    with pytest.raises(SettingsError, match="identity, log, logit"):
        rescaled(logs([0.0, 1.0]), "cube")


def test_held_out_keeps_groups_and_texts_together():
    by_group = logs(list(range(300)), group="g")
    held = held_out_rows(by_group, 0.3, 0)
    assert held.sum() == 90
    assert all(len(set(held[by_group.groups == g])) == 1 for g in range(100))
    by_text = logs(list(range(70)))
    held = held_out_rows(by_text, 0.3, 0)
    texts = np.array(by_text.completions)
    assert not set(texts[held]) & set(texts[~held])


def test_one_per_group_keeps_one_and_depends_on_the_seed():
    many = logs(list(range(300)), group="g")
    first, second = one_per_group(many, 0), one_per_group(many, 1)
    assert len(first) == len(set(first.groups)) == 100
    assert first.completions != second.completions or (first.outcome != second.outcome).any()
