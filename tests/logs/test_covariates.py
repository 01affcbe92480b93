import numpy as np
import pandas as pd
import pytest

from causalign import Logs, Roles


@pytest.mark.parametrize(
    ("values", "categorical", "kind", "expected"),
    [
        ([1, 2, 1], False, "numeric", [1, 2, 1]),
        ([201303, 201306, 201303], True, "categorical", [0, 1, 0]),
        ([True, False, True], False, "boolean", [1, 0, 1]),
        (["x", "w", "x"], False, "categorical", [1, 0, 1]),
        (
            pd.to_datetime(["1970-01-02 00:00", "1970-01-01 00:00", "1970-01-01 12:00"]),
            False,
            "datetime",
            [1, 0, 0.5],
        ),
        (pd.Categorical(["x", "w", "x"]), False, "categorical", [1, 0, 1]),
    ],
)
def test_kinds_of_confounders(values, categorical, kind, expected):
    roles = Roles("text", "y", confounders=("c",), categorical=("c",) if categorical else ())
    logs = Logs.of(pd.DataFrame({"text": list("abc"), "y": [1, 2, 3], "c": values}), roles)
    (covariate,) = logs.confounders
    assert covariate.kind == kind
    np.testing.assert_array_equal(covariate.values, expected)
