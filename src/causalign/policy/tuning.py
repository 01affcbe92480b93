"""What every method does around its task: open a model, train it, keep it with its card."""

import copy
import hashlib
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from causalign import artifacts
from causalign.errors import SettingsError
from causalign.lm.completions import Completions
from causalign.lm.language_model import (
    LanguageModel,
    Lora,
    load_language_model,
    with_lora,
)
from causalign.lm.model_files import fingerprint
from causalign.lm.processes import held_once, join, once, weights_are_split
from causalign.lm.training import Training
from causalign.policy.fitted import PolicyFit
from causalign.policy.model_card import keep_model
from causalign.results import Finding

__all__ = [
    "TunesModel",
    "adapted",
    "data_hash",
    "kept",
    "opened",
    "reference_of",
    "require_whole_weights",
    "tuned",
]


class TunesModel(Protocol):
    """The settings that every method has.

    ``model`` is what to tune, ``adapter`` a folder to go on from, ``lora`` the adapter to train;
    None trains all weights.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def model(self) -> str: ...  # noqa: D102
    @property
    def adapter(self) -> str | None: ...  # noqa: D102
    @property
    def lora(self) -> Lora | None: ...  # noqa: D102
    @property
    def training(self) -> Training: ...  # noqa: D102


def opened(method: TunesModel) -> LanguageModel:
    """Load the model that a method starts from; it is the reference until it is trained."""
    if method.adapter is not None and method.lora is None:
        raise SettingsError(
            "lora=None trains all weights of the model, which has no use for an adapter. Leave "
            "lora as it is to train the adapter further, or merge it into a model first."
        )
    join()
    low = method.training.precision == "bfloat16" and method.lora is not None
    precision = "bfloat16" if low else "float32"
    return load_language_model(method.model, precision=precision, adapter=method.adapter)  # type: ignore[arg-type]


def require_whole_weights(method: TunesModel) -> None:
    """Raise ``SettingsError`` where a method scores or writes texts with a model in pieces."""
    if weights_are_split():
        raise SettingsError(
            f"{method.name} scores and writes texts while it trains, for which each process needs "
            "all weights. FSDP and the third stage of ZeRO split them: use several processes with "
            "whole copies or the second stage of ZeRO, or sft, dpo or paired-dpo."
        )


def adapted(start: LanguageModel, method: TunesModel) -> LanguageModel:
    """Return the model ready to be trained: a new adapter, the given one, or all weights."""
    if start.has_adapter:
        for name, parameter in start.model.named_parameters():
            parameter.requires_grad_("lora_" in name)
        return start
    if method.lora is None:
        start.model.requires_grad_(True)
        return start
    return with_lora(start, method.lora, seed=method.training.seed)


def reference_of(
    model: LanguageModel, method: TunesModel
) -> Callable[[], AbstractContextManager[LanguageModel]]:
    """Return what opens the starting model at any time, whatever training makes of ``model``.

    Beneath a new adapter the starting model is still there. One that is trained itself is copied.
    """
    if method.adapter is None and method.lora is not None:
        return model.reference
    frozen = replace(model, model=copy.deepcopy(model.model).requires_grad_(False))
    return lambda: nullcontext(frozen)


def data_hash(completions: Completions, columns: Mapping[str, NDArray[Any]]) -> str:
    """Return a hash of everything that training reads: tokens and numbers."""
    total = hashlib.sha256()
    for ids in (*completions.prompts, *completions.completions):
        total.update(len(ids).to_bytes(4, "little") + np.array(ids, dtype="<i4").tobytes())
    for name in sorted(columns):
        value = np.ascontiguousarray(columns[name])
        total.update(f"{name}:{value.dtype}:{value.shape}".encode() + value.tobytes())
    return total.hexdigest()[:16]


def tuned(
    method: TunesModel,
    model: LanguageModel,
    task: Any,
    out: Path,
    *,
    data: str,
    finish: Callable[[Any], tuple[Mapping[str, float], tuple[Finding, ...]]],
    assumption: str,
    drawn: str,
    progress: bool,
) -> PolicyFit:
    """Train on the task with the one trainer; see :func:`kept` for all else."""
    from causalign.lm.trainer import train

    def trained(folder: Path) -> Any:
        return train(model, task, method.training, folder, progress=progress)

    told = {"data": data, "finish": finish, "assumption": assumption, "drawn": drawn}
    return kept(method, model, trained, out, **told)  # type: ignore[arg-type]


def kept(
    method: TunesModel,
    model: LanguageModel,
    train: Callable[[Path], Any],
    out: Path,
    *,
    data: str,
    finish: Callable[[Any], tuple[Mapping[str, float], tuple[Finding, ...]]],
    assumption: str,
    drawn: str,
) -> PolicyFit:
    """Train in ``out / "training"``, keep the result in ``out / "model"``, tell it as a fit.

    ``train`` takes that folder and goes on from what it finds there; called again when it was
    finished the result is read. ``finish`` turns what training returned into numbers and findings.
    Of several processes the main one holds the folder and writes. Raises ``ArtifactError`` when
    the folder holds another run.
    """
    once(lambda: artifacts.open_run(out))
    known, shown = _adapter_by_content(method)
    key = artifacts.fingerprint(known, model.revision.split("+")[0], data)
    with held_once(lambda: artifacts.locked(out)):
        once(lambda: artifacts.claim(out, key))
        if once((out / "fit.json").exists):
            return PolicyFit.load(out)
        trained = train(out / "training")
        numbers, findings = finish(trained)
        fit = PolicyFit.of(
            method=method.name,
            base=model.public_name,
            folder=out,
            curve=trained.curve,
            drawn=drawn,
            numbers=numbers,
            findings=findings,
            assumption=assumption,
        )

        def keep() -> None:
            keep_model(model, fit, settings=shown, data=data, weights=trained.weights)
            fit.save()
            shutil.rmtree(out / "training", ignore_errors=True)

        once(keep)
        return fit


def _adapter_by_content(method: Any) -> tuple[Any, Any]:
    """Return the settings for the fingerprint and for the card, neither with a path.

    Both tell the adapter to go on from by a hash of what it holds, since folders move; the card
    also has the folder's name for readers.
    """
    if method.adapter is None:
        return method, method
    folder = Path(method.adapter).expanduser().resolve()
    content = fingerprint(folder)
    # A fit keeps its adapter in "model"; the folder above has the name that tells something.
    name = folder.parent.name if folder.name == "model" else folder.name
    return replace(method, adapter=content), replace(method, adapter=f"{name} ({content})")
