import numpy as np
import pyarrow as pa
import pytest

from causalign import Logs, Roles
from causalign.errors import InputError, SettingsError
from causalign.logs.scales import rescale


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
    found = rescale(logs([0, 5, 10], [10, 10, 10]), "logit").outcome
    np.testing.assert_allclose(found, [np.log(0.5 / 10.5), 0, np.log(10.5 / 0.5)])


def test_log_and_logit_of_plain_outcomes():
    np.testing.assert_allclose(rescale(logs([1.0, np.e]), "log").outcome, [0, 1])
    np.testing.assert_allclose(rescale(logs([0.5, 0.75]), "logit").outcome, [0, np.log(3)])
    with pytest.raises(InputError, match="above 0"):
        rescale(logs([0.0, 1.0]), "log")
    with pytest.raises(SettingsError, match="identity, log, logit"):
        rescale(logs([0.0, 1.0]), "cube")
