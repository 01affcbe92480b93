"""Proximal policy optimisation: write, score with a reward, improve a little, write again."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from causalign import artifacts
from causalign.errors import SettingsError
from causalign.lm.language_model import LanguageModel, shares_prompts
from causalign.lm.trainer import TrainingRun
from causalign.lm.value_head import add_value_head, remove_value_head
from causalign.lm.vllm_server import VllmServer
from causalign.policy.findings import clipped_ratios, training_end, value_head
from causalign.policy.fit import PolicyFit
from causalign.policy.method import (
    Data,
    Numbers,
    OpenReference,
    load_start,
    open_reference,
    prepare_for_training,
    train_on_task,
)
from causalign.policy.ppo_task import ProximalPolicy, ProximalTask
from causalign.policy.rewards import Reward
from causalign.policy.rollout import (
    Rollout,
    WritingSettings,
    check_asked,
    compare_with_start,
    read_asked,
    score_silence,
    write_evaluation,
    write_rollout,
)
from causalign.policy.rows import shuffle_passes
from causalign.results import Finding
from causalign.settings import require_number

# Keeps the texts that rank checkpoints apart from whatever else draws under the same seed.
VALIDATION_STREAM = 0x3D6E


@dataclass(frozen=True, slots=True, kw_only=True)
class PPO(WritingSettings):
    """Raise the mean reward of what the policy writes, at a price for leaving the starting model.

    The policy writes ``rollout_size`` texts. Each token is paid ``−kl_coef log π/π_ref``, the last
    one also the reward of the text; a value head predicts what is still to come, and generalised
    advantage estimation says how much better each token did than predicted. These advantages,
    whitened over the rollout, are learned in ``num_ppo_epochs`` passes over the texts, in batches
    of ``training.batch_size``, by the clipped surrogate of `ProximalPolicy`. Then the policy
    writes again. Dropout is off throughout, also that of the adapter.

    Training stops when a text is on average more than ``stop_kl`` nats likelier than under the
    starting model, or when all texts are empty.

    Parameters
    ----------
    model : str
        What to tune: ``"smollm2"``, a folder, or a name on a hub.
    adapter : str, optional
        A folder with an adapter to train further.
    lora : Lora or None
        The adapter to train; None trains all weights.
    training : Training
        How long, how fast and how precisely.
    rollout_size : int
        Texts of a rollout, a multiple of ``training.batch_size``.
    num_ppo_epochs : int
        Passes over a rollout.
    max_new_tokens : int
        Longest text, in tokens.
    kl_coef : float
        κ, in units of the reward for each nat.
    kl_target : float, optional
        Nats a text at which the divergence is to stay: after each rollout ``kl_coef`` rises by at
        most ``rollout_size / kl_horizon`` fifths where it was above, and falls where it was below.
    kl_horizon : int
        Texts over which ``kl_coef`` adapts; smaller is faster.
    missing_eos_penalty : float
        What a text without an end within ``max_new_tokens`` earns less, in units of the reward.
    missing_eos_score : float, optional
        What it earns instead, whatever the reward says of it.
    clip_range : float
        ε: how far the probability of a token may move on one rollout.
    clip_range_value : float
        The same for the value head, in units of its own.
    vf_coef : float
        Weight of the value head in the loss.
    gamma : float
        Discount γ of later tokens.
    gae_lambda : float
        λ trades bias for variance: 1 is the return that followed, 0 one step of it.
    evaluation_texts : int
        Texts, written at each checkpoint, that rank the models; 0 keeps the last one.
    stop_kl : float
        Divergence in nats at which training stops.
    vllm : str, optional
        Address of a running vLLM server, which then writes the rollouts; the policy scores them.
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
    Schulman et al. (2017), arXiv 1707.06347; for language models Ouyang et al. (2022),
    arXiv 2203.02155.
    """

    rollout_size: int = 64
    num_ppo_epochs: int = 4
    clip_range_value: float = 0.2
    vf_coef: float = 0.5
    gamma: float = 1.0
    gae_lambda: float = 0.95
    kl_target: float | None = None
    kl_horizon: int = 10_000
    missing_eos_penalty: float = 0.0
    missing_eos_score: float | None = None
    stop_kl: float = 100.0

    name: ClassVar[str] = "ppo"
    plotted_metric: ClassVar[str] = "reward"

    def __post_init__(self) -> None:
        WritingSettings.__post_init__(self)
        for name in ("rollout_size", "num_ppo_epochs", "clip_range_value", "stop_kl"):
            if not getattr(self, name) > 0:
                raise SettingsError(f"{name} must be above 0; found {getattr(self, name)}.")
        if self.vf_coef < 0:
            raise SettingsError(f"vf_coef must not be negative; found {self.vf_coef}.")
        for name in ("gamma", "gae_lambda"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"{name} must lie in [0, 1]; found {getattr(self, name)}.")
        require_number("kl_horizon", self.kl_horizon, least=self.rollout_size, whole=True)
        require_number("missing_eos_penalty", self.missing_eos_penalty, least=0)
        if self.missing_eos_score is not None:
            require_number("missing_eos_score", self.missing_eos_score)
            if self.missing_eos_penalty:
                raise SettingsError("Give missing_eos_penalty or missing_eos_score, not both.")
        if self.kl_target is not None:
            require_number("kl_target", self.kl_target, above=0)
            why = "the price of divergence adapts by factors"
            require_number("kl_coef", self.kl_coef, above=0, why=why)
        if self.rollout_size % self.training.batch_size:
            raise SettingsError(
                "rollout_size must be a multiple of training.batch_size, so that each pass reads "
                f"every text once; found {self.rollout_size} and {self.training.batch_size}."
            )

    def fit(
        self,
        data: Data,
        out: str | Path,
        *,
        reward: Reward | None = None,
        progress: bool = False,
    ) -> PolicyFit:
        """Tune on texts written to prompts; a killed fit goes on when it is called again.

        Parameters
        ----------
        data : list of str, Logs or None
            Prompts; of logs, the distinct ones. Without any the policy writes texts of their own:
            give ``training.steps`` then. Without ``training.steps``, ``training.epochs`` counts
            how often each prompt is asked, on average.
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
        model = prepare_for_training(load_start(self, whole=True), self)
        reference = open_reference(model, self)
        checks = check_asked(self, model, read_asked(self, model, prompts))
        silence = score_silence(reward, prompts)
        task = self._make_task(model, reference, prompts, reward)
        steps = len(task.order) // self.training.batch_size

        def conclude(trained: TrainingRun) -> tuple[Numbers, tuple[Finding, ...]]:
            remove_value_head(model)
            numbers = {"steps": float(steps), "prompts": float(len(prompts or ()))}
            compared, findings = compare_with_start(
                self, model, reference, prompts, reward, silence=silence, far=self.stop_kl
            )
            end = training_end(trained.stop_reason, trained.kept_step, steps)
            curve = _check_curve(trained.curve, self.clip_range)
            return numbers | compared, (end, *checks, *findings, *curve)

        return train_on_task(
            self, model, task, artifacts.fingerprint(prompts), conclude, out, progress
        )

    def _make_task(
        self,
        model: LanguageModel,
        reference: OpenReference,
        prompts: list[str] | None,
        reward: Reward,
    ) -> ProximalTask:
        training, head = self.training, add_value_head(model)
        texts = len(prompts or ()) * self.num_ppo_epochs
        rows = training.steps_for(texts) * training.batch_size
        updates = self.num_ppo_epochs * self.rollout_size // training.batch_size
        asked = self._order_prompts(prompts, -(-training.steps_for(texts) // updates))
        server = None if self.vllm is None else VllmServer(model, self.vllm, self.max_new_tokens)

        def write(step: int) -> Rollout:
            return write_rollout(
                model,
                reference,
                asked[step // updates],
                reward,
                max_new_tokens=self.max_new_tokens,
                seed=int(np.random.default_rng([training.seed, step]).integers(2**31)),
                chat=self.chat,
                sampler=server,
            )

        def evaluate() -> Rollout:
            return write_evaluation(self, model, reference, prompts, reward, VALIDATION_STREAM)

        return ProximalTask(
            language_model=model,
            head=head,
            objective=ProximalPolicy(self.clip_range, self.clip_range_value, self.vf_coef),
            kl_coef=self.kl_coef,
            kl_target=self.kl_target,
            kl_horizon=self.kl_horizon,
            missing_eos_penalty=self.missing_eos_penalty,
            missing_eos_score=self.missing_eos_score,
            gamma=self.gamma,
            gae_lambda=self.gae_lambda,
            stop_kl=self.stop_kl,
            write=write,
            evaluate=evaluate if self.evaluation_texts else None,
            order=shuffle_passes(self.rollout_size, rows, training.seed),
            updates=updates,
            share_prompts=shares_prompts(model.model),
        )

    def _order_prompts(
        self, prompts: list[str] | None, rollouts: int
    ) -> Sequence[Sequence[str | None]]:
        """Return what each rollout is asked: all prompts once in any order, then all again."""
        size = self.rollout_size
        if prompts is None:
            return [[None] * size] * rollouts
        # Another seed than that of the texts within a rollout, which are read in passes as well.
        order = shuffle_passes(len(prompts), rollouts * size, self.training.seed + 1)
        return [[prompts[row] for row in rows] for rows in order.reshape(rollouts, size)]


def _check_curve(curve: list[dict[str, float]], clip_range: float) -> tuple[Finding, ...]:
    """Return the findings of the last quarter of training; none where no step was made."""
    if not curve:
        return ()
    last = curve[-max(1, len(curve) // 4) :]
    share = float(np.mean([entry["clip_share"] for entry in last]))
    explained = np.array([entry["explained_variance"] for entry in last])
    known = explained[~np.isnan(explained)]
    mean = float(known.mean()) if len(known) else np.nan
    return clipped_ratios(share, clip_range), value_head(mean)
