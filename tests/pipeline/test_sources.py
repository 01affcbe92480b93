"""Recipes read logs from databases and storages; a run knows by their content when to go on."""

import json
from urllib.parse import quote

import pyarrow.parquet as pq
import pytest

import causalign as ca
from causalign import pipeline, recipe
from causalign.errors import ArtifactError, CausalignError, SettingsError
from causalign.logs.database import write_table
from causalign.pipeline.plan import make_plan
from causalign.simulate import Newsletter
from tests.postgresql import PASSWORD

RECIPE = """
name: shop
data:
  SOURCE
  roles: {completion: mail, outcome: minutes_read, confounders: [weekday]}
encoder: style
"""
QUERY = "query: select mail, minutes_read, weekday from mails order by mail, minutes_read"


@pytest.fixture(scope="module")
def logs() -> ca.Logs:
    return Newsletter(rows=300, pairs=4).simulate().logs


def write_recipe(folder, source: str) -> recipe.Recipe:
    path = folder / "pipeline.yaml"
    path.write_text(RECIPE.replace("SOURCE", source))
    return recipe.load(path)


def run_quietly(asked: recipe.Recipe, folder) -> list[str]:
    lines: list[str] = []
    pipeline.run(asked, folder, say=lines.append)
    return lines


def test_a_run_knows_when_the_table_of_a_database_changed(tmp_path, logs, postgresql, monkeypatch):
    from adbc_driver_postgresql import dbapi

    monkeypatch.setenv("SHOP_LOGIN", quote(PASSWORD, safe=""))
    write_table(logs.data, postgresql, "mails")
    place = postgresql.rpartition("@")[2]
    source = f"uri: postgresql://reader:${{SHOP_LOGIN}}@{place}\n  {QUERY}"
    asked = write_recipe(tmp_path, source)
    run = tmp_path / "run"
    try:
        assert not any("done before" in line for line in run_quietly(asked, run))
        again = run_quietly(asked, run)
        assert sum("done before" in line for line in again) == 4
        with dbapi.connect(postgresql) as connection, connection.cursor() as cursor:
            cursor.execute("update mails set minutes_read = minutes_read + 1")
            connection.commit()
        with pytest.raises(ArtifactError, match="other settings or data"):
            run_quietly(asked, run)
    finally:
        with dbapi.connect(postgresql) as connection, connection.cursor() as cursor:
            cursor.execute("drop table mails")
            connection.commit()
    history = json.loads((run / "2-deconfound/logs.json").read_text())["history"]
    assert history[0] == f"read 300 rows from postgresql://***@{place}"
    for path in filter(lambda p: p.is_file(), run.rglob("*")):
        content = path.read_bytes()
        for secret in (PASSWORD, quote(PASSWORD, safe=""), "reader:"):
            assert secret.encode() not in content, path


def test_a_file_beside_the_recipe_gives_the_same_run_as_its_rows_in_a_database(tmp_path, logs):
    pytest.importorskip("adbc_driver_sqlite")
    rows = logs.data.select(["mail", "minutes_read", "weekday"])
    rows = rows.sort_by([("mail", "ascending"), ("minutes_read", "ascending")])
    write_table(rows, f"sqlite:///{tmp_path}/shop.db", "mails")
    pq.write_table(rows, tmp_path / "mails.parquet")
    adjusted = []
    for source in (f"uri: sqlite:///shop.db\n  {QUERY}", "path: mails.parquet"):
        run = tmp_path / f"run-{len(adjusted)}"
        run_quietly(write_recipe(tmp_path, source), run)
        adjusted.append(pq.read_table(run / "2-deconfound/logs.parquet")["minutes_read_adjusted"])
    assert adjusted[0].equals(adjusted[1])


def test_a_recipe_reads_a_storage(tmp_path, logs):
    fsspec = pytest.importorskip("fsspec")
    with fsspec.open("memory://shop/mails.parquet", "wb") as file:
        pq.write_table(logs.data, file)
    asked = write_recipe(tmp_path, "path: memory://shop/mails.parquet")
    read = make_plan(asked).train
    assert read.history[0] == "read 300 rows from memory://shop/mails.parquet"


@pytest.mark.parametrize(
    "source",
    [
        "path: a.csv\n  uri: sqlite:///shop.db\n  query: select 1",
        "uri: sqlite:///shop.db",
        "path: a.csv\n  query: select 1",
        "held_out: 0.3",
    ],
)
def test_data_are_a_path_or_a_query(tmp_path, source):
    with pytest.raises(SettingsError, match="'data': give either a path, or"):
        write_recipe(tmp_path, source)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("uri: postgresql://reader:${SHOP_LOGIN}@127.0.0.1:1/shop", "Connection refused"),
        ("uri: ${SHOP_ADDRESS}", "Connection refused"),
        ("uri: postgresql://reader:hunter2@127.0.0.1:1/shop?sslmode=hunter2", "sslmode"),
        ("uri: mysql://reader:hunter2@127.0.0.1/shop", "mysql"),
        ("uri: sqlite:///none.db", "There is no file"),
    ],
)
def test_a_database_that_is_away_leaves_nothing(tmp_path, monkeypatch, source, expected):
    pytest.importorskip("adbc_driver_postgresql")
    monkeypatch.setenv("SHOP_LOGIN", "hunter2")
    monkeypatch.setenv("SHOP_ADDRESS", "postgresql://reader:hunter2@127.0.0.1:1/shop")
    asked = write_recipe(tmp_path, f"{source}\n  {QUERY}")
    with pytest.raises(CausalignError) as caught:
        run_quietly(asked, tmp_path / "run")
    message = str(caught.value)
    assert expected in message
    assert "hunter2" not in message
    assert "reader" not in message
    assert message.count("\n") < 3
    assert [path.name for path in tmp_path.iterdir()] == ["pipeline.yaml"]
