"""Writers offer candidates: a server, a program, a file; and how answers survive a kill."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

import pyarrow as pa
import urllib3

from causalign import artifacts
from causalign.errors import ArtifactError, InputError, SettingsError, hide_secrets, nearest
from causalign.files import hash_content, read_json, write_json
from causalign.lm.progress import show_progress
from causalign.logs.reading import read_table
from causalign.programs import Program
from causalign.settings import require_number

Prompts = Sequence[str | None]
Offers = list[list[str]]

# What one more try may mend: a server that is busy, or away for a moment.
_PASSING = (408, 429, 500, 502, 503, 504)
_AT_ONCE = 8


class Writer(Protocol):
    """What offers candidates: texts of which the best may be chosen.

    ``at_a_time`` says for how many prompts it is asked in one go; what was answered before is kept
    when the process is killed.
    """

    at_a_time: ClassVar[int]

    def identify(self) -> object:
        """Return what its answers depend on: settings, and what is in the files that it reads."""
        ...

    def write(self, prompts: Prompts, n: int, seed: int) -> Offers:
        """Return n texts for each prompt, or as many as there are.

        Parameters
        ----------
        prompts : sequence of str or None
            None asks for a text without a prompt.
        n, seed : int
            How many texts each, and the seed of their draws.
        """
        ...


@dataclass(frozen=True, slots=True)
class ServerWriter:
    """A server that speaks as OpenAI's does: vLLM, Ollama, llama.cpp, or a provider.

    Parameters
    ----------
    url : str
        Up to and with the version, such as ``http://localhost:8000/v1``.
    model : str
        The name under which the server knows the model.
    key_variable : str
        The environment variable that holds the key, where the server asks for one. The key is sent
        to this server alone and never shown.
    chat : bool
        Ask as a turn of a chat; else the prompt is continued as it stands.
    max_new_tokens : int
    temperature : float
    timeout : float
        Seconds to wait for one answer.
    retries : int
        How often a request that failed for a passing reason is sent again, each time after a
        longer pause.

    Raises
    ------
    SettingsError
        For settings out of range, or an address that is none.
    """

    url: str
    model: str
    key_variable: str = "OPENAI_API_KEY"
    chat: bool = True
    max_new_tokens: int = 64
    temperature: float = 1.0
    timeout: float = 120.0
    retries: int = 5

    at_a_time: ClassVar[int] = _AT_ONCE

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise SettingsError(
                f"url must be the address of a server, such as 'http://localhost:8000/v1'; found "
                f"{hide_secrets(self.url)!r}."
            )
        if not self.model:
            raise SettingsError("model must name a model of the server.")
        require_number("temperature", self.temperature, least=0)
        require_number("max_new_tokens", self.max_new_tokens, least=1, whole=True)
        require_number("timeout", self.timeout, above=0, why="seconds")
        require_number("retries", self.retries, least=0, whole=True)

    def identify(self) -> object:
        """Return the settings that answers depend on."""
        asked = (self.chat, self.max_new_tokens, self.temperature)
        return ("server", hide_secrets(self.url), self.model, *asked)

    def write(self, prompts: Prompts, n: int, seed: int) -> Offers:
        """Return n texts for each prompt, asked for side by side.

        Parameters
        ----------
        prompts, n, seed
            As in `Writer.write`.
        """
        if any(prompt is None for prompt in prompts):
            raise InputError(
                "A server answers prompts. Give a file of them: one line such as 'Write the "
                "subject of a newsletter.' will do."
            )
        pool = urllib3.PoolManager(
            maxsize=_AT_ONCE,
            timeout=self.timeout,
            retries=urllib3.Retry(
                total=self.retries,
                redirect=False,
                status_forcelist=_PASSING,
                allowed_methods=None,
                backoff_factor=0.5,
                backoff_max=30,
                raise_on_status=False,
            ),
        )
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            return list(threads.map(lambda prompt: self._ask(pool, str(prompt), n, seed), prompts))

    def _ask(self, pool: urllib3.PoolManager, prompt: str, n: int, seed: int) -> list[str]:
        """Ask until there are n texts: some servers give one, however many are asked for."""
        texts: list[str] = []
        for _ in range(n):
            got = self._request(pool, prompt, n - len(texts), seed + len(texts))
            texts += got
            if len(texts) >= n or not got:
                break
        return texts[:n]

    def _request(self, pool: urllib3.PoolManager, prompt: str, n: int, seed: int) -> list[str]:
        how = {
            "model": self.model,
            "n": n,
            "seed": seed,
            "temperature": self.temperature,
            "max_tokens": self.max_new_tokens,
        }
        asked: dict[str, object] = {"prompt": prompt}
        if self.chat:
            asked = {"messages": [{"role": "user", "content": prompt}]}
        place = "chat/completions" if self.chat else "completions"
        address = f"{self.url.rstrip('/')}/{place}"
        key = os.environ.get(self.key_variable, "")
        try:
            answer = pool.request(
                "POST",
                address,
                json=how | asked,
                headers={"Authorization": f"Bearer {key}"} if key else {},
            )
        except urllib3.exceptions.HTTPError as failure:
            reason = str(getattr(failure, "reason", None) or failure).split("(", 1)[0]
            raise ArtifactError(
                f"The writer at {hide_secrets(address)} does not answer: "
                f"{type(failure).__name__} {reason}".rstrip()
                + ". Start it and run again: what it answered before is kept."
            ) from None
        return self._read(hide_secrets(address), answer.status, answer.data)

    def _read(self, address: str, status: int, body: bytes) -> list[str]:
        """Return the texts of an answer; raise ``InputError`` for a page that holds none."""
        words = body.decode("utf-8", "replace")
        shown = " ".join(words.split())[:200]
        if status != 200:
            advice = {
                401: f"Put the key into the environment variable {self.key_variable}.",
                403: f"Is the key in {self.key_variable} one for this model?",
                404: "Does the address end in the version, such as /v1, and is the model there?",
            }.get(status, "What was answered before is kept: mend it and run again.")
            raise InputError(
                f"The writer at {address} answered with the error {status}: {shown!r}. {advice}"
            )
        try:
            choices = json.loads(words)["choices"]
            texts = [one["message"]["content"] if self.chat else one["text"] for one in choices]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise InputError(
                f"The writer at {address} answered with a page that holds no texts: {shown!r}. Is "
                "this the address of a server that speaks as OpenAI's does?"
            ) from None
        return ["" if text is None else str(text) for text in texts]


@dataclass(frozen=True, slots=True)
class CommandWriter:
    """A program that writes: one JSON object a line in, one a line out, in any order.

    In: ``{"id": 0, "prompt": "...", "n": 16, "seed": 0}`` (``prompt`` may be null). Out: ``{"id":
    0, "texts": ["...", ...]}``. It is started once for all prompts, without a shell.

    Parameters
    ----------
    command : tuple of str
        The program and its arguments.
    timeout : float
        Seconds after which it is killed.

    Raises
    ------
    SettingsError
        When ``command`` is one string, or ``timeout`` is not above 0.
    """

    command: tuple[str, ...]
    timeout: float = 600.0

    at_a_time: ClassVar[int] = sys.maxsize

    def __post_init__(self) -> None:
        self._program()

    def identify(self) -> object:
        """Return the command, and what is in those files that it names."""
        files = [Path(word) for word in self.command]
        return ("program", *(hash_content(f) if f.is_file() else str(f) for f in files))

    def write(self, prompts: Prompts, n: int, seed: int) -> Offers:
        """Return what the program offers for each prompt.

        Parameters
        ----------
        prompts, n, seed
            As in `Writer.write`.
        """
        questions = [{"prompt": prompt, "n": n, "seed": seed} for prompt in prompts]
        return self._program().ask(questions, "texts", _read_texts)

    def _program(self) -> Program:
        return Program(self.command, "writer", "prompt", self.timeout)


def _read_texts(value: object, where: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise InputError(f"{where} must hold a list of texts under 'texts'.")
    return value


@dataclass(frozen=True, slots=True)
class FileWriter:
    """Candidates that lie in a file, one a row: csv, tsv, jsonl or Parquet.

    With a column of prompts a prompt is offered the candidates of its rows. Without one, each text
    is offered the next n rows.

    Parameters
    ----------
    path : str
    completion, prompt : str
        Names of the columns.
    """

    path: str
    completion: str = "completion"
    prompt: str = "prompt"

    at_a_time: ClassVar[int] = sys.maxsize

    def identify(self) -> object:
        """Return what is in the file."""
        return ("file", hash_content(Path(self.path)), self.completion, self.prompt)

    def write(self, prompts: Prompts, n: int, seed: int) -> Offers:
        """Return the first n candidates of each prompt.

        Parameters
        ----------
        prompts, n, seed
            As in `Writer.write`.
        """
        del seed  # nothing is drawn
        table = read_table(self.path)
        if self.completion not in table.column_names:
            raise InputError(
                f"{self.path!r} has no column {self.completion!r}. Name the one that holds the "
                "candidates, FileWriter(completion=...) or `--set completion=COLUMN`; "
                f"{nearest(self.completion, table.column_names)}"
            )
        texts = ["" if text is None else str(text) for text in table[self.completion].to_pylist()]
        if all(prompt is None for prompt in prompts):
            return [texts[place * n : (place + 1) * n] for place in range(len(prompts))]
        return self._match(table, texts, prompts, n)

    def _match(self, table: pa.Table, texts: list[str], prompts: Prompts, n: int) -> Offers:
        if self.prompt not in table.column_names:
            raise InputError(
                f"{self.path!r} has no column {self.prompt!r}, so it does not say which candidate "
                "answers which prompt. Name it: FileWriter(prompt=...), `--prompt COLUMN`."
            )
        offers: Mapping[str, list[str]] = {str(prompt): [] for prompt in prompts}
        for prompt, text in zip(table[self.prompt].to_pylist(), texts, strict=True):
            if prompt is not None and str(prompt) in offers:
                offers[str(prompt)].append(text)
        return [offers[str(prompt)][:n] for prompt in prompts]


def ask_writer(
    writer: Writer,
    prompts: Prompts,
    n: int,
    seed: int,
    folder: str | Path | None = None,
    *,
    progress: bool = False,
) -> Offers:
    """Return what a writer offers for each prompt; what it answered before is not asked again.

    Parameters
    ----------
    writer : Writer
    prompts : sequence of str or None
        None asks for a text without a prompt.
    n, seed : int
        How many texts each, and the seed of their draws.
    folder : path, optional
        Where answers are kept.
    progress : bool

    Raises
    ------
    InputError
        When a writer answers nothing for any prompt, or with an error.
    ArtifactError
        When the folder holds the answers to other questions, or a server does not answer.
    """
    asked = list(prompts)
    if folder is not None:
        place = artifacts.open_run(folder)
        artifacts.claim(place, artifacts.fingerprint(writer.identify(), asked, n, seed))
    offers: Offers = []
    step = min(writer.at_a_time, len(asked))
    with show_progress("Writing candidates", len(asked), progress) as advance:
        for start in range(0, len(asked), step):
            part = asked[start : start + step]
            stored = None if folder is None else Path(folder) / f"answers-{start:08d}.json"
            if stored is not None and stored.exists():
                got = read_json(stored)["texts"]
            else:
                got = writer.write(part, n, seed + start)
                if stored is not None:
                    write_json(stored, {"texts": got})
            offers += got
            advance(len(part))
    if not any(text.strip() for texts in offers for text in texts):
        raise InputError(
            f"The writer offered no text for any of {len(asked):,} prompts. Ask it by hand what it "
            "answers to one of them."
        )
    return offers
