"""Group-relative policies, GRPO and RLOO: the trainers of TRL behind our settings."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from causalign import artifacts
from causalign.errors import ArtifactError, ExtraNotInstalled, SettingsError
from causalign.lm.completions import start_of_text
from causalign.lm.language_model import LanguageModel
from causalign.lm.progress import silence_transformers
from causalign.lm.trainer import (
    WHOLE_OF_LIBRARY,
    TrainingRun,
    keep_random_state,
    set_callbacks,
    training_arguments,
)
from causalign.logs.outcome_model import predict_outcome
from causalign.policy.findings import equal_groups, training_end
from causalign.policy.fit import PolicyFit
from causalign.policy.method import (
    Data,
    Numbers,
    load_start,
    open_reference,
    prepare_for_training,
    train_or_resume,
)
from causalign.policy.rewards import Reward
from causalign.policy.rollout import WritingSettings, compare_with_start
from causalign.results import Finding

FAR = 100.0  # nats
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


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSettings(WritingSettings):
    """The settings and the run of methods that compare the texts of a group, with TRL's trainer."""

    num_generations: int = 8
    num_iterations: int = 1

    plotted_metric: ClassVar[str] = "reward"
    trainer: ClassVar[str]

    def __post_init__(self) -> None:
        WritingSettings.__post_init__(self)
        if self.num_generations < 2 or self.training.batch_size % self.num_generations:
            raise SettingsError(
                "A group needs at least 2 texts, and training.batch_size must be a multiple of "
                f"num_generations; found {self.training.batch_size} and {self.num_generations}."
            )
        if self.num_iterations < 1:
            raise SettingsError(f"num_iterations must be at least 1; found {self.num_iterations}.")

    def fit(
        self,
        data: Data,
        out: str | Path,
        *,
        reward: Reward | None = None,
        progress: bool = False,
    ) -> PolicyFit:
        """Tune on texts written to prompts; a killed fit goes on from its last checkpoint.

        Parameters
        ----------
        data : list of str, Logs or None
            Prompts; of logs, the distinct ones. Without any the policy writes texts of their own:
            give ``training.steps`` then.
        out : path
            A folder for the model, its card and the log of training.
        reward : callable
            ``(completions, prompts)`` to ``(n,)``, such as a `RewardModel`.
        progress : bool
            Show bars of progress.

        Returns
        -------
        PolicyFit

        Raises
        ------
        ExtraNotInstalled
            Without TRL.
        InputError
            For prompts or rewards that cannot be used.
        SettingsError
            Without a reward, or when nothing says how long to train.
        ArtifactError
            When ``out`` holds another run or cannot be written.
        """
        return self._train(self.read_prompts(data), self.require_reward(reward), out, progress)

    def _train(
        self, prompts: list[str] | None, reward: Reward, out: str | Path, progress: bool
    ) -> PolicyFit:
        trainer = _load_trainer(self)
        model = prepare_for_training(load_start(self, whole=True), self)
        reference = open_reference(model, self)
        texts = len(prompts or ()) * self.num_generations * self.num_iterations
        steps = self.training.steps_for(texts)

        def train_in(folder: Path) -> TrainingRun:
            return _train(self, trainer, model, prompts, reward, steps, folder, progress)

        def conclude(trained: TrainingRun) -> tuple[Numbers, tuple[Finding, ...]]:
            numbers = {"steps": float(steps), "prompts": float(len(prompts or ()))}
            compared, findings = compare_with_start(
                self, model, reference, prompts, reward, far=FAR
            )
            equal = [entry["equal_share"] for entry in trained.curve]
            groups = (equal_groups(sum(equal) / len(equal)),) if equal else ()
            end = training_end(trained.stop_reason, trained.kept_step, steps)
            return numbers | compared, (end, *findings, *groups)

        data = artifacts.fingerprint(prompts)
        return train_or_resume(self, model, train_in, data, conclude, Path(out))


@dataclass(frozen=True, slots=True, kw_only=True)
class GRPO(GroupSettings):
    """Raise the reward of texts above that of other texts for the same prompt, with TRL's trainer.

    The advantage of a text is its reward minus the mean of its group, in standard deviations of the
    group, the same for all of its tokens. It is learned by the clipped surrogate. All that is not
    named here is TRL's default, version 1.16. Dropout is off.

    Parameters
    ----------
    model : str
        What to tune: ``"smollm2"``, a folder, or a name on a hub.
    adapter : str, optional
        A folder with an adapter to train further.
    lora : Lora or None
        The adapter to train; None trains all weights.
    training : Training
        How long, how fast and how precisely; ``batch_size`` counts texts and is a multiple of
        ``num_generations``.
    num_generations : int
        Texts written for each prompt: a group.
    num_iterations : int
        Updates on the same texts.
    max_new_tokens : int
        Longest text, in tokens.
    kl_coef : float
        Price of a nat, in standard deviations of a group.
    clip_range : float
        ε of the surrogate.
    evaluation_texts : int
        Texts that compare the start with the result; 0 for none.
    vllm : str, optional
        Address of a running ``trl vllm-serve``, which then writes the texts.
    chat : bool
        Put prompts into the chat template of the model.

    Raises
    ------
    SettingsError
        For a setting out of range.

    Notes
    -----
    Assumption: the reward is right for whatever the policy comes to write.

    References
    ----------
    Shao et al. (2024), arXiv 2402.03300.
    """

    kl_coef: float = 0.0

    name: ClassVar[str] = "grpo"
    trainer: ClassVar[str] = "GRPO"


