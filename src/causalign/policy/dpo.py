"""Direct preference optimisation on pairs, with margins and row weights."""

import operator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from causalign.errors import InputError, RoleNotDeclared, SettingsError
from causalign.lm.completions import Completions
from causalign.lm.language_model import LanguageModel
from causalign.lm.layout import Batch
from causalign.lm.reference import reference_logprobs
from causalign.logs import Logs, Pairs, Roles
from causalign.policy.fit import PolicyFit
from causalign.policy.method import Data, ModelSettings, load_start
from causalign.policy.rewards import Reward, replace_outcome
from causalign.policy.rows import tokenize_texts, train_on_rows
from causalign.settings import require_choice, require_number


@dataclass(frozen=True, slots=True, kw_only=True)
class DPO(ModelSettings):
    """Make chosen texts likelier than rejected ones, relative to the starting model.

    ``− v log σ(β [log π/π_ref (chosen) − log π/π_ref (rejected)] − γ m)``: weights v and margins m
    are those of the pairs. The reference is the model at the start, with ``adapter`` if one is
    given; its log-probabilities are computed once and stored in the cache. Other losses stand for
    winners that are sometimes wrong, and for those that are always right: `DirectPreference`.

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
    beta : float
        β: how far the policy may move for a given preference; smaller moves further.
    margin_scale : float
        γ, in log-odds for each unit of outcome: asks for more where the outcomes differ more.
    loss : {"sigmoid", "robust", "ipo"}
        ``"sigmoid"`` is DPO, with ``label_smoothing`` conservative DPO; ``"robust"`` is right
        where so large a share of winners is wrong; ``"ipo"`` stops at a difference of ``1/(2β)``
        nats a token.
    label_smoothing : float
        ε, below .5: the share of pairs whose winner is wrong.
    chat : bool
        Put prompts into the chat template of the model.

    Raises
    ------
    SettingsError
        For a setting out of range.

    Notes
    -----
    Assumption: preferences follow Bradley-Terry, and the winner was decided by the texts.

    References
    ----------
    Rafailov et al. (2023), arXiv 2305.18290.
    """

    beta: float = 0.1
    margin_scale: float = 0.0
    loss: Literal["sigmoid", "robust", "ipo"] = "sigmoid"
    label_smoothing: float = 0.0

    name: ClassVar[str] = "dpo"
    reads: ClassVar[Literal["logs", "pairs", "prompts"]] = "pairs"
    plotted_metric: ClassVar[str] = "reward_difference"

    def __post_init__(self) -> None:
        if not self.beta > 0 or self.margin_scale < 0:
            raise SettingsError(
                "beta must be above 0 and margin_scale must not be negative; found "
                f"{self.beta} and {self.margin_scale}."
            )
        require_choice("loss", self.loss, ("sigmoid", "robust", "ipo"))
        require_number("label_smoothing", self.label_smoothing, least=0, below=0.5)
        if self.loss != "sigmoid" and (self.label_smoothing > 0) != (self.loss == "robust"):
            raise SettingsError(
                "label_smoothing is the share of pairs whose winner is wrong: loss='robust' needs "
                f"it, loss='ipo' knows none; found {self.label_smoothing} with {self.loss!r}."
            )

    @property
    def assumption(self) -> str:
        """On what the result rests."""
        return (
            "Preferences follow Bradley-Terry, and which side won was decided by the texts: pairs "
            "of an experiment, or of deconfounded outcomes."
        )

    def check_roles(self, roles: Roles, *, with_reward: bool = True) -> None:
        """Ask for a reward or a group, to make pairs; see :meth:`PolicyMethod.check_roles`."""
        if not with_reward:
            require_group(self.name, roles)

    def fit(
        self,
        data: Data,
        out: str | Path,
        *,
        reward: Reward | None = None,
        progress: bool = False,
    ) -> PolicyFit:
        """Tune on pairs; a killed fit goes on when it is called again.

        Parameters
        ----------
        data : Pairs or Logs
            Pairs; or logs, of whose rows pairs are made: within the role ``group`` by outcome, or,
            with a reward, at random within a prompt, each row in one pair at most.
        out : path
            A folder for the model, its card and the log of training.
        reward : callable, optional
            ``(completions, prompts)`` to ``(n,)``; only for logs: the higher score is chosen.
        progress : bool
            Show bars of progress.

        Returns
        -------
        PolicyFit

        Raises
        ------
        InputError
            For pairs that cannot be used, or where there are none.
        RoleNotDeclared
            For logs without a group and without a reward.
        ArtifactError
            When ``out`` holds another run or cannot be written.
        """
        return self._train(self._make_pairs(data, reward), out, progress)

    def _train(self, pairs: Pairs, out: str | Path, progress: bool) -> PolicyFit:
        weight = check_pairs(pairs)
        start = load_start(self)
        texts = tokenize_pairs(self, start, pairs)
        reference = reference_logprobs(start, texts, progress=progress)
        with np.errstate(divide="ignore"):
            log_weight = np.log(weight)
        # What a text costs is a margin in log-odds already.
        objective = DirectPreference(self.beta, 1.0, self.loss, self.label_smoothing)
        margin = self.margin_scale * np.asarray(pairs.margin, dtype=np.float64)
        columns = {
            "reference_logprob": reference.reshape(-1, 2),
            "weight": weight / weight.mean(),
            "margin": margin if pairs.cost is None else margin - pairs.cost,
        }
        return train_on_rows(self, start, objective, texts, columns, log_weight, out, progress)

    def _make_pairs(self, data: Data, reward: Reward | None) -> Pairs:
        if isinstance(data, Pairs):
            if reward is not None:
                raise SettingsError("Pairs say who won; give a reward beside logs only.")
            return data
        if not isinstance(data, Logs):
            raise InputError(f"{self.name} reads pairs or logs; found {type(data).__name__}.")
        if reward is None:
            return data.pairs()
        by = () if data.roles.prompt is None else (data.roles.prompt,)
        steps = self.training.steps
        most = None if steps is None else steps * self.training.batch_size
        # The same rows meet whatever the reward: only who won can differ.
        scored = replace_outcome(data, reward)
        return scored.matched_pairs(by, seed=self.training.seed, most=most)


