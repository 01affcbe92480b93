"""What all methods share: protocol, common settings, training that survives a kill, `tune`."""

import copy
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal, Protocol, Self, runtime_checkable

from numpy.typing import ArrayLike

from causalign import artifacts
from causalign.errors import InputError, SettingsError
from causalign.lm.language_model import LanguageModel, add_lora, load_language_model
from causalign.lm.language_model import Lora as Lora
from causalign.lm.model_files import hash_model_folder
from causalign.lm.plain_text import find_ending
from causalign.lm.processes import enter_once, join_processes, run_once, weights_are_split
from causalign.lm.trainer import Task, TrainingRun, train
from causalign.lm.training import Training as Training
from causalign.logs import Logs, Pairs, Roles
from causalign.policy.fit import PolicyFit, curve_table, write_model
from causalign.policy.rewards import Reward
from causalign.policy.weights import Weighting
from causalign.results import Finding

Data = Logs | Pairs | Sequence[str] | None
Numbers = dict[str, float]
# Turns what training left into the numbers and findings of a fit.
Conclude = Callable[[TrainingRun], tuple[Mapping[str, float], tuple[Finding, ...]]]
# Opens the model that does not change, for as long as the block lasts.
OpenReference = Callable[[], AbstractContextManager[LanguageModel]]


@runtime_checkable
class PolicyMethod(Protocol):
    """What every method of tuning a policy offers, and says of itself.

    ``name`` is its name on the command line; ``reads`` what it learns from; ``needs`` what must
    come beside the data, and ``takes_reward`` whether a reward may; ``uses_outcome`` whether the
    outcome of the logs, or a reward, changes what is learned. The other attributes are the settings
    that all methods have.
    """

    name: ClassVar[str]
    reads: ClassVar[Literal["logs", "pairs", "prompts"]]

    @property
    def needs(self) -> Literal["reward", "outcome model", "preference model"] | None: ...  # noqa: D102
    @property
    def takes_reward(self) -> bool: ...  # noqa: D102
    @property
    def uses_outcome(self) -> bool: ...  # noqa: D102
    @property
    def assumption(self) -> str: ...  # noqa: D102
    @property
    def model(self) -> str: ...  # noqa: D102
    @property
    def adapter(self) -> str | None: ...  # noqa: D102
    @property
    def lora(self) -> Lora | None: ...  # noqa: D102
    @property
    def training(self) -> Training: ...  # noqa: D102
    @property
    def chat(self) -> bool: ...  # noqa: D102

    def check_roles(self, roles: Roles, *, with_reward: bool = True) -> None:
        """Raise where logs with these roles lack what the method reads.

        Parameters
        ----------
        roles : Roles
            The roles of the logs.
        with_reward : bool
            Whether a reward is given beside the logs.

        Raises
        ------
        RoleNotDeclared
            When a role is missing.
        SettingsError
            When a setting does not go with these roles.
        """
        ...

    def check(self, logs: Logs) -> None:
        """Raise before anything costly runs when the method cannot learn from these logs."""
        ...

    def fit(
        self,
        data: Data,
        out: str | Path,
        *,
        reward: Reward | None = None,
        progress: bool = False,
    ) -> PolicyFit:
        """Tune on the data; a killed fit goes on when it is called again.

        Parameters
        ----------
        data : Logs, Pairs, list of str or None
            What the method reads.
        out : path
            A folder for the model, its card and the log of training.
        reward : callable, optional
            ``(completions, prompts)`` to ``(n,)``.
        progress : bool
            Show bars of progress.
        """
        ...

    def share_model(self, other: "PolicyMethod") -> Self:
        """Return this method on the model, adapter, LoRA settings and chat format of another."""
        ...

    def continue_from(self, fit: PolicyFit) -> Self:
        """Return this method starting from the model of a finished fit."""
        ...


