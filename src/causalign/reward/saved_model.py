"""The folder of a saved reward model: a description, a head as safetensors, a small encoder."""

import hashlib
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Self

import numpy as np
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from causalign.errors import ArtifactError, SettingsError, nearest
from causalign.files import read_format, write_json, write_whole
from causalign.lm.cache import EmbeddingCache
from causalign.lm.encoder import Encoder, Storable
from causalign.lm.encoders import load_encoder
from causalign.reward.audience_head import AudienceHead
from causalign.reward.heads import ClassHead, Head, LinearHead, NetworkHead, Settings, Tensors

_DESCRIPTION = "reward_model.json"
_FORMAT = "causalign-reward-model"
_VERSION = 2


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SavedModel:
    """The parts of a reward model, how they fit each other, and how they lie in a folder."""

    encoder_name: str
    head: Head
    units: str = "units of the outcome"
    reads_prompt: bool = False
    encoder_revision: str | None = None
    encoder: Encoder | None = None
    settings: Settings | None = None
    cache: EmbeddingCache | None = None
    guardrail_heads: Mapping[str, LinearHead] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.encoder is not None:
            self._check_encoder(self.encoder)

    def load_encoder(self) -> Encoder:
        """Return the encoder, loading the one that is named unless it was given.

        Raises
        ------
        SettingsError
            If its vectors are not those that the head was fitted on.
        """
        if self.encoder is not None:
            return self.encoder
        encoder = _load_once(self.encoder_name)
        if self.encoder_revision not in (None, encoder.revision):
            _load_once.cache_clear()  # its folder may have changed since
            encoder = _load_once(self.encoder_name)
        self._check_encoder(encoder)
        return encoder

    def _check_encoder(self, encoder: Encoder) -> None:
        if encoder.dimension != self.head.dimension:
            raise SettingsError(
                f"The encoder {encoder.name!r} gives vectors of length {encoder.dimension}; the "
                f"head was fitted on {self.head.dimension}."
            )
        if self.encoder_revision not in (None, encoder.revision):
            raise SettingsError(
                f"The reward was fitted with revision {self.encoder_revision} of the encoder "
                f"{self.encoder_name!r}; this is {encoder.revision}, whose vectors differ. Load "
                "that revision, or fit the reward again."
            )

    def save(self, folder: str | Path) -> Path:
        """Write the head as safetensors and the rest as JSON; return the folder.

        A reader sees the old model or the new one, never a mixture: the description, which is
        replaced last, names the weights by their hash.

        Raises
        ------
        ArtifactError
            If the folder cannot be written.
        """
        target, encoder = Path(folder), self.encoder
        data = save_tensors({n: np.ascontiguousarray(t) for n, t in self._tensors().items()})
        digest = hashlib.sha256(data).hexdigest()
        revision = encoder.revision if encoder else self.encoder_revision
        names = {f"head-{digest[:16]}.safetensors"}
        try:
            with write_whole(target / f"head-{digest[:16]}.safetensors") as partial:
                partial.write_bytes(data)
            if isinstance(encoder, Storable):
                names.add(f"encoder-{revision}")
                encoder.save(target / f"encoder-{revision}")
            write_json(target / _DESCRIPTION, self._description(digest, revision))
            _remove_others(target, names)
        except OSError as failure:
            raise ArtifactError(
                f"The reward model cannot be saved in {target}: {failure.strerror or failure}."
            ) from failure
        return target

    def _tensors(self) -> Tensors:
        """Return the arrays of all heads; those of guardrails are numbered in their order."""
        return dict(self.head.tensors()) | {
            f"guardrail {number} {name}": tensor
            for number, head in enumerate(self.guardrail_heads.values())
            for name, tensor in head.tensors().items()
        }

    def _description(self, digest: str, revision: str | None) -> Settings:
        return {
            "format": _FORMAT,
            "version": _VERSION,
            "encoder": {
                "name": self.encoder.name if self.encoder else self.encoder_name,
                "revision": revision,
                "stored": isinstance(self.encoder, Storable),
            },
            "head": {"kind": self.head.kind, "settings": self.head.settings},
            "guardrails": list(self.guardrail_heads),
            "units": self.units,
            "reads_prompt": self.reads_prompt,
            "method": self.settings,
            "weights": f"head-{digest[:16]}.safetensors",
            "sha256": digest,
        }

    @classmethod
    def load(cls, folder: str | Path, encoder: Encoder | None = None) -> Self:
        """Read a saved model; nothing in the folder is executed.

        Raises
        ------
        ArtifactError
            If files are missing or altered, or the format is another version.
        """
        source = Path(folder)
        path = source / _DESCRIPTION
        if not path.exists():
            below = sorted(source.glob(f"*/{path.name}"))
            where = f" {' and '.join(str(one.parent) for one in below)} holds one." * bool(below)
            raise ArtifactError(
                f"There is no reward model in {source}: it holds no {path.name}.{where}"
            )
        description = read_format(path, _FORMAT, _VERSION, again="fit the reward again")
        head, guardrails = _read_heads(source, description)
        try:
            used = description["encoder"]
            if used["stored"] and encoder is None:
                place = source / f"encoder-{Path(str(used['revision'])).name}"
                if not any(place.glob("*.json")):
                    raise ArtifactError(f"There is no encoder in {place}. Save the model again.")
                encoder = load_encoder(place)
            return cls(
                encoder_name=str(used["name"]),
                head=head,
                units=str(description["units"]),
                reads_prompt=bool(description["reads_prompt"]),
                encoder_revision=used["revision"],
                encoder=encoder,
                settings=description.get("method"),
                guardrail_heads=guardrails,
            )
        except (KeyError, TypeError) as missing:
            raise ArtifactError(
                f"{path} is incomplete: {missing}. Save the model again."
            ) from missing


