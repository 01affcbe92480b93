"""Group-relative policies, GRPO and RLOO: the trainers of TRL behind our settings."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from causalign import artifacts
from causalign.errors import SettingsError
from causalign.lm.trainer import TrainingRun
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
from causalign.policy.rollout import (
    WritingSettings,
    check_asked,
    compare_with_start,
    read_asked,
    score_silence,
)
from causalign.policy.trl_training import TrlRun, load_trainer
from causalign.results import Finding

FAR = 100.0  # nats


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
        load_trainer(self.trainer)  # raises where TRL is not installed
        model = prepare_for_training(load_start(self, whole=True), self)
        reference = open_reference(model, self)
        asked = read_asked(self, model, prompts)
        silence = score_silence(reward, prompts)
        texts = len(prompts or ()) * self.num_generations * self.num_iterations
        steps = self.training.steps_for(texts)
        run = TrlRun(
            trainer=self.trainer,
            settings=_trl_settings(self),
            model=model,
            training=self.training,
            prompts=prompts,
            asked=asked.prompts,
            reward=reward,
            chat=self.chat,
            steps=steps,
            progress=progress,
        )

        def conclude(trained: TrainingRun) -> tuple[Numbers, tuple[Finding, ...]]:
            numbers = {"steps": float(steps), "prompts": float(len(prompts or ()))}
            compared, findings = compare_with_start(
                self, model, reference, prompts, reward, silence=silence, far=FAR
            )
            equal = [entry["equal_share"] for entry in trained.curve]
            groups = (equal_groups(sum(equal) / len(equal)),) if equal else ()
            end = training_end(trained.stop_reason, trained.kept_step, steps)
            checks = check_asked(self, model, asked)
            return numbers | compared, (end, *checks, *findings, *groups)

        data = artifacts.fingerprint(prompts)
        return train_or_resume(self, model, run.train_in, data, conclude, Path(out))


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
