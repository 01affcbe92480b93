"""Train a small language model on the texts at hand, from nothing, in minutes."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from causalign.artifacts import fingerprint
from causalign.errors import SettingsError
from causalign.lm.cache import default_cache_folder
from causalign.lm.small_model import SmallModel, bits_per_byte, hash_texts
from causalign.lm.training import Training
from causalign.logs import Logs
from causalign.policy.fit import PolicyFit
from causalign.policy.method import load_start
from causalign.policy.rows import tokenize_texts, train_on_rows
from causalign.policy.sft import SFT, Supervised

_LEARNING = Training(batch_size=32, learning_rate=3e-3, weight_decay=0.1, max_length=128)
# Texts that are read more often are learned by heart rather than generalised from.
_MOST_PASSES = 20
_NAME = "a small model of these texts"
_LEFT_OUT, _MOST_LEFT_OUT = 0.05, 500


@dataclass(frozen=True, slots=True)
class Pretraining:
    """Learn to write like texts: byte pairs, a small Llama, and the cross-entropy of a token.

    One text in twenty is left out, at most 500, and measures what was learned in bits per byte.

    Parameters
    ----------
    shape : SmallModel
        Tokenizer and network.
    tokens : int
        How many tokens are read: few texts are read up to twenty times, of many a part. The
        default takes some nine minutes of one core.
    training : Training
        How fast and how precisely; its ``steps`` follow from ``tokens`` unless they are set.

    Raises
    ------
    SettingsError
        When a number is out of range.
    """

    shape: SmallModel = field(default_factory=SmallModel)
    tokens: int = 2_000_000
    training: Training = _LEARNING

    def __post_init__(self) -> None:
        if self.tokens < 1:
            raise SettingsError(f"tokens must be above 0; found {self.tokens}.")

    def fit(
        self, texts: Logs | Sequence[str], out: str | Path | None = None, *, progress: bool = False
    ) -> PolicyFit:
        """Train; what was trained on the same texts before is read, a killed fit goes on.

        Parameters
        ----------
        texts : Logs or n strings
            Of logs, prompts and completions are texts by themselves. What occurs often counts once.
        out : path, optional
            A folder for the model, its card and the log of training; without it the cache keeps
            them under the hash of texts and settings.
        progress : bool
            Show bars of progress.

        Returns
        -------
        PolicyFit
            Its ``model_folder`` is what ``model=`` of every method takes, with ``lora=None`` or an
            adapter; ``numbers["held_out_bits_per_byte"]`` is its quality.

        Raises
        ------
        InputError
            For too few texts; the message says how many are needed.
        ArtifactError
            When ``out`` holds another run or cannot be written.
        """
        given = _read_texts(texts)
        keep = np.random.default_rng(self.training.seed).permutation(len(given))
        aside = keep[: min(_MOST_LEFT_OUT, round(_LEFT_OUT * len(given)))]
        learned = [given[row] for row in np.sort(keep[len(aside) :])]
        start = self.shape.make(learned)
        folder = Path(out) if out is not None else self._cache_place(given)
        fit = self._train(start, learned, folder, progress)
        if len(aside) and "held_out_bits_per_byte" not in fit.numbers:
            left_out = [given[row] for row in aside]
            size = bits_per_byte(
                fit.language_model(), left_out, max_length=self.training.max_length
            )
            numbers = {**fit.numbers, "held_out_bits_per_byte": size}
            fit = replace(fit, method="pretraining", numbers=numbers)
            fit.save()
        return fit

    def _train(self, start: Path, texts: list[str], out: Path, progress: bool) -> PolicyFit:
        method = SFT(model=str(start), lora=None, training=self.training)
        # Where the new weights lie is nobody's business: folders move, and cards are read.
        model = replace(load_start(method), name=_NAME)
        method = replace(method, model=_NAME)
        read = tokenize_texts(method, model, None, texts)
        if self.training.steps is None:
            total = int(read.lengths.sum())
            passes = min(self.tokens / total, _MOST_PASSES)
            method = replace(method, training=replace(self.training, epochs=passes))
        even = np.ones(len(texts))
        return train_on_rows(
            method, model, Supervised(), read, {"weight": even}, np.zeros(len(texts)), out, progress
        )

    def _cache_place(self, texts: list[str]) -> Path:
        key = fingerprint(self, hash_texts(texts))[:16]
        return default_cache_folder() / "models" / f"small-{key}"


def _read_texts(texts: Logs | Sequence[str]) -> list[str]:
    """Return the texts to learn from, each once: a copy would tell what was left out.

    What is missing, as in a column of a table, is no text.
    """
    given = [*(texts.prompts or ()), *texts.completions] if isinstance(texts, Logs) else texts
    return [text for text in dict.fromkeys(given) if isinstance(text, str) and text.strip()]