@runtime_checkable
class ImportanceWeighted(Protocol):
    """A method that weighs logged texts by how likely they were to be logged."""

    @property
    def weighting(self) -> Weighting: ...  # noqa: D102

    def fit(  # noqa: D102
        self,
        data: Data,
        out: str | Path,
        *,
        reward: Reward | None = None,
        log_propensity: ArrayLike | None = None,
        progress: bool = False,
    ) -> PolicyFit: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """The settings that every method has, and what it says of itself unless it says otherwise."""

    model: str = "smollm2"
    adapter: str | None = None
    lora: Lora | None = field(default_factory=Lora)
    training: Training = field(default_factory=lambda: Training(learning_rate=5e-5))
    chat: bool = False

    name: ClassVar[str]
    plotted_metric: ClassVar[str]

    @property
    def assumption(self) -> str:
        """On what the result rests."""
        raise NotImplementedError

    @property
    def needs(self) -> Literal["reward", "outcome model", "preference model"] | None:
        """What must come beside the data, or None."""
        return None

    @property
    def takes_reward(self) -> bool:
        """Whether a reward may come beside the data; some settings leave nothing for it to do."""
        return self.uses_outcome

    @property
    def uses_outcome(self) -> bool:
        """Whether the outcome of the logs, or a reward, changes what is learned."""
        return True

    def check_roles(self, roles: Roles, *, with_reward: bool = True) -> None:
        """Accept any roles; see :meth:`PolicyMethod.check_roles`."""

    def check(self, logs: Logs) -> None:
        """Raise before anything costly runs when the method cannot learn from these logs."""
        self.check_roles(logs.roles)

    def share_model(self, other: PolicyMethod) -> Self:
        """Return this method on the model, adapter, LoRA settings and chat format of another."""
        return replace(
            self, model=other.model, adapter=other.adapter, lora=other.lora, chat=other.chat
        )

    def continue_from(self, fit: PolicyFit) -> Self:
        """Return this method starting from the model of a finished fit."""
        is_whole = not (fit.model_folder / "adapter_config.json").exists()
        if is_whole or self.lora is None:
            return replace(self, model=str(fit.model_folder))
        return replace(self, adapter=str(fit.model_folder))


def tune(
    method: PolicyMethod,
    data: Data,
    out: str | Path,
    *,
    reward: Reward | None = None,
    log_propensity: ArrayLike | None = None,
    start: PolicyMethod | None = None,
    progress: bool = False,
) -> PolicyFit:
    """Tune a policy with any method, after fine-tuning on the logged texts if asked.

    Parameters
    ----------
    method : PolicyMethod
        One of ``causalign.policy.METHODS``, constructed.
    data : Logs, Pairs, list of str or None
        Each method takes what it reads from logs; None asks for texts without prompts.
    out : path
        A folder for the model, its card and the log of training.
    reward : callable, optional
        ``(completions, prompts)`` to ``(n,)``, such as a `RewardModel`.
    log_propensity : (n,), optional
        Log-probability with which each row or pair was logged, for methods that weigh by it.
    start : PolicyMethod, optional
        Fine-tuning before, usually an `SFT`, on the model of ``method``, into ``out / "start"``.
    progress : bool
        Show bars of progress.

    Returns
    -------
    PolicyFit

    Raises
    ------
    RoleNotDeclared, SettingsError, InputError
        Before anything runs, when the method cannot learn from these data.
    ArtifactError
        When ``out`` holds another run or cannot be written.
    """
    if isinstance(data, Logs):
        method.check_roles(data.roles, with_reward=reward is not None)
        if log_propensity is None:
            method.check(data)
    if start is not None:
        logs = require_logs(data, f"The {start.name} before {method.name}")
        first = start.share_model(method).fit(logs, Path(out) / "start", progress=progress)
        method = method.continue_from(first)
    if log_propensity is None:
        return method.fit(data, out, reward=reward, progress=progress)
    if not isinstance(method, ImportanceWeighted):
        raise SettingsError(f"{method.name} weighs nothing by propensities; leave them out.")
    return method.fit(data, out, reward=reward, log_propensity=log_propensity, progress=progress)


def require_logs(data: Data, who: str) -> Logs:
    """Return the data if they are logs; raise `InputError` otherwise."""
    if not isinstance(data, Logs):
        raise InputError(f"{who} reads logs (`causalign.Logs`); found {type(data).__name__}.")
    return data


