"""A reward model: an encoder and a head that together score texts; saved and loaded safely."""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors
from scipy.special import expit

from causalign.errors import ArtifactError, InputError, SettingsError
from causalign.lm.cache import EmbeddingCache
from causalign.lm.embed import Embeddings, embed
from causalign.lm.encoder import Encoder, Storable, load_encoder
from causalign.reward.heads import Head, built_head
from causalign.reward.networks.outcome_kinds import EVENT_ODDS

__all__ = ["RewardModel", "reward_texts"]

_DESCRIPTION = "reward_model.json"
_FORMAT = "causalign-reward-model"
_VERSION = 2


def reward_texts(prompts: Sequence[str] | None, completions: Sequence[str]) -> list[str]:
    """Return what the encoder reads: the completion, below its prompt if there is one."""
    if prompts is None:
        return list(completions)
    if len(prompts) != len(completions):
        raise InputError(f"There are {len(prompts)} prompts for {len(completions)} completions.")
    return [
        f"{prompt}\n\n{completion}" for prompt, completion in zip(prompts, completions, strict=True)
    ]


@dataclass(frozen=True, slots=True, eq=False)
class RewardModel:
    """Score completions: ``r(prompt, completion) = head(encode(text))``.

    ``units`` says what a difference of one means. ``reads_prompt`` must be what the head was fitted
    with: vectors of :func:`reward_texts` with prompts, or of completions alone. Without ``encoder``
    the named one is loaded when texts are first scored; its revision must be
    ``encoder_revision``, if that is recorded. The head is any that keeps to
    :class:`causalign.reward.heads.Head`.
    """

    encoder_name: str
    head: Head
    units: str = "units of the outcome"
    reads_prompt: bool = False
    encoder_revision: str | None = None
    encoder: Encoder | None = None

    def __post_init__(self) -> None:
        if self.encoder is None:
            return
        if self.encoder.dimension != self.head.dimension:
            raise SettingsError(
                f"The encoder {self.encoder.name!r} gives vectors of length "
                f"{self.encoder.dimension}; the head was fitted on {self.head.dimension}."
            )
        if self.encoder_revision not in (None, self.encoder.revision):
            raise SettingsError(
                f"The reward was fitted with revision {self.encoder_revision} of the encoder "
                f"{self.encoder_name!r}; this is {self.encoder.revision}, whose vectors differ. "
                "Load that revision, or fit the reward again."
            )

    def __call__(
        self,
        prompts: Sequence[str] | None,
        completions: Sequence[str],
        cache: EmbeddingCache | None = None,
    ) -> NDArray[np.float64]:
        """Return the reward ``(n,)`` of each completion, in ``units``.

        Raises ``InputError`` if the model reads prompts and none are given, or their number
        differs from that of the completions.
        """
        return self.scored(prompts, completions, cache)[0]

    def scored(
        self,
        prompts: Sequence[str] | None,
        completions: Sequence[str],
        cache: EmbeddingCache | None = None,
    ) -> tuple[NDArray[np.float64], Embeddings]:
        """Return the rewards ``(n,)`` and how the texts were read; see :meth:`__call__`."""
        if self.reads_prompt and prompts is None:
            raise InputError("This reward model reads prompts; give one for each completion.")
        texts = reward_texts(prompts if self.reads_prompt else None, completions)
        if self.encoder is None:
            ready = replace(self, encoder=_encoder(self.encoder_name))
            return ready.scored(prompts, completions, cache)
        found = embed(texts, self.encoder, cache)
        return self.head(found.vectors), found

    def expected_outcome(
        self, prompts: Sequence[str] | None, completions: Sequence[str]
    ) -> NDArray[np.float64]:
        """Return ``E[Y | T]`` ``(n,)`` in units of the outcome: what policies ask of a model.

        The log-odds r of an event become its probability ``1 / (1 + e^{-r})``; classes and levels
        are at their expected value already. Raises ``InputError`` for a reward of comparisons, of
        which only differences mean something.
        """
        if self.units == "log-odds":
            raise InputError(
                "This reward was fitted on comparisons: its differences are log-odds of winning, "
                "and it predicts no outcome. Fit one on outcomes."
            )
        found = self(prompts, completions)
        return expit(found) if self.units == EVENT_ODDS else found

    def save(self, folder: str | Path) -> Path:
        """Write the head as safetensors and the rest as JSON; return the folder.

        A reader sees the old model or the new one, never a mixture: the description, which is
        replaced last, names the weights by their hash. Raises ``ArtifactError`` if the folder
        cannot be written.
        """
        target = Path(folder)
        tensors = {name: np.ascontiguousarray(t) for name, t in self.head.tensors().items()}
        weights = save_tensors(tensors)
        digest = hashlib.sha256(weights).hexdigest()
        kept = {f"head-{digest[:16]}.safetensors"}
        try:
            target.mkdir(parents=True, exist_ok=True)
            _replace(target / f"head-{digest[:16]}.safetensors", weights)
            if isinstance(self.encoder, Storable):
                kept.add(f"encoder-{self.encoder.revision}")
                self.encoder.save(target / f"encoder-{self.encoder.revision}")
            _replace(target / _DESCRIPTION, self._described(digest).encode())
            _remove_others(target, kept)
        except OSError as failure:
            raise ArtifactError(
                f"The reward model cannot be saved in {target}: {failure}."
            ) from failure
        return target

    def _described(self, digest: str) -> str:
        revision = self.encoder.revision if self.encoder else self.encoder_revision
        description = {
            "format": _FORMAT,
            "version": _VERSION,
            "encoder": {
                "name": self.encoder.name if self.encoder else self.encoder_name,
                "revision": revision,
                "stored": isinstance(self.encoder, Storable),
            },
            "head": {"kind": self.head.kind, "settings": dict(self.head.settings)},
            "units": self.units,
            "reads_prompt": self.reads_prompt,
            "weights": f"head-{digest[:16]}.safetensors",
            "sha256": digest,
        }
        return json.dumps(description, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def load(cls, folder: str | Path, encoder: Encoder | None = None) -> "RewardModel":
        """Read a saved model; nothing in the folder is executed.

        Raises ``ArtifactError`` if files are missing or altered, or the format is another version.
        """
        source = Path(folder)
        description = _description(source)
        head = _head(source, description)
        try:
            used = description["encoder"]
            if used["stored"] and encoder is None:
                encoder = load_encoder(source / f"encoder-{Path(str(used['revision'])).name}")
            return cls(
                encoder_name=str(used["name"]),
                head=head,
                units=str(description["units"]),
                reads_prompt=bool(description["reads_prompt"]),
                encoder_revision=used["revision"],
                encoder=encoder,
            )
        except (KeyError, TypeError) as missing:
            raise ArtifactError(
                f"{source / _DESCRIPTION} is incomplete: {missing}. Save the model again."
            ) from missing


@lru_cache(maxsize=2)
def _encoder(name: str) -> Encoder:
    """Load an encoder once, not for every batch that is scored."""
    return load_encoder(name)


def _description(source: Path) -> dict[str, Any]:
    path = source / _DESCRIPTION
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(
            f"There is no reward model in {source}: it holds no {_DESCRIPTION}."
        ) from None
    except (OSError, ValueError) as damage:
        raise ArtifactError(f"{path} cannot be read: {damage}. Save the model again.") from damage
    if not isinstance(found, dict) or found.get("format") != _FORMAT:
        raise ArtifactError(f"{path} does not describe a reward model of causalign.")
    if found.get("version") != _VERSION:
        raise ArtifactError(
            f"{path} has format version {found.get('version')!r}; this causalign reads version "
            f"{_VERSION}. Install the causalign that wrote it, or fit the reward again."
        )
    return found


def _head(source: Path, description: dict[str, Any]) -> Head:
    path = source / Path(str(description.get("weights"))).name
    try:
        data = path.read_bytes()
    except OSError as failure:
        raise ArtifactError(
            f"The weights {path} cannot be read: {failure}. Save the model again."
        ) from failure
    if hashlib.sha256(data).hexdigest() != description.get("sha256"):
        raise ArtifactError(
            f"The weights {path} are not those that were saved: their SHA-256 differs from the one "
            f"in {_DESCRIPTION}. Copy the folder again, or save the model again."
        )
    described = description.get("head")
    if not isinstance(described, dict):
        raise ArtifactError(f"{source / _DESCRIPTION} is incomplete: it describes no head.")
    try:
        tensors = load_tensors(data)
    except Exception as damage:  # the library raises errors of its own, KeyError and ValueError
        raise ArtifactError(f"The weights {path} cannot be read: {damage}.") from damage
    return built_head(str(described.get("kind")), described.get("settings") or {}, tensors)


def _remove_others(target: Path, kept: set[str]) -> None:
    """Remove the weights and encoders of models that were saved here before."""
    for old in target.iterdir():
        if old.name in kept:
            continue
        if re.fullmatch(r"head-[0-9a-f]{16}\.safetensors", old.name):
            old.unlink(missing_ok=True)
        elif re.fullmatch(r"encoder-[0-9a-f]{32}", old.name):
            shutil.rmtree(old)


def _replace(path: Path, data: bytes) -> None:
    """Write a file so that it is whole or absent, also when the process is killed."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
