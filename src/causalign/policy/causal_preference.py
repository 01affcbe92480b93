"""Causal preference optimisation: tune the policy on an unbiased estimate of its own value."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalign.errors import SettingsError
from causalign.lm.generate import room_for_prompts, sample
from causalign.lm.language_model import LanguageModel, shares_prompts
from causalign.lm.layout import order_rows
from causalign.lm.logprob import completion_logprobs
from causalign.lm.reference import reference_logprobs
from causalign.lm.trainer import TrainingRun
from causalign.logs import Logs, OutcomeModel, Roles
from causalign.logs.splits import draw_held_out
from causalign.policy import findings
from causalign.policy.fit import PolicyFit
from causalign.policy.method import (
    Data,
    ModelSettings,
    Numbers,
    load_start,
    open_reference,
    prepare_for_training,
    require_logs,
    train_on_task,
)
from causalign.policy.propensity import logged_propensities, require_propensity
from causalign.policy.rewards import OutcomePredictor, Reward
from causalign.policy.rollout import draw_prompts
from causalign.policy.rows import check_texts, tokenize_texts
from causalign.policy.samples import FreshPool, FreshSamples
from causalign.policy.value_task import LoggedRows, ValueTask
from causalign.policy.weights import Weighting, check_weights
from causalign.results import Finding
from causalign.stats.importance_weights import typicality_coverage

_ASSUMPTIONS = {
    "weighted": "The texts were drawn from P_R, the propensities given, apart from what else "
    "moves the outcome.",
    "outcome-model": "The outcome model is right for every text that the policy may write.",
    "doubly-robust": "The propensities are right, or the outcome model is; not necessarily both.",
}
# Keeps the texts for typicality apart from whatever else draws under the same seed.
COVERAGE_STREAM = 0xC0FE


@dataclass(frozen=True, slots=True)
class CausalPreference(ModelSettings):
    """Raise ``V(π) = E_{T∼π}[Y(T)]`` as estimated from logged texts, an outcome model, or both.

    The starting model should write like the log: fine-tune on the logged texts first and pass the
    result as ``adapter``.

    Parameters
    ----------
    objective : {"weighted", "outcome-model", "doubly-robust"}
        ``"weighted"`` averages outcomes with weights π/P_R; ``"outcome-model"`` averages
        predictions for texts that the policy writes; ``"doubly-robust"`` adds to these the weighted
        average of what the model missed, and is unbiased if P_R is right or the model is.
    model : str
        What to tune: ``"smollm2"``, a folder, or a name on a hub.
    adapter : str, optional
        A folder with an adapter to train further.
    lora : Lora or None
        The adapter to train; None trains all weights.
    training : Training
        How long, how fast and how precisely.
    propensity : {"column", "uniform", "reference"}, optional
        Where P_R comes from: ``"column"``, the default, is the role ``propensity``, probabilities
        or their logarithms; ``"uniform"``: each logged text of a prompt was as likely as the
        others; ``"reference"``: the starting model wrote the texts.
    weighting : Weighting
        How the weights are tamed.
    samples : FreshSamples
        How texts for the outcome model are drawn.
    kl_coef : float
        Price, in units of the outcome, of a nat of divergence from the starting model.
    validation_share : float
        Share of the groups of rows that are kept out of training and rank the checkpoints; 0
        keeps the last model.
    chat : bool
        Put prompts into the chat template of the model.

    Raises
    ------
    SettingsError
        For a setting out of range.

    References
    ----------
    Lin, Ben-Michael and Morency (2024), arXiv 2402.14979, who call the three objectives CPO,
    OO-RLHF and DR-CPO.
    """

    objective: Literal["weighted", "outcome-model", "doubly-robust"] = "weighted"
    propensity: Literal["column", "uniform", "reference"] | None = None
    weighting: Weighting = field(default_factory=Weighting)
    samples: FreshSamples = field(default_factory=FreshSamples)
    kl_coef: float = 0.0
    validation_share: float = 0.2

    name: ClassVar[str] = "causal-preference"
    reads: ClassVar[Literal["logs", "pairs", "prompts"]] = "logs"
    plotted_metric: ClassVar[str] = "value"

    def __post_init__(self) -> None:
        if self.objective not in _ASSUMPTIONS:
            raise SettingsError(
                f"objective must be one of {', '.join(_ASSUMPTIONS)}; found {self.objective!r}."
            )
        if self.kl_coef < 0 or not 0 <= self.validation_share < 1:
            raise SettingsError(
                "kl_coef must not be negative and validation_share must lie in [0, 1); found "
                f"{self.kl_coef} and {self.validation_share}."
            )

    @property
    def needs(self) -> Literal["outcome model"] | None:
        """An outcome model must come beside the data, unless the objective is "weighted"."""
        return None if self.objective == "weighted" else "outcome model"

    @property
    def takes_reward(self) -> bool:
        """Whether the objective reads an outcome model."""
        return self.needs is not None

    @property
    def assumption(self) -> str:
        """On what the result rests."""
        return _ASSUMPTIONS[self.objective]

    @property
    def weighs_log(self) -> bool:
        """Whether the objective reads logged outcomes, with weights."""
        return self.objective != "outcome-model"

    def check_roles(self, roles: Roles, *, with_reward: bool = True) -> None:  # noqa: ARG002
        """Ask for propensities where the log is weighed; see :meth:`PolicyMethod.check_roles`."""
        if self.weighs_log:
            require_propensity(roles, self.propensity)

    def check(self, logs: Logs) -> None:
        """Raise for propensities that cannot be such."""
        if self.weighs_log:
            logged_propensities(logs, self.propensity, None)

    def fit(
        self,
        data: Data,
        out: str | Path,
        *,
        reward: Reward | None = None,
        log_propensity: ArrayLike | None = None,
        progress: bool = False,
    ) -> PolicyFit:
        """Tune on logs; a killed fit goes on when it is called again.

        Parameters
        ----------
        data : Logs
            Texts, outcomes and, for weights, propensities.
        out : path
            A folder for the model, its card and the log of training.
        reward : callable, optional
            The outcome model, ``(completions, prompts)`` to ``(n,)`` in units of the outcome; of a
            reward with ``.expected_outcome``, that. The doubly robust objective fits it again
            without each fold of the logs where it has ``.cross_fit``, as a `RewardModel` has; give
            your own as `CrossFitted` if it was fitted to these very rows.
        log_propensity : (n,), optional
            log P_R directly, as when a design is known.
        progress : bool
            Show bars of progress.

        Returns
        -------
        PolicyFit

        Raises
        ------
        SettingsError
            When the objective lacks an outcome model, or takes none.
        RoleNotDeclared
            When weights lack propensities.
        InputError
            For values that cannot be such.
        ArtifactError
            When ``out`` holds another run or cannot be written.
        """
        logs = require_logs(data, self.name)
        if (reward is None) != (self.needs is None):
            needs = "takes no" if reward is not None else "needs an"
            raise SettingsError(f"objective={self.objective!r} {needs} outcome model: reward=.")
        return self._train(logs, reward, log_propensity, out, progress)

    def _train(
        self,
        logs: Logs,
        reward: Reward | None,
        log_propensity: ArrayLike | None,
        out: str | Path,
        progress: bool,
    ) -> PolicyFit:
        proposal = None
        if self.weighs_log:
            proposal = logged_propensities(logs, self.propensity, log_propensity)
        outcome_model, residual = None, logs.outcome
        if reward is not None:
            outcome_model = OutcomePredictor(reward, logs, self.objective == "doubly-robust")
            if self.objective == "doubly-robust":
                residual = residual - outcome_model.predict_logged()
        run = _Run.prepare(self, logs, residual, proposal, outcome_model, progress)
        return run.train(out, progress)


@dataclass(slots=True)
class _Run:
    """What one run needs: the model, the task, and all logged rows."""

    method: CausalPreference
    model: LanguageModel
    prompts: list[str] | None
    logged: LoggedRows
    task: ValueTask
    uses_reference: bool

    @staticmethod
    def prepare(
        method: CausalPreference,
        logs: Logs,
        residual: NDArray[np.float64],
        proposal: NDArray[np.float64] | None,
        outcome_model: OutcomeModel | None,
        progress: bool,
    ) -> "_Run":
        """Load the model, score the log under it once, and lay out the task.

        ``proposal`` (n,) is log P_R; None stands for the starting model.
        """
        start = load_start(method, whole=True)
        if outcome_model is not None or method.samples.evaluation_texts:
            room_for_prompts(start, method.samples.max_new_tokens)  # or raises, before any work
        texts = tokenize_texts(method, start, logs.prompts, logs.completions)
        reference = reference_logprobs(start, texts, progress=progress)
        weight = np.ones(len(logs)) if logs.weights is None else logs.weights
        logged = LoggedRows(
            texts,
            residual,
            reference if proposal is None else proposal,
            reference,
            weight / weight.mean(),
        )
        validation = np.zeros(len(logs), dtype=bool)
        if method.validation_share and method.weighs_log:
            validation = draw_held_out(logs, method.validation_share, method.training.seed)
        model = prepare_for_training(start, method)
        pool = None
        if outcome_model is not None:
            pool = _make_pool(method, model, logs, outcome_model)
        task = _make_task(method, model, logged, validation, pool)
        uses_reference = proposal is None and method.weighs_log
        return _Run(method, model, logs.prompts, logged, task, uses_reference)

    def train(self, out: str | Path, progress: bool) -> PolicyFit:
        """Train, or go on training, and say how it went."""
        if self.task.pool is not None:
            self.task.pool.refresh(0)
        value_before = None if self.task.validation is None else self.task.validate()
        # Propensities that the model itself computed may differ in their last bits another day.
        names = ["residual", "weight", *([] if self.uses_reference else ["proposal"])]
        columns = {name: getattr(self.logged, name) for name in names}
        data = self.logged.completions.hash(columns)[:16]
        conclude = partial(self._conclude, value_before)
        return train_on_task(self.method, self.model, self.task, data, conclude, out, progress)

    def _conclude(
        self, value_before: tuple[float, float] | None, trained: TrainingRun
    ) -> tuple[Numbers, tuple[Finding, ...]]:
        steps = len(self.task.order) // self.method.training.batch_size
        numbers: Numbers = {"rows": float(len(self.logged.residual)), "steps": float(steps)}
        checks = [
            *check_texts(self.method, self.model, self.logged.completions),
            findings.training_end(trained.stop_reason, trained.kept_step, steps),
        ]
        if self.method.weighs_log:
            checks += self._check_weights(numbers)
        if self.task.pool is not None and trained.curve:
            self.task.pool.redraw(steps)
        if value_before is not None:
            value_after = self.task.validate()
            numbers |= {
                "validation_value_before": value_before[0],
                "validation_value_before_error": value_before[1],
                "validation_value_after": value_after[0],
                "validation_value_after_error": value_after[1],
            }
        if self.task.pool is not None:
            pool = self.task.pool
            numbers["fresh_outcome"] = float(pool.outcome.mean()) if pool.total else float("nan")
            checks.append(findings.sampled_texts(pool.empty, pool.unfinished, pool.total))
        return numbers, tuple(checks)

    def _check_weights(self, numbers: Numbers) -> list[Finding]:
        """Score the whole log under the tuned policy; add numbers and return findings."""
        weighting = self.method.weighting
        logprob = completion_logprobs(self.model, self.logged.completions)
        table = self.logged.table(logprob, weighting)
        start = self.logged.table(self.logged.reference, weighting).diagnose()
        weights, coverage = table.diagnose(), self._coverage(logprob)
        numbers |= {
            "effective_rows": weights.effective_sample_size,
            "pareto_k": weights.pareto_shape,
            "largest_share": weights.largest_share,
            "log_weight_min": weights.lowest,
            "log_weight_max": weights.highest,
        }
        if coverage is not None:
            numbers["typicality_coverage"] = coverage
        return [
            *check_weights(table, start),
            findings.typical_texts(coverage),
            findings.logging_policy(self.uses_reference),
        ]

    def _coverage(self, logprob: NDArray[np.float64]) -> float | None:
        """Return which share of logged texts is as likely as what the policy itself writes."""
        samples = self.method.samples
        if samples.evaluation_texts == 0:
            return None
        generator = np.random.default_rng([self.method.training.seed, COVERAGE_STREAM])
        drawn = sample(
            self.model,
            draw_prompts(self.prompts, samples.evaluation_texts, generator),
            max_new_tokens=samples.max_new_tokens,
            seed=int(generator.integers(2**31)),
            chat=self.method.chat,
        )
        return typicality_coverage(logprob, drawn.logprob)


def _make_task(
    method: CausalPreference,
    model: LanguageModel,
    logged: LoggedRows,
    validation: NDArray[np.bool_],
    pool: FreshPool | None,
) -> ValueTask:
    training, rows = method.training, logged.take(np.flatnonzero(~validation))
    order = order_rows(
        rows.completions.sizes,
        batch_size=training.batch_size,
        steps=training.steps_for(len(rows.residual)),
        seed=training.seed,
    )
    return ValueTask(
        model,
        rows if method.weighs_log else None,
        logged.take(np.flatnonzero(validation)) if validation.any() else None,
        pool,
        method.weighting,
        method.kl_coef,
        order,
        shares_prompts(model.model),
        rows.table(rows.reference, method.weighting) if method.weighs_log else None,
    )


def _make_pool(
    method: CausalPreference, model: LanguageModel, logs: Logs, outcome_model: OutcomeModel
) -> FreshPool:
    settings, training = method.samples, method.training
    steps = training.steps_for(round(len(logs) * (1 - method.validation_share)))
    size = min(settings.refresh_every, steps) * training.batch_size * settings.samples_per_row
    compares = method.kl_coef > 0 or settings.defensive_share > 0
    return FreshPool(
        model,
        open_reference(model, method) if compares else None,
        logs.prompts,
        outcome_model,
        settings,
        size,
        method.chat,
        training.seed,
    )
