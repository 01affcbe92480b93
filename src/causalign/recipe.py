"""What a run is made of: the settings in ``pipeline.yaml``, strict and frozen."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from causalign import config
from causalign.config import Settings
from causalign.errors import SettingsError
from causalign.logs.roles import Roles
from causalign.logs.scales import Scale
from causalign.logs.workers import Engine, require_engine
from causalign.report.gains import Money
from causalign.settings import require_number

_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
_NAME_BYTES = 100
# Of the recipe's form; it changes when a recipe no longer means what it did.
VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Say where the logs are, what their columns mean and which rows judge.

    Parameters
    ----------
    path : str, optional
        A file, a folder or a glob, relative to the folder of the recipe, or behind a URI such as
        ``s3://``.
    uri, query : str, optional
        Instead of a path: a database, and what to select from it, as in `Logs.query`.
    roles : Roles
        Which column plays which part.
    scale : str
        The scale on which effects add up: "logit" for rates and events, "log" for amounts.
    drop_incomplete : bool
        Leave out rows that miss a value in a column with a role; else they are refused.
    one_per_group : bool
        Keep one random row of each group for training, as a firm without tests would have.
    held_out : float
        The share of stories that only judge: groups that share a text, equal or nearly so, are
        one story (`causalign.logs.find_stories`).
    engine : {"batches", "ray"}, optional
        Read Parquet of any size batch by batch, here or on Ray's workers; without it all rows are
        read into memory. Units that share a cluster, group or text are then held out by their hash,
        and what needs rows at once, a policy or a judge, is given 100,000 of them.
    """

    path: str | None = None
    uri: str | None = None
    query: str | None = None
    roles: Roles
    scale: Scale = "identity"
    drop_incomplete: bool = False
    one_per_group: bool = False
    held_out: float = 0.3
    engine: Engine | None = None

    def __post_init__(self) -> None:
        if (self.path is None) == (self.uri is None) or (self.uri is None) != (self.query is None):
            raise SettingsError("give either a path, or the uri of a database and a query.")
        if self.engine is not None:
            require_engine(self.engine)
            if self.path is None or self.scale != "identity" or self.one_per_group:
                raise SettingsError(
                    "engine reads Parquet files below a path, batch by batch: with it there is no "
                    "query, the scale is identity, and one_per_group is false."
                )


@dataclass(frozen=True, slots=True)
class Experiments:
    """Say where tests lie that a reward such as `pooled` reads beside the log.

    The text and the prompt are those of the log. Tests that share a text with what judges are left
    out.

    Parameters
    ----------
    path : str
        The file, relative to the folder of the recipe.
    outcome, trials, group : str, optional
        Their columns, where those of the log differ.
    """

    path: str
    outcome: str | None = None
    trials: str | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Say what judges the rewards: a file of experimental pairs, or rows that compete in the logs.

    Parameters
    ----------
    pairs : str, optional
        A file of experimental pairs: half of its groups fit the experimental benchmark, half judge.
    pairs_by : tuple of str
        Columns within which rows of the logs compete.
    alike : bool
        Held-out rows that agree in all confounders compete, each row in one pair at most; numbers
        in the same tenth, fifth or third, the finest that gives enough pairs.
    significance : float, optional
        Leave out pairs of ``pairs_by`` whose rates do not differ at this level; needs ``trials``.
    minimum_margin : float
        Leave out pairs of ``pairs_by`` whose outcomes differ by no more than this.
    truth : str, optional
        A column with the known effect of the text, for simulated logs.
    markers : tuple of str
        Words to write into texts, to see what a reward pays for them.
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
    """Say what each policy writes to be compared.

    Where logs have prompts they are held-out ones, the same for every policy.

    Parameters
    ----------
    texts : int
        How many each policy writes.
    max_new_tokens : int
        How long a text may be.
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

    Parameters
    ----------
    name : str
        The name of the run, and of its folder below ``runs/``.
    data : Data
        The log.
    encoder : str, optional
        What turns texts into numbers, as `causalign.lm.load_encoder` takes it; several as
        "minilm+style".
    deconfound : Settings
        ``method`` and its settings: how the confounders' effect is estimated.
    reward : Settings
        ``method`` and its settings: how a reward is fitted.
    experiments : Experiments, optional
        Tests that the reward reads beside the log.
    evaluate : Evaluation
        What judges the rewards.
    policy : Settings, optional
        ``method`` and its settings: a language model is then tuned twice, on the outcome as logged
        and deconfounded.
    best_of : Settings, optional
        ``n``, ``caution`` and ``writer``: the best of n candidates are chosen by the naive reward
        and by the deconfounded one, beside what a tuned ``policy`` writes, whose starting model
        then offers them. Else ``writer`` has the settings of what offers them (``model``, or
        ``url``, ``command``, ``path``). ``policy: {method: best-of, n: 16}`` means the same alone.
    prices : mapping from str to float
        What one of a guardrail costs, in units of the outcome: a tuned ``policy`` learns what texts
        earn less what they cost. For a choice there are ``best_of.limits``.
    start : Settings, optional
        Settings of supervised fine-tuning on the logged texts, which then comes before ``policy``.
    generate : Generation
        What the tuned policies write to be compared.
    report : Money, optional
        What one of the outcome is worth, so that the report tells gains in money.
    seed : int
        Of every random choice of the run.
    version : int
        Of the form of recipes.
    """

    name: str
    data: Data
    encoder: str | None = None
    deconfound: Settings = field(default_factory=lambda: {"method": "additive"})
    reward: Settings = field(default_factory=lambda: {"method": "ridge"})
    experiments: Experiments | None = None
    evaluate: Evaluation = Evaluation()
    policy: Settings | None = None
    best_of: Settings | None = None
    prices: Mapping[str, float] = field(default_factory=dict)
    start: Settings | None = None
    generate: Generation = Generation()
    report: Money | None = None
    seed: int = 0
    version: int = VERSION

    def __post_init__(self) -> None:
        require_number("seed", self.seed, least=0, whole=True)
        if self.policy is not None and self.policy.get("method") == "best-of":
            if self.best_of is not None:
                raise SettingsError("'policy.method': best-of is set by 'best_of' already.")
            chosen = {name: value for name, value in self.policy.items() if name != "method"}
            object.__setattr__(self, "best_of", chosen)
            object.__setattr__(self, "policy", None)
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
    written = config.override(config.read_yaml(path), overrides)
    version = written.get("version", VERSION)
    if version != VERSION:
        raise SettingsError(
            f"{str(path)!r} is a recipe of version {version!r:.20}, and this causalign reads "
            f"version {VERSION}. Update causalign, or draft the recipe again: `causalign init`."
        )
    settings = config.construct(Recipe, written)
    base = Path(path).parent

    def resolve(given: str | None) -> config.FilledPath | None:
        return None if given is None else config.resolve_path(given, base)

    data, tests, judge = settings.data, settings.experiments, settings.evaluate
    if tests is not None:
        tests = replace(tests, path=config.resolve_path(tests.path, base))
    chosen = settings.best_of
    if chosen is not None and "path" in (writer := chosen.get("writer", {})):
        chosen = {**chosen, "writer": {**writer, "path": str(resolve(writer["path"]))}}
    return replace(
        settings,
        best_of=chosen,
        data=replace(data, path=resolve(data.path), uri=resolve(data.uri)),
        experiments=tests,
        evaluate=replace(judge, pairs=resolve(judge.pairs)),
    )
