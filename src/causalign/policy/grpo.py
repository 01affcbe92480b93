"""Group-relative policies, GRPO and RLOO: the trainers of TRL behind our settings."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from causalign import artifacts
from causalign.errors import ArtifactError, ExtraNotInstalled, SettingsError
from causalign.lm.language_model import LanguageModel, Lora
from causalign.lm.training import Training
from causalign.policy.fitted import PolicyFit
from causalign.policy.outcome_model import OutcomeModel, predicted
from causalign.policy.ppo import checked_prompts

__all__ = ["GRPO", "RLOO"]

FAR = 100.0  # nats
_ASSUMPTION = (
    "The reward is right for every text that the policy comes to write, not only for texts like "
    "those it was fitted to."
)
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
class GRPO:
    """Raise the reward of texts above that of other texts for the same prompt, with TRL's trainer.

    ``group`` texts are written for each prompt; the advantage of a text is its reward minus the
    group's mean, in standard deviations of the group, the same for all of its tokens. They are
    learned in ``passes`` by the clipped surrogate; ``kl`` is the price of a nat, in those standard
    deviations. ``training.batch_size`` counts texts and is a multiple of ``group``. All else is
    TRL's default, version 1.16.

    ``vllm`` is the address of a running ``trl vllm-serve``, which then writes the texts. Dropout is
    off.

    Assumption: the reward is right for whatever the policy comes to write. Reference: Shao et al.
    (2024), arXiv 2402.03300.
    """

    model: str = "smollm2"
    adapter: str | None = None
    lora: Lora | None = field(default_factory=Lora)
    training: Training = field(default_factory=lambda: Training(learning_rate=5e-5))
    group: int = 8
    passes: int = 1
    max_new_tokens: int = 64
    kl: float = 0.0
    clip: float = 0.2
    measured: int = 64
    vllm: str | None = None
    chat: bool = False

    name: ClassVar[str] = "grpo"

    def __post_init__(self) -> None:
        _check(self)

    def fit(
        self,
        prompts: Sequence[str] | None,
        out: str | Path,
        *,
        reward: OutcomeModel,
        progress: bool = False,
    ) -> PolicyFit:
        """Tune on texts written to the prompts; model, card and log of training go to ``out``.

        ``reward`` (prompts, completions) → (n,), such as a ``RewardModel``. A killed fit goes on
        from its last checkpoint. Raises ``ExtraNotInstalled`` without TRL, and else as ``PPO.fit``.
        """
        return _fitted(self, prompts, Path(out), reward, progress)


@dataclass(frozen=True, slots=True)
class RLOO:
    """Raise the reward of texts above that of the others in their group, with TRL's trainer.

    As :class:`GRPO`, but the advantage of a text is its reward minus the mean of the *other* texts
    of its prompt, in units of the reward, so its gradient is unbiased; and ``kl``, in units of the
    reward for each nat, is paid within the reward.

    Assumption: the reward is right for whatever the policy comes to write. Reference: Ahmadian et
    al. (2024), arXiv 2402.14740.
    """

    model: str = "smollm2"
    adapter: str | None = None
    lora: Lora | None = field(default_factory=Lora)
    training: Training = field(default_factory=lambda: Training(learning_rate=5e-5))
    group: int = 8
    passes: int = 1
    max_new_tokens: int = 64
    kl: float = 0.05
    clip: float = 0.2
    measured: int = 64
    vllm: str | None = None
    chat: bool = False

    name: ClassVar[str] = "rloo"

    def __post_init__(self) -> None:
        _check(self)

    def fit(
        self,
        prompts: Sequence[str] | None,
        out: str | Path,
        *,
        reward: OutcomeModel,
        progress: bool = False,
    ) -> PolicyFit:
        """Tune on texts written to the prompts; see :meth:`GRPO.fit`."""
        return _fitted(self, prompts, Path(out), reward, progress)


def _check(method: GRPO | RLOO) -> None:
    if method.group < 2 or method.training.batch_size % method.group:
        raise SettingsError(
            "A group needs at least 2 texts, and training.batch_size must be a multiple of it; "
            f"found group={method.group} and batch_size={method.training.batch_size}."
        )
    if min(method.passes, method.max_new_tokens) < 1 or not method.clip > 0:
        raise SettingsError(
            "passes and max_new_tokens must be at least 1 and clip above 0; found "
            f"{method.passes}, {method.max_new_tokens} and {method.clip}."
        )
    if method.kl < 0 or method.measured < 0 or method.measured == 1:
        raise SettingsError(
            "kl must not be negative, and measured must be 0 or at least 2; found "
            f"{method.kl} and {method.measured}."
        )


def _fitted(
    method: GRPO | RLOO,
    prompts: Sequence[str] | None,
    out: Path,
    reward: OutcomeModel,
    progress: bool,
) -> PolicyFit:
    asked = checked_prompts(prompts, method.training)
    trainer = _trainer_class(method)
    from causalign.policy.findings import stopped
    from causalign.policy.tuning import adapted, kept, opened, reference_of, require_whole_weights
    from causalign.policy.writing_findings import equal_groups
    from causalign.policy.written import before_and_after

    require_whole_weights(method)
    model = adapted(opened(method), method)
    reference = reference_of(model, method)
    steps = method.training.steps_for(len(asked or ()) * method.group * method.passes)

    def trained(folder: Path) -> Any:
        return _trained(method, trainer, model, asked, reward, steps, folder, progress)

    def finish(trained: Any) -> Any:
        numbers = {"steps": float(steps), "prompts": float(len(asked or ()))}
        measured, found = before_and_after(method, model, reference, asked, reward, far=FAR)
        equal = [entry["equal_share"] for entry in trained.curve]
        groups = (equal_groups(sum(equal) / len(equal)),) if equal else ()
        ended = stopped(trained.trouble, trained.kept_step, steps)
        return numbers | measured, (ended, *found, *groups)

    return kept(
        method,
        model,
        trained,
        out,
        data=artifacts.fingerprint(asked),
        finish=finish,
        assumption=_ASSUMPTION,
        drawn="reward",
    )


def _trainer_class(method: GRPO | RLOO) -> tuple[Any, Any]:
    try:
        import trl
    except ImportError as missing:
        raise ExtraNotInstalled(
            f"{type(method).__name__} needs {missing.name or 'trl'}, which is not installed: "
            "`pip install 'causalign[lm,rl]'`."
        ) from missing
    if isinstance(method, GRPO):
        return trl.GRPOTrainer, trl.GRPOConfig
    return trl.RLOOTrainer, trl.RLOOConfig


def _trained(
    method: GRPO | RLOO,
    trainer_class: tuple[Any, Any],
    model: LanguageModel,
    prompts: list[str] | None,
    reward: OutcomeModel,
    steps: int,
    folder: Path,
    progress: bool,
) -> Any:
    """Let TRL train the network in place; return what our own trainer returns."""
    import datasets

    from causalign.lm.quiet import quiet_transformers
    from causalign.lm.trainer import (
        Trained,
        random_state_kept,
        training_arguments,
        with_our_callbacks,
    )

    make, config = trainer_class
    folder.mkdir(parents=True, exist_ok=True)
    with random_state_kept(), quiet_transformers():
        trainer = _made(
            make,
            model=model.model,
            reward_funcs=_reward_function(reward, prompts is not None),
            args=config(
                **training_arguments(model, method.training, steps, folder)
                | _words_of_trl(method)
                | {"disable_tqdm": not progress}
            ),
            train_dataset=datasets.Dataset.from_list(_rows(method, model, prompts)),
            processing_class=model.tokenizer,
        )
        _train(with_our_callbacks(trainer), folder)
    for name in set(getattr(model.model, "peft_config", ())) - {"default"}:
        model.model.delete_adapter(name)  # TRL's copy of the reference
    model.model.eval()
    return Trained(_curve(trainer), None, int(trainer.state.global_step))


def _made(make: Any, **arguments: Any) -> Any:
    try:
        return make(**arguments)
    except ImportError as missing:  # vllm, where a server is to write the texts
        raise ExtraNotInstalled(f"TRL needs more than is installed: {missing}") from missing


def _train(trainer: Any, folder: Path) -> None:
    """Train from the newest checkpoint; the library writes the trainer's state at its end."""
    from causalign.lm.newest_checkpoint import WHOLE_OF_LIBRARY

    whole = [path.parent for path in folder.glob(f"checkpoint-*/{WHOLE_OF_LIBRARY}")]
    last = max(whole, key=lambda path: int(path.name.rsplit("-", 1)[1]), default=None)
    try:
        trainer.train(resume_from_checkpoint=None if last is None else str(last))
    except OSError as failure:
        raise ArtifactError(
            f"Training in {folder} was interrupted: {failure}. Free some space, or see that the "
            "vLLM server answers, and run again: it continues from its last checkpoint."
        ) from failure


