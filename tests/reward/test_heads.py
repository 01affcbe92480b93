"""Every kind of head survives being saved; what cannot be trusted is refused."""

import itertools
import json

import numpy as np
import pytest

from causalign.errors import ArtifactError, InputError, SettingsError
from causalign.lm import load_encoder
from causalign.reward import AudienceHead, LinearHead, RewardModel
from causalign.reward.heads import ClassHead, NetworkHead
from causalign.reward.saved_model import HEADS, build_head

TEXTS = ["free mugs today", "rain and more rain", "Mugs!"]
random = np.random.default_rng(0)


def network(*sizes):
    layers = list(itertools.pairwise(sizes))
    return NetworkHead(
        tuple(random.normal(size=layer) for layer in layers),
        tuple(random.normal(size=out) for _, out in layers),
    )


EXAMPLES = {
    "linear": LinearHead(random.normal(size=2048), 0.25),
    "audiences": AudienceHead(
        random.normal(size=2048),
        0.25,
        None,
        None,
        {"new": LinearHead(random.normal(size=2048)), "old": LinearHead(np.ones(2048), 1.0)},
        np.array([1.0, 2.0]),
    ),
    "network": network(2048, 4, 1),
    "classes": ClassHead(network(2048, 4, 3), np.array([0.0, 1.0, 4.0])),
}
EXAMPLES_TOO = {"classes": ClassHead(network(2048, 2, 1), np.arange(3.0), np.array([-1.0, 1.0]))}


@pytest.mark.parametrize("head", [*EXAMPLES.values(), *EXAMPLES_TOO.values()])
def test_a_saved_head_scores_the_same(head, tmp_path):
    saved = RewardModel("hashing", head, encoder=load_encoder("hashing"))
    loaded = RewardModel.load(saved.save(tmp_path))
    assert type(loaded.head) is type(head)
    assert (loaded(TEXTS) == saved(TEXTS)).all()


def test_every_kind_of_head_is_tried_above():
    assert set(HEADS) == set(EXAMPLES)


def test_a_head_of_an_unknown_kind_is_refused(tmp_path):
    RewardModel("hashing", EXAMPLES["linear"]).save(tmp_path)
    path = tmp_path / "reward_model.json"
    content = json.loads(path.read_text())
    content["head"]["kind"] = "liner"
    path.write_text(json.dumps(content))
    with pytest.raises(ArtifactError, match="did you mean 'linear'"):
        RewardModel.load(tmp_path)


@pytest.mark.parametrize("head", [None, [], {"kind": "network", "settings": {"layers": 9}}])
def test_a_head_that_does_not_fit_its_arrays_is_refused(tmp_path, head):
    RewardModel("hashing", EXAMPLES["network"]).save(tmp_path)
    path = tmp_path / "reward_model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"head": head}))
    with pytest.raises(ArtifactError):
        RewardModel.load(tmp_path)


@pytest.mark.parametrize("settings", [{}, {"layers": "two"}, {"layers": None}])
def test_altered_settings_are_refused(settings):
    with pytest.raises(ArtifactError, match="make no head"):
        build_head("network", settings, EXAMPLES["network"].tensors())


def test_arrays_that_are_not_finite_are_refused():
    with pytest.raises(ArtifactError, match="make no head"):
        build_head("linear", {}, {"coefficients": np.array([np.nan]), "intercept": np.zeros(1)})


def fitted(texts=TEXTS):
    encoder = load_encoder("tfidf", training_texts=texts)
    head = LinearHead(random.normal(size=encoder.dimension))
    return RewardModel(encoder.name, head, encoder=encoder)


def test_a_model_carries_the_words_it_was_fitted_with(tmp_path):
    saved = fitted()
    saved.save(tmp_path)
    loaded = RewardModel.load(tmp_path)
    assert (loaded(TEXTS) == saved(TEXTS)).all()
    assert loaded.encoder_revision == saved.encoder.revision


def test_saving_again_leaves_one_encoder_and_what_is_not_ours(tmp_path):
    (tmp_path / "encoder-notes").mkdir()
    fitted().save(tmp_path)
    other = fitted([*TEXTS, "returns"])
    other.save(tmp_path)
    left = sorted(p.name for p in tmp_path.glob("encoder-*"))
    assert left == sorted(["encoder-notes", f"encoder-{other.encoder.revision}"])
    assert (RewardModel.load(tmp_path)(TEXTS) == other(TEXTS)).all()


def test_altered_words_are_refused(tmp_path):
    fitted().save(tmp_path)
    (path,) = tmp_path.glob("encoder-*/tfidf.json")
    path.write_text(path.read_text().replace("mugs", "cups"))
    with pytest.raises(SettingsError, match="revision"):
        RewardModel.load(tmp_path)
    path.unlink()
    with pytest.raises(ArtifactError):
        RewardModel.load(tmp_path)


def test_the_factor_of_a_covariance_is_saved_and_older_folders_have_none(tmp_path):
    factor = random.normal(size=(2049, 3))
    head = LinearHead(EXAMPLES["linear"].coefficients, 0.25, factor)
    saved = RewardModel("hashing", head, encoder=load_encoder("hashing"))
    before = RewardModel("hashing", EXAMPLES["linear"], encoder=load_encoder("hashing"))
    loaded = RewardModel.load(saved.save(tmp_path / "new"))
    F = loaded.covariance_factor(TEXTS)
    vectors = load_encoder("hashing").encode(TEXTS)
    L, shrunk = np.split(factor.astype(np.float32).astype(np.float64), [2], axis=1)
    np.testing.assert_allclose(F @ F.T, (L[0] + vectors @ L[1:]) @ (L[0] + vectors @ L[1:]).T)
    np.testing.assert_allclose(loaded.shrinkage(TEXTS), (shrunk[0] + vectors @ shrunk[1:])[:, 0])
    np.testing.assert_allclose(loaded.standard_error(TEXTS), np.sqrt(np.diag(F @ F.T)))
    assert "covariance_factor" not in before.head.tensors()  # as all folders were once
    old = RewardModel.load(before.save(tmp_path / "old"))
    assert (old(TEXTS) == loaded(TEXTS)).all()
    assert not old.has_covariance
    with pytest.raises(SettingsError, match="Fit 'ridge', 'pairwise', 'within-tests' or 'pooled'"):
        old.covariance_factor(TEXTS)
    by_network = RewardModel("hashing", EXAMPLES["network"], settings={"method": "perceptron"})
    with pytest.raises(SettingsError, match="fitted by 'perceptron', does not tell how uncertain"):
        by_network.standard_error(TEXTS)


@pytest.mark.parametrize(
    "factor", [np.zeros((2048, 3)), np.zeros(2049), np.full((2049, 1), np.nan)]
)
def test_a_factor_that_does_not_fit_is_refused(factor):
    with pytest.raises(InputError, match="factor of the covariance must be"):
        LinearHead(np.zeros(2048), 0.0, factor)
