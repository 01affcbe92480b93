"""Let TRL's trainers tune a policy whose texts begin and end as everywhere else here."""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from causalign.errors import ArtifactError, ExtraNotInstalled
from causalign.lm.checkpoints import (
    WHOLE_OF_LIBRARY,
    NotFinite,
    find_last_whole,
    put_back,
    require_finite,
    set_callbacks,
)
from causalign.lm.completions import Ids, decode_texts
from causalign.lm.language_model import LanguageModel, takes_positions
from causalign.lm.plain_text import find_ending
from causalign.lm.progress import silence_transformers
from causalign.lm.trainer import TrainingRun, keep_random_state, training_arguments
from causalign.lm.training import Training
from causalign.logs.outcome_model import predict_outcome
from causalign.policy.rewards import Reward

# What TRL logs, in our words.
METRICS = {
    "loss": "loss",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
    "reward": "reward",
    "reward_std": "reward_spread",
    "kl": "token_kl",
    "entropy": "token_entropy",
    "clip_ratio/region_mean": "clip_share",
    "completions/mean_length": "length",
    "completions/clipped_ratio": "cut_share",
    "frac_reward_zero_std": "equal_share",
}


@dataclass(frozen=True, slots=True)
class TrlRun:
    """What a run of TRL's needs: its trainer by name, ``settings`` in its words, and ours.

    ``asked`` are the ids of each prompt; without ``prompts`` those before a text of its own.
    """

    trainer: str
    settings: Mapping[str, Any]
    model: LanguageModel
    training: Training
    prompts: Sequence[str] | None
    asked: Sequence[Ids]
    reward: Reward
    chat: bool
    steps: int
    progress: bool

    def train_in(self, folder: Path) -> TrainingRun:
        """Train the network in place; return what our own trainer returns."""
        import datasets

        network = self.model.model
        folder.mkdir(parents=True, exist_ok=True)
        with keep_random_state(), silence_transformers(), _count_positions(network):
            make, config = load_trainer(self.trainer)
            trainer = _make_trainer(
                _read_as_we_do(make, dict(zip(self._texts(), self.asked, strict=True))),
                model=network,
                reward_funcs=self.score,
                args=config(
                    **training_arguments(self.model, self.training, self.steps, folder)
                    | {**self.settings, "disable_tqdm": not self.progress}
                ),
                train_dataset=datasets.Dataset.from_list(self.rows()),
                # TRL gives a tokenizer a padding token; ours is written as it came.
                processing_class=copy.deepcopy(self.model.tokenizer),
            )
            with _count_positions(trainer.ref_model):
                reason = _run_trainer(set_callbacks(trainer), folder)
        for name in set(getattr(network, "peft_config", ())) - {"default"}:
            network.delete_adapter(name)  # TRL's copy of the reference
        network.eval()
        return TrainingRun(_curve(trainer), reason, int(trainer.state.global_step))

    def rows(self) -> list[dict[str, str]]:
        """Return what TRL asks: at least the prompts of one batch."""
        rows = [{"prompt": text} for text in self._texts()]
        groups = self.training.batch_size / int(self.settings["num_generations"])
        return rows * math.ceil(groups / len(rows))

    def score(
        self,
        prompts: Sequence[str],
        completion_ids: Sequence[Sequence[int]],
        **columns: Any,
    ) -> list[float]:
        """Return the reward of each text, as TRL asks for it: keywords in, a list out."""
        del columns  # the texts as TRL reads them, and the trainer's state
        ids = [tuple(row) for row in completion_ids]
        closing = find_ending(self.model.tokenizer, chat=self.chat).text
        texts = decode_texts(self.model.tokenizer, ids, self.model.ends, closing)
        asked = None if self.prompts is None else list(prompts)
        return [float(score) for score in predict_outcome(self.reward, texts, asked)]

    def _texts(self) -> Sequence[str]:
        return [""] if self.prompts is None else self.prompts


def load_trainer(name: str) -> tuple[Any, Any]:
    """Return TRL's trainer of that name, such as GRPO, and the class of its settings."""
    try:
        import trl
    except ImportError as missing:
        raise ExtraNotInstalled(
            f"{name} needs {missing.name or 'trl'}, which is not installed: "
            "`pip install 'causalign[lm,rl]'`."
        ) from missing
    return getattr(trl, f"{name}Trainer"), getattr(trl, f"{name}Config")


def _make_trainer(make: Any, **arguments: Any) -> Any:
    try:
        return make(**arguments)
    except ImportError as missing:  # vllm, where a server is to write the texts
        raise ExtraNotInstalled(f"TRL needs more than is installed: {missing}") from missing


def _read_as_we_do(make: Any, known: Mapping[str, Ids]) -> Any:
    """Return TRL's trainer with our ids of each prompt, so that it asks what is judged later.

    Its own reading adds a second start token, takes what somebody typed for control tokens, and
    knows no window. Raises `ExtraNotInstalled` for a TRL that reads prompts elsewhere.
    """
    if not hasattr(make, "_tokenize_prompts"):
        raise ExtraNotInstalled(
            f"{make.__name__} of this version of TRL reads prompts in a place that is not known "
            "here. Install the version that causalign was tested with: `pip install 'trl==1.16.0'`."
        )

    class ReadsAsWeDo(make):  # type: ignore[misc]
        def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, Any]:
            return [list(known[prompt]) for prompt in prompts], None, {}

        def compute_loss(self, *arguments: Any, **named: Any) -> torch.Tensor:
            loss: torch.Tensor = super().compute_loss(*arguments, **named)
            require_finite("loss", loss.detach(), step=self.state.global_step)
            return loss

    ReadsAsWeDo.__name__ = make.__name__  # TRL names itself in what it writes
    return ReadsAsWeDo


@contextmanager
def _count_positions(network: torch.nn.Module | None) -> Iterator[None]:
    """Let positions count from each text's first token within the block.

    TRL pads prompts on the left and scores without positions; a network that learned one vector
    for each position, such as GPT-2, would read every padded text shifted.
    """

    def add_positions(
        _: torch.nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        mask = named.get("attention_mask")
        plain = named.get("position_ids") is None and named.get("past_key_values") is None
        if plain and isinstance(mask, torch.Tensor) and mask.dim() == 2:
            named = named | {"position_ids": (mask.long().cumsum(dim=1) - 1).clamp(min=0)}
        return inputs, named

    if network is None or not takes_positions(network):
        yield
        return
    hook = network.register_forward_pre_hook(add_positions, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


def _run_trainer(trainer: Any, folder: Path) -> str | None:
    """Train from the newest checkpoint; return why it stopped early, or None.

    The library writes the trainer's state at the end of a checkpoint.
    """
    last = find_last_whole(folder, WHOLE_OF_LIBRARY)
    try:
        trainer.train(resume_from_checkpoint=None if last is None else str(last))
    except OSError as failure:
        raise ArtifactError(
            f"Training in {folder} was interrupted: {failure}. Free some space, or see that the "
            "vLLM server answers, and run again: it continues from its last checkpoint."
        ) from failure
    except NotFinite as failure:
        return put_back(trainer, folder, failure)
    return None


def _curve(trainer: Any) -> list[dict[str, float]]:
    """Return what TRL logged at each step, in our words."""
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    return [
        {"step": entry["step"]} | {ours: entry[m] for m, ours in METRICS.items() if m in entry}
        for entry in logged
    ]