def _curve(trainer: Any) -> list[dict[str, float]]:
    """Return what TRL logged at each step, in our words."""
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    return [
        {"step": entry["step"]} | {ours: entry[m] for m, ours in METRICS.items() if m in entry}
        for entry in logged
    ]


def _words_of_trl(method: GRPO | RLOO) -> dict[str, Any]:
    server = {"use_vllm": True, "vllm_mode": "server", "vllm_server_base_url": method.vllm}
    return {
        "num_generations": method.group,
        "num_iterations": method.passes,
        "max_completion_length": method.max_new_tokens,
        "beta": method.kl,
        "epsilon": method.clip,
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": 0,
        "disable_dropout": True,
    } | (server if method.vllm is not None else {})


def _rows(
    method: GRPO | RLOO, model: LanguageModel, prompts: list[str] | None
) -> list[dict[str, Any]]:
    """Return what TRL asks: at least the prompts of one batch; ``asked`` is for the reward."""
    from causalign.lm.completions import start_of_text

    start = model.tokenizer.decode([start_of_text(model.tokenizer)])
    rows = [
        {"prompt": [{"role": "user", "content": p}] if method.chat else p, "asked": p}
        for p in prompts or ()
    ] or [{"prompt": start, "asked": ""}]
    return rows * math.ceil(method.training.batch_size / method.group / len(rows))


def _reward_function(reward: OutcomeModel, reads_prompt: bool) -> Callable[..., list[float]]:
    """Return the reward in the shape of TRL's: keywords in, a list out."""

    def causalign_reward(
        completions: Sequence[Any], asked: Sequence[str], **columns: Any
    ) -> list[float]:
        del columns  # the ids, and the trainer's state
        texts = [c if isinstance(c, str) else c[-1]["content"] for c in completions]
        return predicted(reward, list(asked) if reads_prompt else None, texts).tolist()

    return causalign_reward
