"""Let a running vLLM server write, with the weights that a model has by then."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from causalign.errors import ArtifactError, ExtraNotInstalled, SettingsError
from causalign.lm.completions import Ids
from causalign.lm.language_model import LanguageModel
from causalign.lm.processes import process_count
from causalign.lm.value_head import NAME as VALUE_HEAD


class VllmServer:
    """Send the weights of a model to a vLLM server, adapters merged, and let it write.

    TRL's client does both; the server is started as its documentation says. What comes back is
    sampled from ``π(y | x)`` with nothing that bends it, up to the server's own rounding.

    Raises ``SettingsError`` for more than one process, ``ExtraNotInstalled`` without TRL and vLLM,
    ``ArtifactError`` when no server answers.
    """

    def __init__(self, language_model: LanguageModel, address: str, max_new_tokens: int) -> None:
        if process_count() > 1:
            raise SettingsError(
                "A vLLM server writes for one process. Train in one, or leave out vllm."
            )
        self._language_model = language_model
        self._generation = _connect(
            model=language_model.model,
            processing_class=language_model.tokenizer,
            mode="server",
            server_base_url=address,
            max_completion_length=max_new_tokens,
            logprobs=None,
        )

    def write(self, prompts: Sequence[Ids], seed: int) -> list[Ids]:
        """Return one completion for each prompt, of ids with the end of text where it ended."""
        generation = self._generation
        generation.generation_kwargs = {"seed": seed}
        try:
            with _without_value_head(self._language_model.model):
                generation.sync_weights()
            _, written, *_ = generation.generate([list(ids) for ids in prompts], None, 1)
        except OSError as failure:
            raise ArtifactError(
                f"The vLLM server stopped answering: {failure}. Start it and run again: training "
                "continues from its last checkpoint."
            ) from failure
        return [tuple(ids) for ids in written]


def _connect(**settings: Any) -> Any:
    try:
        from accelerate import Accelerator
        from trl.generation.vllm_generation import VLLMGeneration

        return VLLMGeneration(accelerator=Accelerator(), **settings)
    except ImportError as missing:
        raise ExtraNotInstalled(
            f"Writing by a vLLM server needs TRL and vLLM: {missing} Install them with "
            "pip install 'causalign[lm,rl]' vllm."
        ) from missing
    except OSError as failure:
        raise ArtifactError(
            f"No vLLM server answers at {settings['server_base_url']}: {failure}."
        ) from failure


@contextmanager
def _without_value_head(network: torch.nn.Module) -> Iterator[None]:
    """Hide the value head: the server would not know its weights."""
    head = network._modules.pop(VALUE_HEAD, None)
    try:
        yield
    finally:
        if head is not None:
            network._modules[VALUE_HEAD] = head
