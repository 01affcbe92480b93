"""A language model as a writer of candidates: the embedded one, a folder, or one of a hub."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

from causalign.lm.generate import sample
from causalign.lm.language_model import LanguageModel, check_model_name, load_language_model
from causalign.lm.model_files import hash_model_folder
from causalign.lm.writers import Offers, Prompts
from causalign.settings import require_number


@lru_cache(maxsize=1)
def _load_once(model: str, adapter: str | None) -> LanguageModel:
    return load_language_model(model, adapter=adapter)


@dataclass(frozen=True, slots=True)
class LanguageModelWriter:
    """Draw candidates from a language model on this machine.

    Parameters
    ----------
    model : str
        "smollm2", a folder, or owner/name on a hub.
    adapter : str, optional
        A folder with an adapter, such as a tuned policy's.
    max_new_tokens : int
    temperature : float
        Below 1 candidates become alike, and there is less to choose from.
    chat : bool
        Ask in the model's chat template.

    Raises
    ------
    SettingsError
        For settings out of range, or a model that is not there.
    """

    model: str = "smollm2"
    adapter: str | None = None
    max_new_tokens: int = 64
    temperature: float = 1.0
    chat: bool = False

    at_a_time: ClassVar[int] = 8

    def __post_init__(self) -> None:
        check_model_name(self.model)
        require_number("temperature", self.temperature, above=0)
        require_number("max_new_tokens", self.max_new_tokens, least=1, whole=True)

    def identify(self) -> object:
        """Return the settings, folders by what they hold."""
        named = [
            hash_model_folder(Path(name).expanduser()) if Path(name).expanduser().is_dir() else name
            for name in (self.model, self.adapter or "")
        ]
        return ("language model", *named, self.max_new_tokens, self.temperature, self.chat)

    def write(self, prompts: Prompts, n: int, seed: int) -> Offers:
        """Return n texts for each prompt.

        Parameters
        ----------
        prompts, n, seed
            As in `Writer.write`.
        """
        drawn = sample(
            _load_once(self.model, self.adapter),
            [prompt for prompt in prompts for _ in range(n)],
            max_new_tokens=self.max_new_tokens,
            seed=seed,
            temperature=self.temperature,
            batch_size=32,
            chat=self.chat,
        )
        return [drawn.texts[start : start + n] for start in range(0, len(drawn.texts), n)]
