import pickle

import pytest

from causalign.errors import (
    CausalignError,
    ColumnNotFound,
    InputError,
    RoleNotDeclared,
    hide_address,
    hide_secrets,
    mask_address,
    nearest,
)


def test_a_missing_role_says_how_to_declare_it_also_in_another_process():
    error = RoleNotDeclared("Pairs need a group.", "group", "cluster")
    assert str(error) == (
        "Pairs need a group. Name the column in `Roles(group=...)` or `Roles(cluster=...)`."
    )
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (str(copy), copy.why, copy.roles) == (str(error), error.why, error.roles)


@pytest.mark.parametrize("kind", [LookupError, ValueError, InputError, CausalignError])
def test_errors_are_what_they_refine(kind):
    with pytest.raises(kind):
        raise RoleNotDeclared("why", "group")


def test_a_message_is_not_quoted_as_a_key_would_be():
    assert str(ColumnNotFound("no column")) == "no column"


def test_nearest_names_close_names_or_the_few_there_are():
    assert nearest("prise", ["price", "week"]) == "did you mean 'price'?"
    assert nearest("x", ["price", "week"]) == "there are: price, week"
    assert nearest("x", []) == "there are none"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (
            "postgresql://me:hunter2@host:5432/shop?key=hunter2",
            "postgresql://***@host:5432/shop?***",
        ),
        ("postgresql://me:hun/ter2@host/shop", "postgresql://***@host/shop"),
        ("postgresql://me:hun?ter#2@host/shop", "postgresql://***@host/shop"),
        ("postgresql://me:hun@ter2@host/shop", "postgresql://***@host/shop"),
        ("https://hunter2@host/a.csv#part", "https://***@host/a.csv?***"),
        ("s3://bucket/a.csv", "s3://bucket/a.csv"),
        ("hf://datasets/me/mails@main/a.csv", "hf://datasets/me/mails@main/a.csv"),
        ("sqlite:////data/shop.db", "sqlite:////data/shop.db"),
        ("no address", "no address"),
    ],
)
def test_addresses_are_shown_without_what_may_be_secret(address, shown):
    assert mask_address(address) == shown
    assert "hunter2" not in hide_secrets(f"It lies at {address!r}.")


def test_words_of_drivers_are_shown_without_parts_of_the_address():
    address = "postgresql://me:hunter2%2Fb4d@host/shop?options=-c%20role%3Dboss"
    words = f"{address}: role 'boss' with 'hunter2/b4d' or b4d, '-c role=boss', of postgresql"
    shown = hide_address(words, address)
    assert shown.endswith("of postgresql")
    for secret in ("hunter2", "b4d/", "-c role=boss", "role%3D"):
        assert secret not in shown
