import numpy as np
import pytest

import causalign as ca
from causalign.errors import InputError, NotIdentified, RoleNotDeclared
from causalign.logs.audiences import read_audiences, require_audience

N = 60
TABLE = {
    "text": [f"text {i}" for i in range(N)],
    "y": np.arange(N, dtype=float),
    "reader": [["new", "old"][i % 2] for i in range(N)],
    "mobile": [i % 3 == 0 for i in range(N)],
    "age": np.arange(N, dtype=float) + 20,
    "since": np.datetime64("2024-01-01") + np.arange(N),
    "same": ["all"] * N,
    "user": [f"user {i}" for i in range(N)],
}


def read(*audience, **more):
    return read_audiences(ca.Logs.of(TABLE, ca.Roles("text", "y", audience=audience, **more)))


def test_levels_are_audiences_and_columns_are_crossed():
    assert read("reader").names == ("new", "old")
    both = read("reader", "mobile")
    assert both.names == (
        "new, mobile: no",
        "new, mobile: yes",
        "old, mobile: no",
        "old, mobile: yes",
    )
    assert both.rows.tolist() == [20, 10, 20, 10]
    assert both.names[both.codes[3]] == "old, mobile: yes"


def test_numbers_and_dates_are_cut_into_thirds():
    age = read("age")
    assert age.names == ("age to 39", "age over 39 to 59", "age over 59")
    assert age.rows.tolist() == [20, 20, 20]
    assert read("since").names[0] == "since to 2024-01-20"


def test_bad_audiences_are_refused_with_the_reason():
    with pytest.raises(NotIdentified, match="one audience"):
        read("same")
    with pytest.raises(InputError, match="at most 50"):
        read("user")
    with pytest.raises(RoleNotDeclared):
        read()
    table = TABLE | {"reader": [None, *TABLE["reader"][1:]]}
    with pytest.raises(InputError, match="missing"):
        ca.Logs.of(table, ca.Roles("text", "y", audience=("reader",)))
    with pytest.raises(InputError, match="'nwe' is not among.*'new', 'old'"):
        require_audience("nwe", ("new", "old"))


def test_prompts_name_the_audience():
    roles = ca.Roles("text", "y", audience=("reader",))
    named = ca.logs.address_prompts(ca.Logs.of(TABLE, roles))
    assert named.prompts[1] == "Reader: old\n" == ca.logs.address("old")
    table = TABLE | {"ask": ["Write: "] * N}
    asked = ca.Logs.of(table, ca.Roles("text", "y", prompt="ask", audience=("reader",)))
    named = ca.logs.address_prompts(asked)
    assert named.prompts[0] == "Reader: new\nWrite: "
    assert asked.prompts[0] == "Write: "
