"""DPO made doubly robust: logged pairs, and pairs that a fixed policy writes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from causalign.errors import InputError, RoleNotDeclared, SettingsError
from causalign.lm.completions import Completions
from causalign.lm.generate import sample
from causalign.lm.language_model import LanguageModel, shares_prompts
from causalign.lm.layout import Batch
from causalign.lm.processes import run_once
from causalign.lm.reference import reference_logprobs
from causalign.lm.trainer import Metrics, TrainingRun
from causalign.logs import Logs, Pairs, Roles
from causalign.policy import findings
from causalign.policy.dpo import check_pairs, require_group, reward_difference, tokenize_pairs
from causalign.policy.fit import PolicyFit
from causalign.policy.method import (
    Data,
    ModelSettings,
    Numbers,
    load_start,
    prepare_for_training,
    train_on_task,
)
from causalign.policy.propensity import log_propensities
from causalign.policy.rewards import PredictsPreference, Reward
from causalign.policy.rollout import draw_prompts
from causalign.policy.rows import Columns, FixedRows, check_texts, shuffle_passes
from causalign.policy.weights import Weighting, WeightTable, check_weights
from causalign.results import Finding

Floats = NDArray[np.float64]
Texts = Sequence[str]
POOL_STREAM = 0x9A12  # keeps sampled pairs apart from what else draws under the same seed


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDPO(ModelSettings):
    """Minimise the DPO loss over the pairs that the starting model would write.

    The pairs of the log are a sample of q, the pairs that count of ν: two texts of the starting
    model for the same prompt. A preference model says which text of each sampled pair is better;
    logged pairs, weighted by ν/q, correct it by what it missed. The objective is
    `PairedPreference`. Sampled pairs and weights do not change while training, since ν does not.

    Parameters
    ----------
    model, adapter, lora, training, chat
        As for `DPO`.
    beta : float
        β of DPO.
    samples_per_pair : int
        Sampled pairs for each logged one; ``training.batch_size`` is a multiple of one more.
    max_new_tokens : int
        Longest sampled text.
    propensity : {"reference"}, optional
        ``"reference"``: the starting model wrote the logged pairs, so all weights are one.
    weighting : Weighting
        How the weights ν/q are tamed.

    Raises
    ------
    SettingsError
        For a setting out of range.

    Notes
    -----
    Assumption: the propensities are right, or the preference model is; not necessarily both.

    References
    ----------
    After Xu et al. (2025), arXiv 2506.01183; the derivation is in docs/methods/paired-dpo.md.
    """

    beta: float = 0.1
    samples_per_pair: int = 1
    max_new_tokens: int = 64
    propensity: Literal["reference"] | None = None
    weighting: Weighting = field(default_factory=Weighting)

    name: ClassVar[str] = "paired-dpo"
    reads: ClassVar[Literal["logs", "pairs", "prompts"]] = "pairs"
    plotted_metric: ClassVar[str] = "accuracy"

    def __post_init__(self) -> None:
        if not self.beta > 0 or self.max_new_tokens < 1:
            raise SettingsError(
                "beta must be above 0 and max_new_tokens at least 1; found "
                f"{self.beta} and {self.max_new_tokens}."
            )
        if self.samples_per_pair < 1 or self.training.batch_size % (1 + self.samples_per_pair):
            raise SettingsError(
                "Each batch holds samples_per_pair >= 1 sampled pairs for each logged one, so "
                "training.batch_size must be a multiple of 1 + samples_per_pair; found "
                f"{self.training.batch_size} and {self.samples_per_pair}."
            )
        if self.weighting.level != "sequence":
            raise SettingsError(
                "The weights of pairs are ratios of whole texts: level must be 'sequence'; found "
                f"{self.weighting.level!r}."
            )

    @property
    def needs(self) -> Literal["preference model"]:
        """A preference model."""
        return "preference model"

    @property
    def assumption(self) -> str:
        """On what the result rests."""
        return (
            "The probabilities with which pairs were logged are right, or the preference model is; "
            "not necessarily both."
        )

    def check_roles(self, roles: Roles, *, with_reward: bool = True) -> None:  # noqa: ARG002
        """Ask for groups and propensities; see :meth:`PolicyMethod.check_roles`."""
        require_group(self.name, roles)
        if self.propensity is None and roles.propensity is None:
            raise RoleNotDeclared(
                "Weights need the probability with which each pair was logged, or "
                "propensity='reference' if the starting model wrote them.",
                "propensity",
            )

    def fit(
        self,
        data: Data,
        out: str | Path,
        *,
        reward: Reward | PredictsPreference | None = None,
        log_propensity: ArrayLike | None = None,
        progress: bool = False,
    ) -> PolicyFit:
        """Tune on pairs; a killed fit goes on when it is called again.

        Parameters
        ----------
        data : Pairs or Logs
            Pairs; or logs with the roles ``group`` and ``propensity``, whose pairs were logged with
            the product of the propensities of both rows.
        out : path
            A folder for the model, its card and the log of training.
        reward : PredictsPreference
            A model with ``.preference(first, second, prompts)``: the probability that the first
            text wins, fitted to other pairs than these. Its order does not matter: the model is
            made to say the same of both.
        log_propensity : (p,), optional
            log q of each pair (for texts drawn one by one the sum of both), or q itself.
        progress : bool
            Show bars of progress.

        Returns
        -------
        PolicyFit

        Raises
        ------
        SettingsError
            Without propensities, or without a preference model.
        InputError
            For values that cannot be probabilities.
        ArtifactError
            When ``out`` holds another run or cannot be written.
        """
        if not isinstance(reward, PredictsPreference):
            raise SettingsError(
                f"{self.name} needs a preference model: reward=, an object with "
                ".preference(first, second, prompts), such as a reward fitted to pairs."
            )
        pairs, proposal = self._read(data, log_propensity)
        return self._train(pairs, proposal, reward, out, progress)

    def _train(
        self,
        pairs: Pairs,
        proposal: Floats | None,
        model: PredictsPreference,
        out: str | Path,
        progress: bool,
    ) -> PolicyFit:
        weight = check_pairs(pairs)
        believed = symmetric_preference(model, pairs.chosen, pairs.rejected, pairs.prompt)
        start = load_start(self)
        texts = tokenize_pairs(self, start, pairs)
        reference = reference_logprobs(start, texts, progress=progress)
        table = self._weigh(reference, weight, proposal)
        pool = self._draw_pool(start, pairs, model, progress)
        task = self._task(start, texts, table, believed, pool, reference)
        read = {"weight": weight, "believed": believed}
        if proposal is not None:
            read["proposal"] = proposal
        steps = len(task.order) // self.training.batch_size

        def conclude(trained: TrainingRun) -> tuple[Numbers, tuple[Finding, ...]]:
            size = table.diagnose().effective_sample_size
            counts = {"pairs": len(pairs), "sampled_pairs": len(pool.preference), "steps": steps}
            return {**counts, "effective_pairs": size}, (
                *check_texts(self, start, texts),
                findings.sampled_texts(pool.empty, int(pool.texts.cut.sum()), len(pool.texts)),
                *check_weights(table),
                findings.logging_policy(proposal is None),
                findings.training_end(trained.stop_reason, trained.kept_step, steps),
            )

        tuned = prepare_for_training(start, self)
        return train_on_task(self, tuned, task, texts.hash(read)[:16], conclude, out, progress)

    def _read(self, data: Data, log_propensity: ArrayLike | None) -> tuple[Pairs, Floats | None]:
        """Return the pairs and log q ``(p,)`` of each; None where the starting model wrote them."""
        if isinstance(data, Logs):
            if log_propensity is None:
                self.check_roles(data.roles)
            pairs = data.pairs()
            if log_propensity is None and self.propensity is None:
                column = str(data.roles.propensity)
                each = log_propensities(data.numbers(column), column)
                return pairs, each[pairs.rows].sum(axis=1)
        elif isinstance(data, Pairs):
            pairs = data
        else:
            raise InputError(f"{self.name} reads pairs or logs; found {type(data).__name__}.")
        if log_propensity is not None:
            proposal = log_propensities(log_propensity, "log_propensity")
            if len(proposal) != len(pairs):
                raise InputError(f"There are {len(proposal)} propensities for {len(pairs)} pairs.")
            return pairs, proposal
        if self.propensity is None:
            raise SettingsError(
                "Weights need the probability with which each pair was logged. Give "
                "log_propensity, or say propensity='reference' if the starting model wrote them."
            )
        return pairs, None

    def _weigh(self, reference: Floats, weight: Floats, proposal: Floats | None) -> WeightTable:
        """Return log ν/q of the logged pairs; ν is the reference, twice (``reference`` (2p,))."""
        zeros, target = np.zeros(len(weight)), reference.reshape(-1, 2).sum(axis=1)
        log_weight = zeros if proposal is None else target - proposal
        return WeightTable(log_weight, zeros, weight / weight.mean(), self.weighting)

    def _draw_pool(
        self, start: LanguageModel, pairs: Pairs, model: PredictsPreference, progress: bool
    ) -> "_Pool":
        generator = np.random.default_rng([self.training.seed, POOL_STREAM])
        count = len(pairs) * self.samples_per_pair
        asked = draw_prompts(pairs.prompt, count, generator)
        drawn = sample(
            start,
            [prompt for prompt in asked for _ in range(2)],
            max_new_tokens=self.max_new_tokens,
            seed=int(generator.integers(2**31)),
            chat=self.chat,
            progress=progress,
        )
        prompts = None if pairs.prompt is None else [str(prompt) for prompt in asked]
        preference = symmetric_preference(model, drawn.texts[0::2], drawn.texts[1::2], prompts)
        empty = sum(not text.strip() for text in drawn.texts)
        return _Pool(drawn.completions, drawn.logprob, preference, empty)

    def _task(
        self,
        start: LanguageModel,
        texts: Completions,
        table: WeightTable,
        believed: Floats,
        pool: "_Pool",
        reference: Floats,
    ) -> FixedRows:
        """Return the task on logged pairs, whose first text won, followed by sampled ones."""
        n, m = len(believed), len(pool.preference)
        columns: Columns = {
            "reference_logprob": np.concatenate([reference, pool.logprob]).reshape(-1, 2),
            # Each stratum is averaged over its part of the batch.
            "share": np.concatenate([table.row_weight * (n + m) / n, np.full(m, (n + m) / m)]),
            "weight": np.concatenate([table.weights(), np.ones(m)]),
            "label": np.concatenate([np.ones(n), np.zeros(m)]),
            "preference": np.concatenate([believed, pool.preference]),
            "sampled": np.concatenate([np.zeros(n), np.ones(m)]),
        }
        return FixedRows(
            _average_strata(PairedPreference(self.beta)),
            Completions.concatenate([texts, pool.texts]),
            columns,
            self._order(n),
            self.training.batch_size,
            shares_prompts(start.model),
            texts_in_row=2,
        )

    def _order(self, count: int) -> NDArray[np.int64]:
        """Return the rows to read: after each logged pair its share of the sampled ones."""
        training, each = self.training, self.samples_per_pair
        steps = training.steps_for(count * (1 + each))
        read = steps * training.batch_size // (1 + each)
        logged = shuffle_passes(count, read, training.seed)
        sampled = count + shuffle_passes(count * each, read * each, training.seed + 1)
        return np.column_stack([logged, sampled.reshape(-1, each)]).ravel()


@dataclass(frozen=True, slots=True, eq=False)
class _Pool:
    """m sampled pairs: 2m texts, their log-probabilities (2m,), p̂ (m,), how many are empty."""

    texts: Completions
    logprob: Floats
    preference: Floats
    empty: int


@dataclass(frozen=True, slots=True)
class PairedPreference:
    """Minimise the DPO loss over the pairs that a fixed policy would write.

    The target is ``L = E_{(T,T')∼ν}[ℓ(p(T,T'), Δ)]`` with p the probability that T is preferred
    and ``ℓ(p, Δ) = −p log σ(βΔ) − (1 − p) log σ(−βΔ) = softplus(βΔ) − p β Δ``, which is linear in
    p. Labels come from pairs drawn from q instead of ν. With ω = ν/q and a model p̂ of p::

        L̂ = Σ_{logged} s ω (p̂ − label) β Δ  +  Σ_{sampled} s (softplus(βΔ) − p̂ β Δ)

    Value and gradient are unbiased at every π if ω is right, whatever p̂, and if p̂ = p, whatever
    ω. The proof is in docs/methods/paired-dpo.md.

    Columns, pairs in the order of alternating texts: ``reference_logprob`` (2p,); ``share`` s,
    ``weight`` ω (1 for sampled pairs), ``label`` (the label of a logged pair; 0 for sampled ones),
    ``preference`` p̂, ``sampled`` (1 or 0), all (p,).

    Parameters
    ----------
    beta : float
        β.

    References
    ----------
    After Xu et al. (2025), arXiv 2506.01183, who estimate a preference value instead of the DPO
    loss.
    """

    beta: float = 0.1

    def __call__(self, logprob: Tensor, batch: Batch) -> tuple[Tensor, Metrics]:
        """Return the loss and its metrics; ``logprob`` is (2p,)."""
        logit = self.beta * reward_difference(logprob, batch)  # (p,)
        share, weight, label, preference, sampled = (
            batch[name].to(logprob)
            for name in ("share", "weight", "label", "preference", "sampled")
        )
        corrected = weight * (preference - label) * logit
        modelled = torch.nn.functional.softplus(logit) - preference * logit
        terms = torch.where(sampled > 0, modelled, corrected)
        loss = (share * terms).sum()
        with torch.no_grad():
            favours = torch.heaviside(logit, logit.new_tensor(0.5))  # a tie counts one half
            right = 1 - (favours - (label > 0.5).to(share)).abs()
            logged = (sampled == 0).to(share)
        return loss, {
            "accuracy": ((right * logged).sum().item(), logged.sum().item()),
            "correction": (share * corrected * (1 - sampled)).sum().item(),
            "reward_difference": logit.detach().mean().item(),
        }


def symmetric_preference(
    model: PredictsPreference, first: Texts, second: Texts, prompts: Texts | None
) -> Floats:
    """Return ``(p̂(T, T') + 1 − p̂(T', T)) / 2``, ``(p,)``; raise unless p̂ are probabilities.

    The main process asks, and all get the answer.
    """

    def ask(one: Texts, other: Texts) -> Floats:
        p = np.asarray(model.preference(one, other, prompts), dtype=np.float64)
        if p.shape != (len(first),) or not ((p >= 0) & (p <= 1)).all():
            raise InputError(
                f"The preference model must return {len(first)} probabilities, one for each pair; "
                f"it returned shape {p.shape}"
                + (f", from {p.min():g} to {p.max():g}." if p.size else ".")
            )
        return p

    return run_once(lambda: (ask(first, second) + 1 - ask(second, first)) / 2)


def _average_strata(
    objective: PairedPreference,
) -> Callable[[Tensor, Batch], tuple[Tensor, Metrics]]:
    """Return the objective with shares that add up to two, one for each stratum of a batch."""

    def averaged(logprob: Tensor, batch: Batch) -> tuple[Tensor, Metrics]:
        return objective(logprob, batch | {"share": batch["share"] / len(batch["share"])})

    return averaged