# What a saved model may hold: a closed list, since anybody may have written the file.
HEADS: Mapping[str, type[LinearHead] | type[NetworkHead] | type[ClassHead]] = {
    head.kind: head for head in (LinearHead, AudienceHead, NetworkHead, ClassHead)
}


def build_head(kind: str, settings: Settings, tensors: Tensors) -> Head:
    """Return the head that was saved; raise ``ArtifactError`` if its parts do not fit."""
    if kind not in HEADS:
        raise ArtifactError(
            f"The reward model has a head of the kind {kind!r}, which this causalign does not "
            f"know; {nearest(kind, HEADS)} Install the causalign that wrote it."
        )
    try:
        return HEADS[kind].from_tensors(settings, tensors)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as damage:
        raise ArtifactError(
            f"The saved parts make no head of the kind {kind!r}: {damage!r}. Save the model again."
        ) from damage


def _read_heads(source: Path, description: Settings) -> tuple[Head, dict[str, LinearHead]]:
    """Return the head of the outcome, and those of guardrails by name."""
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
    head = build_head(str(described.get("kind")), described.get("settings") or {}, tensors)
    guardrails: dict[str, LinearHead] = {}
    names = description.get("guardrails") or []
    if not isinstance(names, list):
        raise ArtifactError(f"{source / _DESCRIPTION} is damaged: its guardrails are no list.")
    for number, name in enumerate(names):
        start = f"guardrail {number} "
        own = {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
        read = build_head(LinearHead.kind, {}, own)
        assert isinstance(read, LinearHead)
        guardrails[str(name)] = read
    return head, guardrails


def _remove_others(target: Path, names: set[str]) -> None:
    """Remove the weights and encoders of models that were saved here before."""
    for old in target.iterdir():
        if old.name in names:
            continue
        if re.fullmatch(r"head-[0-9a-f]{16}\.safetensors", old.name):
            old.unlink(missing_ok=True)
        elif re.fullmatch(r"encoder-[0-9a-f]{16,32}", old.name):
            shutil.rmtree(old)


@lru_cache(maxsize=2)
def _load_once(name: str) -> Encoder:
    """Load an encoder once, not for every batch that is scored."""
    return load_encoder(name)