@dataclass(frozen=True, slots=True, kw_only=True)
class RLOO(GroupSettings):
    """Raise the reward of texts above that of the others in their group, with TRL's trainer.

    The advantage of a text is its reward minus the mean of the *other* texts of its prompt, in
    units of the reward, so its gradient is unbiased; and the divergence is paid within the reward.

    Parameters
    ----------
    kl_coef : float
        Price of a nat, in units of the reward.
    model, adapter, lora, training, num_generations, num_iterations, max_new_tokens, clip_range
        As for `GRPO`.
    evaluation_texts, vllm, chat
        As for `GRPO`.

    Raises
    ------
    SettingsError
        For a setting out of range.

    Notes
    -----
    Assumption: the reward is right for whatever the policy comes to write.

    References
    ----------
    Ahmadian et al. (2024), arXiv 2402.14740.
    """

    name: ClassVar[str] = "rloo"
    trainer: ClassVar[str] = "RLOO"


def _load_trainer(method: GroupSettings) -> tuple[Any, Any]:
    """Return TRL's trainer and the class of its settings."""
    try:
        import trl
    except ImportError as missing:
        raise ExtraNotInstalled(
            f"{type(method).__name__} needs {missing.name or 'trl'}, which is not installed: "
            "`pip install 'causalign[lm,rl]'`."
        ) from missing
    return getattr(trl, f"{method.trainer}Trainer"), getattr(trl, f"{method.trainer}Config")


def _train(
    method: GroupSettings,
    trainer_class: tuple[Any, Any],
    model: LanguageModel,
    prompts: list[str] | None,
    reward: Reward,
    steps: int,
    folder: Path,
    progress: bool,
) -> TrainingRun:
    """Let TRL train the network in place; return what our own trainer returns."""
    import datasets

    make, config = trainer_class
    folder.mkdir(parents=True, exist_ok=True)
    with keep_random_state(), silence_transformers():
        trainer = _make_trainer(
            make,
            model=model.model,
            reward_funcs=_reward_function(reward, prompts is not None),
            args=config(
                **training_arguments(model, method.training, steps, folder)
                | _trl_settings(method)
                | {"disable_tqdm": not progress}
            ),
            train_dataset=datasets.Dataset.from_list(_rows(method, model, prompts)),
            processing_class=model.tokenizer,
        )
        _run_trainer(set_callbacks(trainer), folder)
    for name in set(getattr(model.model, "peft_config", ())) - {"default"}:
        model.model.delete_adapter(name)  # TRL's copy of the reference
    model.model.eval()
    return TrainingRun(_curve(trainer), None, int(trainer.state.global_step))


def _make_trainer(make: Any, **arguments: Any) -> Any:
    try:
        return make(**arguments)
    except ImportError as missing:  # vllm, where a server is to write the texts
        raise ExtraNotInstalled(f"TRL needs more than is installed: {missing}") from missing


def _run_trainer(trainer: Any, folder: Path) -> None:
    """Train from the newest checkpoint; the library writes the trainer's state at its end."""
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


def _trl_settings(method: GroupSettings) -> dict[str, Any]:
    server = {"use_vllm": True, "vllm_mode": "server", "vllm_server_base_url": method.vllm}
    return {
        "num_generations": method.num_generations,
        "num_iterations": method.num_iterations,
        "max_completion_length": method.max_new_tokens,
        "beta": method.kl_coef,
        "epsilon": method.clip_range,
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": 0,
        "disable_dropout": True,
    } | (server if method.vllm is not None else {})


def _rows(
    method: GroupSettings, model: LanguageModel, prompts: list[str] | None
) -> list[dict[str, Any]]:
    """Return what TRL asks: at least the prompts of one batch; ``asked`` is for the reward."""
    start = model.tokenizer.decode([start_of_text(model.tokenizer)])
    rows = [
        {"prompt": [{"role": "user", "content": p}] if method.chat else p, "asked": p}
        for p in prompts or ()
    ] or [{"prompt": start, "asked": ""}]
    return rows * math.ceil(method.training.batch_size / method.num_generations / len(rows))


def _reward_function(reward: Reward, reads_prompt: bool) -> Callable[..., list[float]]:
    """Return the reward in the shape of TRL's: keywords in, a list out."""

    def causalign_reward(
        completions: Sequence[Any], asked: Sequence[str], **columns: Any
    ) -> list[float]:
        del columns  # the ids, and the trainer's state
        texts = [c if isinstance(c, str) else c[-1]["content"] for c in completions]
        scores = predict_outcome(reward, texts, list(asked) if reads_prompt else None)
        return [float(score) for score in scores]

    return causalign_reward
