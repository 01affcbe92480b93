"""A publisher on this machine, and the source that the tests fetch from it."""

import pytest

from causalign.data import publishers
from tests.data.imitated_publisher import (
    CONFIRMATORY,
    EXPLORATORY,
    TOP,
    Publisher,
    osf_file,
    osf_folder,
    source_of,
)


@pytest.fixture
def publisher(monkeypatch):
    made = Publisher()
    for kind in ("OSF", "Dataverse", "HuggingFace", "InternetArchive"):
        monkeypatch.setattr(getattr(publishers, kind), "base", made.address)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield made
    made.close()


@pytest.fixture
def upworthy(publisher):
    """Return the source on OSF: a folder within the top one, whose listing has two pages."""
    next_page = f"{publisher.address}{TOP}5f/?page=2"
    folder = osf_folder(publisher, "datasets", f"{TOP}5f/")
    exploratory = osf_file(publisher, "exploratory-packages-03.csv", EXPLORATORY)
    confirmatory = osf_file(publisher, "confirmatory-packages-03.csv", CONFIRMATORY)
    undeployed = {"attributes": {"name": "undeployed.csv", "kind": "file", "size": 3, "extra": {}},
                  "links": {"download": "none"}}  # fmt: skip
    publisher.json(TOP, {"data": [folder, undeployed], "links": {"next": None}})
    publisher.json(f"{TOP}5f/", {"data": [exploratory], "links": {"next": next_page}})
    publisher.json(f"{TOP}5f/?page=2", {"data": [confirmatory], "links": {"next": None}})
    wanted = "*exploratory-packages*", "*confirmatory-packages*"
    return source_of(publishers.OSF("jd64p"), *wanted)
