"""A server that writes in a policy's place has its weights, and what goes wrong is said."""

import numpy as np
import pytest
import torch

from causalign.errors import ArtifactError, ExtraNotInstalled, SettingsError
from causalign.lm.generate import sample
from causalign.lm.language_model import Lora, add_lora, load_language_model
from causalign.lm.value_head import NAME, add_value_head
from causalign.lm.vllm_server import VllmServer
from causalign.policy import PPO, Training

vllm_generation = pytest.importorskip("trl.generation.vllm_generation")
ADDRESS = "http://localhost:8000"


class Client:
    """Stand for vLLM: a plain network that takes weights by their names and samples from them."""

    def __init__(self, folder):
        self.network = load_language_model(folder).model
        self.sent, self.emptied, self.asked = 0, 0, []

    def update_named_params(self, metadata, named):
        state = {name: tensor.clone() for name, tensor in named}
        assert [name for name, *_ in metadata] == list(state)
        own = dict(self.network.named_parameters())
        assert set(state) == set(own)  # no adapter, no value head, nothing left out
        self.network.load_state_dict(state, strict=False)
        self.sent += 1

    def reset_prefix_cache(self):
        self.emptied += 1

    def generate(self, prompts, max_tokens, generation_kwargs, **asked):
        self.asked.append(asked | generation_kwargs)
        torch.manual_seed(generation_kwargs["seed"])
        end = self.network.generation_config.eos_token_id
        found = []
        for ids in prompts:
            rows = self.network.generate(
                torch.tensor([ids]), do_sample=True, top_k=0, max_new_tokens=max_tokens,
                eos_token_id=end, pad_token_id=end,
            )  # fmt: skip
            found.append(rows[0, len(ids) :].tolist())
        return {"prompt_ids": prompts, "completion_ids": found, "logprobs": None}


@pytest.fixture
def client(monkeypatch, tiny_lm_folder):
    client = Client(tiny_lm_folder)
    monkeypatch.setattr(
        vllm_generation.VLLMGeneration,
        "_init_vllm",
        lambda self: setattr(self, "vllm_client", client),
    )
    return client


def moved(folder):
    """Return a model whose adapter is not zero, with a value head."""
    model = add_lora(load_language_model(folder), Lora(dropout=0.0), seed=0)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, weight in model.model.named_parameters():
            if "lora_B" in name:
                weight.normal_(0.0, 0.3)
    add_value_head(model)
    return model


def test_the_server_writes_with_the_weights_as_they_are(client, tiny_lm_folder):
    model = moved(tiny_lm_folder)
    server = VllmServer(model, ADDRESS, max_new_tokens=5)
    before = {name: weight.clone() for name, weight in model.model.named_parameters()}
    drawn = sample(model, ["Say "] * 3, max_new_tokens=5, seed=7, sampler=server)
    ids = torch.tensor([list(drawn.completions.prompts[0])])
    model.model.eval()
    with torch.inference_mode():
        ours = model.model(ids).logits[0, -1].log_softmax(-1)
        theirs = client.network(ids).logits[0, -1].log_softmax(-1)
        start = load_language_model(tiny_lm_folder).model(ids).logits[0, -1].log_softmax(-1)
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert not torch.allclose(start, theirs, atol=1e-2)
    assert (client.sent, client.emptied) == (1, 1)
    assert client.asked[0]["seed"] == 7
    assert (client.asked[0]["temperature"], client.asked[0]["top_k"]) == (1.0, 0)
    assert (client.asked[0]["top_p"], client.asked[0]["min_p"]) == (1.0, 0.0)
    # The log-probabilities are the model's own, of what the server wrote.
    assert drawn.logprob.shape == (3,)
    assert np.all(drawn.logprob < 0)
    # Sending leaves the model as it was, value head included.
    after = dict(model.model.named_parameters())
    assert list(after) == list(before)
    assert f"{NAME}.weight" in after
    for name, weight in before.items():
        assert torch.allclose(weight, after[name], atol=1e-6)


def test_ppo_learns_from_what_the_server_writes(client, tiny_lm_folder, tmp_path):
    def es(texts, _prompts):
        return np.array([text.count("e") for text in texts], dtype=float)

    training = Training(steps=24, batch_size=8, learning_rate=2e-2, warmup=0.0)
    method = PPO(
        model=str(tiny_lm_folder), lora=Lora(dropout=0.0), training=training, rollout_size=16,
        num_ppo_epochs=2, max_new_tokens=6, kl_coef=0.0, evaluation_texts=0, vllm=ADDRESS,
    )  # fmt: skip
    fit = method.fit(["Say "], tmp_path / "ppo", reward=es)
    rewards = fit.curve["reward"].to_numpy()
    assert client.sent == 6  # one for each rollout
    assert rewards[-4:].mean() > rewards[:4].mean()


def test_what_is_missing_is_said(monkeypatch, client, tiny_lm_folder):
    model = load_language_model(tiny_lm_folder)
    server = VllmServer(model, ADDRESS, 5)

    def refuse(*_, **__):
        raise ConnectionError("connection refused")

    client.generate = refuse
    with pytest.raises(ArtifactError, match="stopped answering"):
        server.write([(1, 2)], seed=0)
    monkeypatch.setattr(vllm_generation.VLLMGeneration, "_init_vllm", refuse)
    with pytest.raises(ArtifactError, match="No vLLM server answers at"):
        VllmServer(model, ADDRESS, 5)
    monkeypatch.undo()
    if not vllm_generation.is_vllm_available():
        with pytest.raises(ExtraNotInstalled, match="needs TRL and vLLM"):
            VllmServer(model, ADDRESS, 5)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SettingsError, match="one process"):
        VllmServer(model, ADDRESS, 5)
