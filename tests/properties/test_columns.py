"""The same data give the same numbers, or the same refusal, whatever holds them.

Kind by role by container by file format, on random values.
"""

import json
import re
import tempfile
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from causalign import Logs, Roles
from causalign.errors import InputError

FEW_EXAMPLES = settings(
    max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
Rows = dict[str, list[object]]


def words(rows: Rows) -> Rows:
    """Write dates as files without types do."""
    return {n: [str(v) if isinstance(v, date) else v for v in c] for n, c in rows.items()}


def through(write: Callable[[Rows, Path], object], suffix: str) -> Callable[[Rows, Roles], Logs]:
    def read(rows: Rows, roles: Roles) -> Logs:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"log{suffix}"
            write(rows, path)
            return Logs.read(path, roles)

    return read


def write_json_lines(rows: Rows, path: Path) -> None:
    lines = (dict(zip(rows, row, strict=True)) for row in zip(*words(rows).values(), strict=True))
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def as_rows(rows: Rows) -> list[dict[str, object]]:
    return [dict(zip(rows, row, strict=True)) for row in zip(*rows.values(), strict=True)]


DOORS: dict[str, Callable[[Rows, Roles], Logs]] = {
    "pandas": lambda rows, roles: Logs.of(pd.DataFrame(rows), roles),
    "polars": lambda rows, roles: Logs.of(pl.DataFrame(rows, strict=False), roles),
    "lazy": lambda rows, roles: Logs.of(pl.DataFrame(rows, strict=False).lazy(), roles),
    "Arrow": lambda rows, roles: Logs.of(pa.table(rows), roles),
    "batch": lambda rows, roles: Logs.of(pa.table(rows).to_batches()[0], roles),
    "mapping": Logs.of,
    "rows": lambda rows, roles: Logs.of(as_rows(rows), roles),
    "parquet": through(lambda rows, path: pd.DataFrame(rows).to_parquet(path), ".parquet"),
    "csv": through(lambda rows, path: pd.DataFrame(rows).to_csv(path, index=False), ".csv"),
    "polars csv": through(lambda rows, path: pl.DataFrame(rows).write_csv(path), ".csv"),
    "tsv": through(lambda rows, path: pl.DataFrame(rows).write_csv(path, separator="\t"), ".tsv"),
    "jsonl": through(write_json_lines, ".jsonl"),
}  # fmt: skip

VALUES = {
    "integers": st.integers(-999, 999),
    "floats": st.integers(-9999, 9999).map(lambda value: value / 8 + 1 / 16),
    "booleans": st.booleans(),
    "words": st.sampled_from(["a", "B", "été", "a, b", 'say "x"', "日本"]),
    "dates": st.integers(-200_000, 20_000).map(lambda days: date(1970, 1, 1) + timedelta(days)),
}
ROLES = {
    "confounder": Roles("text", "y", confounders="c"),
    "categorical": Roles("text", "y", confounders="c", categorical="c"),
    "cluster": Roles("text", "y", cluster="c"),
    "group": Roles("text", "y", group="c"),
    "time": Roles("text", "y", time="c"),
    "weight": Roles("text", "y", weight="c"),
    "outcome": Roles("text", "c"),
}


def partition(codes: np.ndarray) -> tuple[int, ...]:
    """Return codes in the order in which they come, so that names of levels do not matter."""
    place: dict[int, int] = {}
    return tuple(place.setdefault(int(code), len(place)) for code in codes)


def told(read: Callable[[Rows, Roles], Logs], rows: Rows, role: str) -> object:
    """Return what stages see of a column, or the refusal without the cell that it shows."""
    try:
        logs = read(rows, ROLES[role])
    except InputError as error:
        said = re.sub(r",? (which holds|such as|but) .*|not numeric but .*", "", str(error))
        return type(error).__name__, said.partition(". Fill")[0].rstrip(").")
    if role in ("categorical", "cluster", "group"):
        return partition(logs.codes_of("c"))
    if role == "outcome":
        return tuple(logs.outcome)
    read_as = logs.covariate("c")
    values = read_as.values
    return read_as.kind, partition(values) if read_as.is_categorical else tuple(values)


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("role", ROLES)
@FEW_EXAMPLES
@given(data=st.data())
def test_containers_and_formats_agree(kind, role, data):
    column = data.draw(st.lists(VALUES[kind], min_size=3, max_size=8))
    if data.draw(st.booleans()) and kind != "booleans":
        column[data.draw(st.integers(0, len(column) - 1))] = None
    assume(len({value for value in column if value is not None}) > 1)
    rows: Rows = {"text": [f"mail {i}" for i in range(len(column))]}
    rows |= {"y": list(range(len(column))), "c": column}
    door = data.draw(st.sampled_from(sorted(DOORS)))
    assert told(DOORS[door], rows, role) == told(DOORS["Arrow"], rows, role)


def write_number(value: float, decimal: str, group: str) -> str:
    whole, _, rest = f"{value:,.2f}".partition(".")
    return whole.replace(",", group) + decimal + rest


@FEW_EXAMPLES
@given(
    values=st.lists(st.integers(-(10**9), 10**9), min_size=3, max_size=9, unique=True),
    marks=st.sampled_from(
        [(".", ","), (",", "."), (",", " "), (".", "'"), (",", "\u202f"), (".", "")]
    ),
    dress=st.sampled_from(["{}", "{} €", "${}", "EUR {}", " {} ", "{}\u00a0kr"]),
)
def test_numbers_are_the_same_in_every_notation(values, marks, dress):
    numbers = [value / 100 for value in values]
    rows: Rows = {"text": [f"mail {i}" for i in range(len(values))], "y": list(range(len(values)))}
    written = [dress.format(write_number(number, *marks)) for number in numbers]
    logs = DOORS["csv"](rows | {"c": written}, ROLES["confounder"])
    assert logs.confounders[0].kind == "numeric"
    assert logs.confounders[0].values.tolist() == numbers


@FEW_EXAMPLES
@given(
    cells=st.lists(st.text("0123456789.eE+-", min_size=1, max_size=12), min_size=3, max_size=9),
    role=st.sampled_from(["cluster", "group", "categorical"]),
)
def test_names_in_a_file_are_exact(cells, role):
    assume(not {"", "N/A"} & {cell.strip() for cell in cells})
    rows: Rows = {"text": [f"mail {i}" for i in range(len(cells))], "y": list(range(len(cells)))}
    logs = DOORS["csv"](rows | {"c": cells}, ROLES[role])
    place = {cell: k for k, cell in enumerate(dict.fromkeys(cells))}
    assert partition(logs.codes_of("c")) == tuple(place[cell] for cell in cells)