@dataclass(frozen=True, slots=True)
class DirectPreference:
    """Minimise a loss of the policy's own reward on pairs of which one text won.

    ``L = mean_i v_i ℓ(z_i)``, ``z_i = β Δ_i − γ m_i``, with
    ``Δ = log π/π_ref (chosen) − log π/π_ref (rejected)``, row weights v, of mean one over the data,
    and margins m in units of the outcome. γ asks for a larger difference where the outcomes differ
    more; γ = 0 is DPO. With ``s(z) = − log σ(z)`` and ε = ``label_smoothing``:

    - ``"sigmoid"``: ``ℓ = (1 − ε) s(z) + ε s(−z)``. ε = 0 is DPO, ε > 0 conservative DPO: no pair
      is believed to be decided by more than ``log((1 − ε)/ε)``.
    - ``"robust"``: ``ℓ = [(1 − ε) s(z) − ε s(−z)] / (1 − 2ε)``. Where winners are turned round with
      probability ε, its mean is that of DPO on the true ones. It has no lower bound.
    - ``"ipo"``: ``ℓ = (Δ̄ − γ m/β − 1/(2β))²``, Δ̄ of log-ratios divided by the tokens of each text,
      as in TRL: a difference of 1/(2β) nats a token is enough, also for a pair that is always won.

    Columns: ``reference_logprob`` (2p,), ``weight`` (p,), ``margin`` (p,); for ``"ipo"`` ``length``
    (2p,). Texts alternate: chosen, rejected, chosen, ...

    Parameters
    ----------
    beta : float
        β.
    margin_scale : float
        γ, in log-odds for each unit of outcome.
    loss : {"sigmoid", "robust", "ipo"}
        ℓ.
    label_smoothing : float
        ε.

    Notes
    -----
    Assumption: preferences follow Bradley-Terry, and the winner was decided by the texts: pairs of
    an experiment, or of deconfounded outcomes. ``"ipo"`` needs no Bradley-Terry.

    References
    ----------
    Rafailov et al. (2023), arXiv 2305.18290; the offset is that of Amini et al. (2024),
    arXiv 2402.10571; ``"robust"`` that of Chowdhury et al. (2024), arXiv 2403.00409; ``"ipo"`` that
    of Azar et al. (2024), arXiv 2310.12036.
    """

    beta: float = 0.1
    margin_scale: float = 0.0
    loss: Literal["sigmoid", "robust", "ipo"] = "sigmoid"
    label_smoothing: float = 0.0

    def __call__(self, logprob: Tensor, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Return the loss and its metrics; ``logprob`` is (2p,)."""
        ratio = log_ratios(logprob, batch)
        if self.loss == "ipo":
            ratio = ratio / batch["length"].to(ratio)
        difference = self.beta * (ratio[0::2] - ratio[1::2])  # (p,)
        weight = batch["weight"].to(logprob)
        logit = difference - self.margin_scale * batch["margin"].to(logprob)
        loss = (weight * self._each(logit)).mean()
        half = logit.new_tensor(0.5)  # what a tie counts
        return loss, {
            "accuracy": torch.heaviside(difference.detach(), half).double().mean().item(),
            "reward_difference": difference.detach().mean().item(),
            "chosen_logprob": logprob.detach()[0::2].mean().item(),
            "rejected_logprob": logprob.detach()[1::2].mean().item(),
        }

    def _each(self, logit: Tensor) -> Tensor:
        """Return ``ℓ`` of each pair, ``(p,)``."""
        if self.loss == "ipo":
            return ((logit - 0.5) / self.beta) ** 2
        noise = self.label_smoothing
        won, lost = (-torch.nn.functional.logsigmoid(z) for z in (logit, -logit))
        if self.loss == "robust":
            return ((1 - noise) * won - noise * lost) / (1 - 2 * noise)
        return (1 - noise) * won + noise * lost


def log_ratios(logprob: Tensor, batch: Batch) -> Tensor:
    """Return ``log π/π_ref`` of each text, as ``logprob``; the column is ``reference_logprob``."""
    return logprob - batch["reference_logprob"].to(logprob)


def reward_difference(logprob: Tensor, batch: Batch) -> Tensor:
    """Return ``Δ`` of each pair, ``(p,)``, from log-probabilities of alternating texts (2p,)."""
    ratio = log_ratios(logprob, batch)
    return ratio[0::2] - ratio[1::2]


def tokenize_pairs(method: ModelSettings, start: LanguageModel, pairs: Pairs) -> Completions:
    """Return the texts of pairs as completions ``(2p,)``: chosen, rejected, chosen, ..."""
    texts = [text for pair in zip(pairs.chosen, pairs.rejected, strict=True) for text in pair]
    prompts = None if pairs.prompt is None else [p for p in pairs.prompt for _ in range(2)]
    return tokenize_texts(method, start, prompts, texts, side_by_side=2)


def check_pairs(pairs: Pairs) -> NDArray[np.float64]:
    """Return the weights ``(p,)``; raise `InputError` for pairs that say nothing."""
    if len(pairs) == 0:
        raise InputError(
            "There are no pairs: no two rows of a group differ in text and outcome. Make pairs "
            "from groups whose outcomes differ."
        )
    if all(map(operator.eq, pairs.chosen, pairs.rejected)):
        raise InputError("No pair has two different sides: there is nothing to learn.")
    if pairs.weight.sum() == 0:
        raise InputError("All pairs have weight 0: there is nothing to learn. Correct the weights.")
    return pairs.weight


def require_group(name: str, roles: Roles) -> None:
    """Raise `RoleNotDeclared` unless the logs have groups, of whose rows pairs are made."""
    if roles.group is None:
        raise RoleNotDeclared(f"{name} compares texts of one group: one test, one day.", "group")