def load_start(method: PolicyMethod, *, whole: bool = False) -> LanguageModel:
    """Load the model that a method starts from; it is the reference until it is trained.

    ``whole`` says that the method scores or writes texts while it trains, which each process can
    do with all weights only. Raises `SettingsError` for what cannot be trained together, and for
    a tokenizer with which no text would end.
    """
    if whole and weights_are_split():
        raise SettingsError(
            f"{method.name} scores and writes texts while it trains, for which each process needs "
            "all weights. FSDP and the third stage of ZeRO split them: use several processes with "
            "whole copies or the second stage of ZeRO, or a method that only reads texts."
        )
    if method.adapter is not None and method.lora is None:
        raise SettingsError(
            "lora=None trains all weights of the model, which has no use for an adapter. Leave "
            "lora as it is to train the adapter further, or merge it into a model first."
        )
    join_processes()
    low = method.training.precision == "bfloat16" and method.lora is not None
    precision: Literal["bfloat16", "float32"] = "bfloat16" if low else "float32"
    start = load_language_model(method.model, precision=precision, adapter=method.adapter)
    start.end_at(find_ending(start.tokenizer, chat=method.chat).token)
    return start


def prepare_for_training(start: LanguageModel, method: ModelSettings) -> LanguageModel:
    """Return the model ready to be trained: a new adapter, the given one, or all weights."""
    if start.has_adapter:
        for name, parameter in start.model.named_parameters():
            parameter.requires_grad_("lora_" in name)
        return start
    if method.lora is None:
        start.model.requires_grad_(True)
        return start
    return add_lora(start, method.lora, seed=method.training.seed)


def open_reference(model: LanguageModel, method: ModelSettings) -> OpenReference:
    """Return what opens the starting model at any time, whatever training makes of ``model``.

    Beneath a new adapter the starting model is still there. One that is trained itself is copied.
    """
    if method.adapter is None and method.lora is not None:
        return model.reference
    frozen = replace(model, model=copy.deepcopy(model.model).requires_grad_(False))
    return lambda: nullcontext(frozen)


def train_on_task(
    method: ModelSettings,
    model: LanguageModel,
    task: Task,
    data: str,
    conclude: Conclude,
    out: str | Path,
    progress: bool,
) -> PolicyFit:
    """Train on the task with the one trainer; see `train_or_resume` for all else."""

    def train_in(folder: Path) -> TrainingRun:
        return train(model, task, method.training, folder, progress=progress)

    return train_or_resume(method, model, train_in, data, conclude, Path(out))


def train_or_resume(
    method: ModelSettings,
    model: LanguageModel,
    train_in: Callable[[Path], TrainingRun],
    data: str,
    conclude: Conclude,
    out: Path,
) -> PolicyFit:
    """Train in ``out / "training"``, store the model in ``out / "model"``, return the fit.

    ``train_in`` goes on from what it finds in that folder; called again when training was finished
    the stored fit is read. ``data`` is a hash of what is read. Of several processes the main one
    holds the folder and writes. Raises `ArtifactError` when the folder holds another run.
    """
    run_once(lambda: artifacts.open_run(out))
    known, shown = _identify_adapter(method)
    key = artifacts.fingerprint(known, model.revision.split("+")[0], data)
    with enter_once(lambda: artifacts.lock(out)):
        run_once(lambda: artifacts.claim(out, key))
        if run_once((out / "fit.json").exists):
            return PolicyFit.load(out)
        trained = train_in(out / "training")
        numbers, findings = conclude(trained)
        fit = PolicyFit(
            method=method.name,
            base=model.public_name,
            folder=out,
            curve=curve_table(trained.curve),
            plotted_metric=method.plotted_metric,
            assumption=method.assumption,
            numbers=numbers,
            findings=findings,
        )

        def store() -> None:
            write_model(model, fit, settings=shown, data=data, weights=trained.weights)
            fit.save()
            shutil.rmtree(out / "training", ignore_errors=True)

        run_once(store)
        return fit


def _identify_adapter(method: ModelSettings) -> tuple[ModelSettings, ModelSettings]:
    """Return the settings for the fingerprint and for the card, neither with a path.

    Both name the adapter to go on from by a hash of what it holds, since folders move; the card
    also has the folder's name for readers.
    """
    if method.adapter is None:
        return method, method
    folder = Path(method.adapter).expanduser().resolve()
    content = hash_model_folder(folder)
    # A fit stores its adapter in "model"; the folder above has the telling name.
    name = folder.parent.name if folder.name == "model" else folder.name
    return replace(method, adapter=content), replace(method, adapter=f"{name} ({content})")
