"""Reproductions read what publishers offer as they read the tables made of it."""

import importlib
import sys
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

FOLDER = Path(__file__).parents[2] / "reproductions"


@pytest.fixture
def module(monkeypatch):
    """Import a module of a reproduction, which others have under the same name."""

    def load(folder, name):
        pytest.importorskip("torch")
        monkeypatch.syspath_prepend(str((FOLDER / folder).parent))
        monkeypatch.syspath_prepend(str(FOLDER / folder))
        monkeypatch.delitem(sys.modules, name, raising=False)
        return importlib.import_module(name)

    return load


def test_hate_speech_by_annotator(module, tmp_path):
    posts = module("cpo/hate_speech", "posts")
    texts = [f"post {number}" for number in range(20)]
    scores = {text: np.linspace(-1, 2, 4) - number / 5 for number, text in enumerate(texts)}
    rows = [(text, score) for text, of in scores.items() for score in of]
    annotated = pa.table({"text": [t for t, _ in rows], "hate_speech_score": [s for _, s in rows]})
    shares = [float(np.mean(scores[text] > 0)) for text in texts]
    table = pa.table({"text": texts, "hateful": shares, "annotations": [4] * 20})
    read = {}
    for name, each in (("original", annotated), ("table", table)):
        pq.write_table(each, tmp_path / f"{name}.parquet")
        settings = {"data": tmp_path / f"{name}.parquet", "texts": None, "encoder": "hashing"}
        found = posts.read({**settings, "components": 8})
        read[name] = dict(zip(found.texts, found.outcome, strict=True))
    assert read["original"] == read["table"]
    assert len(set(read["table"].values())) > 2


def test_posts_of_stack_exchange(module, tmp_path):
    posts = module("deconfoundlm/monday", "posts")
    rows = [
        {"Id": 1, "PostTypeId": 1, "ParentId": None, "CreationDate": "2014-03-13T20:32:04.033",
         "Score": 37, "Title": "Why \"a\" & <b>?", "Body": "<p>Tell</p>\n\n<p>me & you.</p>"},
        {"Id": 2, "PostTypeId": 2, "ParentId": 1, "CreationDate": "2014-03-17T20:32:04.033",
         "Score": -1, "Title": None, "Body": "<p>No.</p>"},
    ]  # fmt: skip
    attributes = (
        " ".join(f"{key}={quoteattr(str(value))}" for key, value in row.items() if value)
        for row in rows
    )
    lines = "".join(f"  <row {each} />\n" for each in attributes)
    xml = tmp_path / "academia" / "Posts.xml"
    xml.parent.mkdir()
    xml.write_text(f'<?xml version="1.0" encoding="utf-8"?>\n<posts>\n{lines}</posts>')
    pq.write_table(pa.Table.from_pylist(rows).append_column("site", [["academia"] * 2]),
                   tmp_path / "posts.parquet")  # fmt: skip
    assert posts._posts(xml) == posts._posts(tmp_path / "posts.parquet")
    assert set(posts._posts(xml)[0]) == set(posts.COLUMNS)


def test_news_of_mind(module, tmp_path):
    news = module("deconfoundlm/mind", "news")
    lines = [
        'N1\tsports\tnfl\tThe "Jets win\tA great day.\thttps://a\t[]\t[]',
        "N2\tnews\tworld\tElsewhere\tNothing.\thttps://b\t[]\t[]",
        "N3\tsports\tnba\tNo abstract\t\thttps://c\t[]\t[]",
    ]
    (tmp_path / "news.tsv").write_text("\n".join(lines) + "\n")
    read = news.read(tmp_path / "news.tsv")
    assert (read.titles, read.abstracts) == (['The "Jets win'], ["A great day."])
