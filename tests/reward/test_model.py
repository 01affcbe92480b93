import json
from dataclasses import dataclass

import numpy as np
import pytest

from causalign import files
from causalign.errors import ArtifactError, InputError, SettingsError
from causalign.lm import EmbeddingCache, embed
from causalign.logs.pairs import join_prompts
from causalign.results import Verdict
from causalign.reward import LinearHead, RewardModel, saved_model
from causalign.reward.findings import texts_read_whole


@dataclass
class Lengths:
    """Encode a text as its number of characters and of blanks."""

    name: str = "lengths"
    revision: str = "1"
    dimension: int = 2

    def encode(self, texts, progress=False):
        return np.array([[len(t), t.count(" ")] for t in texts], dtype=np.float32)

    def too_long(self, texts):
        return np.array([len(t) > 9 for t in texts])


HEAD = LinearHead(np.array([0.5, -2.0]), 1.0)


def made(**changes):
    return RewardModel(
        **({"encoder_name": "lengths", "head": HEAD, "encoder": Lengths()} | changes)
    )


def test_it_scores_completions_in_units_of_the_outcome():
    assert made()(["abcd", "a b"]) == pytest.approx([3.0, 0.5])
    assert made()(["abcd", "a b"], ["ignored", "too"]) == pytest.approx([3.0, 0.5])
    assert made()([]).shape == (0,)


def test_it_reads_prompts_where_it_was_fitted_with_them():
    scorer = made(reads_prompt=True)
    texts = join_prompts(["abcd"], ["x y"])
    assert scorer(["abcd"], ["x y"]) == pytest.approx(HEAD(Lengths().encode(texts)))
    with pytest.raises(InputError, match="reads prompts"):
        scorer(["abcd"])
    with pytest.raises(InputError, match="2 prompts for 1"):
        scorer(["abcd"], ["x", "y"])


def test_the_encoder_is_loaded_when_it_is_needed(monkeypatch, tmp_path):
    saved_model._load_once.cache_clear()
    loaded = []
    monkeypatch.setattr(
        saved_model, "load_encoder", lambda name: (loaded.append(name), Lengths())[1]
    )
    scorer = made(encoder=None)
    for _ in range(2):
        assert scorer(["abcd"], cache=EmbeddingCache(tmp_path)) == pytest.approx([3.0])
    assert loaded == ["lengths"]
    saved_model._load_once.cache_clear()


def test_a_saved_model_scores_the_same(tmp_path):
    saved = made(units="clicks per thousand", reads_prompt=True)
    saved.save(tmp_path / "model")
    loaded = RewardModel.load(tmp_path / "model", encoder=Lengths())
    assert loaded(["abcd"], ["p"]) == saved(["abcd"], ["p"])
    assert loaded.units == "clicks per thousand"
    assert loaded.encoder_revision == "1"


def test_saving_again_replaces_the_model(tmp_path):
    made().save(tmp_path)
    made(head=LinearHead(np.array([1.0, 0.0]))).save(tmp_path)
    assert RewardModel.load(tmp_path, Lengths())(["abcd"]) == pytest.approx([4.0])
    assert len(list(tmp_path.iterdir())) == 2


def test_a_save_cut_short_leaves_the_old_model(tmp_path, monkeypatch):
    made().save(tmp_path)
    replace = files.os.replace

    def fail(source, target):
        if str(target).endswith("json"):
            raise OSError("no space left")
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(ArtifactError, match="no space"):
        made(head=LinearHead(np.array([1.0, 0.0]))).save(tmp_path)
    assert RewardModel.load(tmp_path, Lengths())(["abcd"]) == pytest.approx([3.0])


def test_altered_weights_are_refused(tmp_path):
    made().save(tmp_path)
    (weights,) = tmp_path.glob("head-*")
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ArtifactError, match="SHA-256"):
        RewardModel.load(tmp_path)
    weights.unlink()
    with pytest.raises(ArtifactError, match="cannot be read"):
        RewardModel.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 3}, "format version 3"),
        ({"format": "other"}, "does not describe"),
        ({"encoder": None}, "incomplete"),
        ({"weights": "../../secret"}, "cannot be read"),
    ],
)
def test_another_description_is_refused(tmp_path, change, message):
    made().save(tmp_path)
    path = tmp_path / "reward_model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ArtifactError, match=message):
        RewardModel.load(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", "\x00"])
def test_a_damaged_description_is_refused(tmp_path, content):
    made().save(tmp_path)
    (tmp_path / "reward_model.json").write_text(content)
    with pytest.raises(ArtifactError):
        RewardModel.load(tmp_path)


def test_an_empty_folder_is_no_model(tmp_path):
    with pytest.raises(ArtifactError, match="no reward model"):
        RewardModel.load(tmp_path)


def test_another_encoder_is_refused(tmp_path):
    made().save(tmp_path)
    with pytest.raises(SettingsError, match="revision"):
        RewardModel.load(tmp_path, encoder=Lengths(revision="2"))
    with pytest.raises(SettingsError, match="length"):
        RewardModel.load(tmp_path, encoder=Lengths(dimension=3))


def test_truncated_texts_are_a_finding():
    read = embed(["short", "very long text"], Lengths())
    found = texts_read_whole(read.truncated, len(read.vectors))
    assert (found.code, found.verdict) == ("RM102", Verdict.WARN)
    assert found.numbers == {"truncated": 1.0, "texts": 2.0}
    assert texts_read_whole(embed(["short"], Lengths()).truncated, 1).verdict is Verdict.PASS
