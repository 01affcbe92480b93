"""What a run is made of: the settings in ``pipeline.yaml``, strict and frozen."""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from causalign import config
from causalign.config import Settings
from causalign.errors import SettingsError
from causalign.logs.roles import Roles
from causalign.logs.scales import Scale
from causalign.report.gains import Money
from causalign.settings import require_number

_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
_NAME_BYTES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Say where the logs are, what their columns mean and which rows judge.

    Either ``path``: a file, a folder or a glob, here or behind a URI such as ``s3://``; or ``uri``
    and ``query``: a database and what to select from it, as in `Logs.query`.

    ``scale`` is the scale on which effects add up (`causalign.logs.scales`); ``one_per_group``
    keeps one random row of each group for training, as a firm without tests would have;
    ``held_out`` is the share of stories that only judge: groups that share a text, equal or nearly
    so, are one story (`causalign.logs.find_stories`).
    """

    path: str | None = None
    uri: str | None = None
    query: str | None = None
    roles: Roles
    scale: Scale = "identity"
    drop_incomplete: bool = False
    one_per_group: bool = False
    held_out: float = 0.3

    def __post_init__(self) -> None:
        if (self.path is None) == (self.uri is None) or (self.uri is None) != (self.query is None):
            raise SettingsError("give either a path, or the uri of a database and a query.")


@dataclass(frozen=True, slots=True)
class Experiments:
    """Say where tests lie that a reward such as `pooled` reads beside the log.

    ``outcome``, ``trials`` and ``group`` name their columns where those of the log differ; the text
    and the prompt are those of the log. Tests that share a text with what judges are left out.
    """

    path: str
    outcome: str | None = None
    trials: str | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Say what judges the rewards.

    Either ``pairs`` (a file of experimental pairs: half of its groups fit the experimental
    benchmark, half judge), ``pairs_by`` (columns within which rows of the logs compete), with
    ``significance`` and ``minimum_margin`` as in `Logs.pairs`, or ``alike``: held-out rows that
    agree in all confounders, numbers in the same tenth, each row in one pair at most. ``truth``
    names a column with the known effect of the text, for simulated logs; ``markers`` are words to
    write into texts.
    """

    pairs: str | None = None
    pairs_by: tuple[str, ...] = ()
    alike: bool = False
    significance: float | None = None
    minimum_margin: float = 0.0
    truth: str | None = None
    markers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Generation:
    """Say what each policy writes to be compared: so many ``texts``, and how long they may be.

    Where logs have prompts they are held-out ones, the same for every policy.
    """

    texts: int = 128
    max_new_tokens: int = 64

    def __post_init__(self) -> None:
        if self.texts < 2 or self.max_new_tokens < 1:
            raise SettingsError(
                "generate.texts must be at least 2 and generate.max_new_tokens at least 1; found "
                f"{self.texts} and {self.max_new_tokens}."
            )


@dataclass(frozen=True, slots=True)
class Recipe:
    """Hold the settings of a run, as written in ``pipeline.yaml``.

    ``encoder`` is what `causalign.lm.load_encoder` takes, its default unless given. With
    ``policy``, a method of `causalign.policy` and its settings, a language model is tuned twice: on
    the outcome as logged and deconfounded. ``start`` are settings of supervised fine-tuning on the
    logged texts, which comes first if they are given. ``report`` says what one of the outcome is
    worth, so that the report tells gains in money.
    """

    name: str
    data: Data
    encoder: str | None = None
    deconfound: Settings = field(default_factory=lambda: {"method": "additive"})
    reward: Settings = field(default_factory=lambda: {"method": "ridge"})
    experiments: Experiments | None = None
    evaluate: Evaluation = Evaluation()
    policy: Settings | None = None
    start: Settings | None = None
    generate: Generation = Generation()
    report: Money | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        require_number("seed", self.seed, least=0, whole=True)
        if not _is_file_name(self.name):
            shown = self.name if len(self.name) <= 60 else f"{self.name[:60]}..."
            raise SettingsError(
                "Setting 'name' names the run's folder: a word or a few, at most "
                f'{_NAME_BYTES} bytes, none of / \\ : * ? " < > |, no dot or blank at its ends, '
                f"and no word that Windows keeps for itself. Found {shown!r}."
            )


def _is_file_name(name: str) -> bool:
    """Return whether a folder can have this name on every system, inside the folder of runs."""
    plain = name.isprintable() and not set(name) & set('/\\:*?"<>|')
    fits = 0 < len(name.encode(errors="replace")) <= _NAME_BYTES
    return plain and fits and name.strip(" .") == name and not _RESERVED.fullmatch(name)


def load(path: str | Path, overrides: tuple[str, ...] = ()) -> Recipe:
    """Read ``pipeline.yaml`` with dotted overrides; paths in it are relative to its folder."""
    settings = config.construct(Recipe, config.override(config.read_yaml(path), overrides))
    base = Path(path).parent

    def resolve(given: str | None) -> config.FilledPath | None:
        return None if given is None else config.resolve_path(given, base)

    data, tests, judge = settings.data, settings.experiments, settings.evaluate
    if tests is not None:
        tests = replace(tests, path=config.resolve_path(tests.path, base))
    return replace(
        settings,
        data=replace(data, path=resolve(data.path), uri=resolve(data.uri)),
        experiments=tests,
        evaluate=replace(judge, pairs=resolve(judge.pairs)),
    )
