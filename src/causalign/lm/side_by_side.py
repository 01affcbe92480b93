"""Put the vectors of several encoders side by side, each block scaled on the training texts."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scipy import sparse

from causalign.errors import ArtifactError
from causalign.files import read_format, write_json, write_whole
from causalign.lm.cache import EmbeddingCache
from causalign.lm.embeddings import embed
from causalign.lm.encoder import Encoder, NoticesLongTexts, Storable
from causalign.lm.vector_block import EncodesSparsely, VectorBlock, encode_block

# Of sparse vectors so many are made at once.
TEXTS_AT_ONCE = 16_384
_FILE = "side-by-side.json"
_CENTRES = "centres.safetensors"
_FORMAT = "causalign-side-by-side-encoder"
_VERSION = 1


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SideBySideEncoder:
    """Encode with several encoders: ``u = [s_1 (u_1 - m_1), ..., s_k (u_k - m_k)]``.

    ``m_j`` is the mean of a block over the training texts and ``s_j`` makes its mean squared length
    there one, so that one penalty is fair to all blocks, wide or narrow; a block that is constant
    there counts as nothing. Make one with
    :func:`fit_side_by_side`.

    Parameters
    ----------
    blocks : tuple of Encoder
    centres : tuple of (d_j,) arrays
        The m.
    scales : tuple of float
        The s.
    """

    blocks: tuple[Encoder, ...]
    centres: tuple[NDArray[np.float32], ...]
    scales: tuple[float, ...]

    worth_caching: ClassVar[bool] = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, dimension={self.dimension})"

    @property
    def name(self) -> str:
        """The names of the blocks, joined by ``+``."""
        return "+".join(block.name for block in self.blocks)

    @property
    def revision(self) -> str:
        """A hash of the blocks and of what they are scaled by."""
        digest = hashlib.sha256(repr((self.name, self.scales)).encode())
        for block, centre in zip(self.blocks, self.centres, strict=True):
            digest.update(block.revision.encode())
            digest.update(centre.tobytes())
        return digest.hexdigest()[:32]

    @property
    def dimension(self) -> int:
        """The sum of the blocks' dimensions."""
        return sum(block.dimension for block in self.blocks)

    def encode(self, texts: Sequence[str], progress: bool = False) -> NDArray[np.float32]:
        """Return one vector for each text, ``(n, d)``."""
        return self.join([block.encode(texts, progress) for block in self.blocks])

    def join(self, parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Centre, scale and put side by side the vectors ``(n, d_j)`` of each block."""
        scaled = [
            np.float32(scale) * (part - centre)
            for part, centre, scale in zip(parts, self.centres, self.scales, strict=True)
        ]
        return np.hstack(scaled)

    def encode_sparse(self, texts: Sequence[str]) -> VectorBlock:
        """Return the vectors as `encode` does, those of words sparse and centred by the shift."""
        parts = [encode_block(block, texts) for block in self.blocks]
        if any(isinstance(part.values, np.ndarray) for part in parts):
            joined = self.join([part.dense() for part in parts])
            return VectorBlock(joined, np.zeros(self.dimension))
        scaled = [
            np.float32(scale) * part.values for part, scale in zip(parts, self.scales, strict=True)
        ]
        shift = [
            scale * (part.shift + centre)
            for part, centre, scale in zip(parts, self.centres, self.scales, strict=True)
        ]
        values = sparse.csr_array(sparse.hstack(scaled, format="csr"), dtype=np.float32)
        return VectorBlock(values, np.concatenate(shift))

    def too_long(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Return, ``(n,)``, whether a block does not read the end of a text."""
        cut = np.zeros(len(texts), dtype=bool)
        for block in self.blocks:
            if isinstance(block, NoticesLongTexts):
                cut |= block.too_long(texts)
        return cut

    def save(self, folder: Path) -> None:
        """Write the scales, the names of the blocks, and those blocks that are small."""
        for place, block in enumerate(self.blocks):
            if isinstance(block, Storable):
                block.save(folder / f"block-{place}")
        centres = {f"centre-{place}": centre for place, centre in enumerate(self.centres)}
        with write_whole(folder / _CENTRES) as partial:
            save_file(centres, partial)
        content = {
            "format": _FORMAT,
            "version": _VERSION,
            "blocks": [block.name for block in self.blocks],
            "stored": [isinstance(block, Storable) for block in self.blocks],
            "scales": self.scales,
        }
        write_json(folder / _FILE, content)


def fit_side_by_side(
    blocks: Sequence[Encoder], texts: Sequence[str], cache: EmbeddingCache | None = None
) -> SideBySideEncoder:
    """Learn the centre and the scale of each block from the training texts.

    A block that gives every text the same vector counts as nothing: its scale is zero.
    """
    centres, scales = [], []
    for block in blocks:
        centre, length = _measure(block, texts, cache)
        centres.append(centre.astype(np.float32))
        scales.append(float(1 / np.sqrt(length)) if length > 0 else 0.0)
    return SideBySideEncoder(tuple(blocks), tuple(centres), tuple(scales))


def _measure(
    block: Encoder, texts: Sequence[str], cache: EmbeddingCache | None
) -> tuple[NDArray[np.float64], float]:
    """Return the mean of a block's vectors ``(d,)``, and their mean squared length about it."""
    if not isinstance(block, EncodesSparsely):
        vectors = embed(texts, block, cache).vectors
        centre = vectors.mean(axis=0, dtype=np.float64)
        about = np.square(vectors - centre.astype(np.float32), dtype=np.float64)
        return centre, float(about.sum(axis=1).mean())
    total, squares = np.zeros(block.dimension), 0.0
    shift = np.zeros(block.dimension)
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        part = block.encode_sparse(texts[start : start + TEXTS_AT_ONCE])
        values = sparse.csr_array(part.values, dtype=np.float64)
        total += values.sum(axis=0)
        squares += float(values.power(2).sum())
        shift = part.shift
    mean = total / len(texts)
    return mean - shift, max(squares / len(texts) - float(mean @ mean), 0.0)


def holds_side_by_side(folder: Path) -> bool:
    """Return whether a folder holds an encoder that :meth:`SideBySideEncoder.save` wrote."""
    return (folder / _FILE).is_file()


def load_side_by_side(folder: Path, load: Callable[[str | Path], Encoder]) -> SideBySideEncoder:
    """Read an encoder back; ``load`` makes a block from its name or folder.

    Raises ``ArtifactError`` if it is damaged or of another version.
    """
    path = folder / _FILE
    content = read_format(path, _FORMAT, _VERSION, again="fit the reward again")
    try:
        places = [
            folder / f"block-{place}" if stored else str(name)
            for place, (name, stored) in enumerate(
                zip(content["blocks"], content["stored"], strict=True)
            )
        ]
        tensors = load_file(folder / _CENTRES)
        centres = tuple(tensors[f"centre-{place}"] for place in range(len(places)))
        scales = tuple(float(scale) for scale in content["scales"])
    except (KeyError, TypeError, ValueError, OSError, SafetensorError) as damage:
        raise ArtifactError(f"{path} cannot be read: {damage}. Fit the reward again.") from damage
    blocks = tuple(load(place) for place in places)
    shapes = [(block.dimension,) for block in blocks]
    if [c.shape for c in centres] != shapes or len(scales) != len(blocks):
        raise ArtifactError(f"{path} does not fit its encoders. Fit the reward again.")
    return SideBySideEncoder(blocks, centres, scales)
