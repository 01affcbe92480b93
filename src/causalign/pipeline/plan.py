"""What a run will do: settings, logs and texts, read and checked before the first costly stage."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from causalign import artifacts, config, deconfound, lm, policy, reward
from causalign.checks.limits import read_limit
from causalign.deconfound.method import Deconfounder
from causalign.errors import CausalignError, RoleNotDeclared, SettingsError
from causalign.files import hash_content
from causalign.lm.encoder import Encoder, JoinsBlocks
from causalign.lm.encoders import load_encoder
from causalign.lm.language_model import check_model_name
from causalign.lm.writers import Writer
from causalign.logs import Logs, LogScan, Pairs, Roles, scan_logs
from causalign.logs.remote import hash_log_file
from causalign.logs.roles import find_guardrail
from causalign.logs.scales import rescale
from causalign.logs.splits import draw_held_out, draw_one_per_group
from causalign.pipeline.held_out_pairs import JudgingPairs, choose_pairs
from causalign.policy.best_of import BestOf
from causalign.recipe import Recipe
from causalign.reward.model import RewardMethod
from causalign.settings import require_number

if TYPE_CHECKING:  # a run that tunes nothing needs no torch
    from causalign.policy.method import PolicyMethod
    from causalign.policy.sft import SFT

logger = logging.getLogger(__name__)
# Of logs that are read batch by batch, what needs rows at once is given so many.
ROWS_IN_MEMORY = 100_000


@dataclass(frozen=True, slots=True)
class Plan:
    """Hold what every stage of a run reads.

    ``whole`` are the rows that everything is fitted on, ``test`` those held out. With an engine
    ``whole`` is a scan, and ``train`` and ``test`` are some of the rows, in memory. ``pairs``
    are those that fit the experimental reward and those that judge, ``tests`` the experiments that
    a reward reads beside the log, None where there are none. ``policy`` is None in a run that tunes
    nothing, ``start`` where no fine-tuning comes before it, ``best_of`` where no text is chosen
    among several; ``writer`` offers them where no policy is tuned. ``key`` is the hash of what was
    read and how, ``data`` of the log's columns alone.
    """

    recipe: Recipe
    whole: Logs | LogScan
    train: Logs
    test: Logs
    pairs: JudgingPairs
    tests: Logs | None
    encoder: Encoder
    deconfounder: Deconfounder
    reward: RewardMethod
    policy: "PolicyMethod | None"
    start: "SFT | None"
    best_of: BestOf | None
    writer: Writer | None
    key: str
    data: str

    def summary(self) -> str:
        """Return in a line what was read."""
        judging = "no" if self.pairs.test is None else f"{len(self.pairs.test):,}"
        return (
            f"{len(self.whole):,} rows to learn from, {len(self.test):,} held out, "
            f"{judging} pairs that judge; encoder {self.encoder.name}"
        )


def make_plan(recipe: Recipe) -> Plan:
    """Read the logs and check every setting of every stage; raise any `CausalignError`."""
    deconfounder = config.choose(deconfound.METHODS, recipe.deconfound, "deconfound")
    fitter = reward.choose(recipe.reward, "reward")
    tuner = _choose_policy(recipe, fitter)
    _check_roles(recipe.data.roles, deconfounder, fitter, tuner)
    best_of = _choose_best_of(recipe)
    _check_guardrails(recipe, best_of)
    if not 0 < recipe.data.held_out < 1:
        raise SettingsError("Setting 'data.held_out' must lie between 0 and 1.")
    read = _cut_logs(recipe) if recipe.data.engine is None else _cut_scan(recipe)
    whole, train = read.whole, read.train
    for where, method in (("deconfound", deconfounder), ("reward", fitter)):
        with _name_setting(where):
            method.check_logs(whole)
    if tuner is not None:
        tuner.check(train)
    encoder = load_encoder(recipe.encoder, training_texts=train.texts)
    judging = [some for some in (read.pairs.experiment, read.pairs.test) if some is not None]
    tests = _read_tests(recipe, fitter, read.pairs.test)
    return Plan(
        recipe=recipe,
        whole=whole,
        train=train,
        test=read.test,
        pairs=read.pairs,
        tests=tests,
        encoder=encoder,
        deconfounder=deconfounder,
        reward=fitter,
        policy=tuner,
        start=_choose_start(tuner, recipe.start),
        best_of=best_of,
        writer=_choose_writer(recipe, tuner),
        key=_hash_inputs(recipe, read.content, judging, tests, encoder),
        data=read.data,
    )


@dataclass(frozen=True, slots=True)
class _ReadRows:
    """Hold the rows of a run, cut into those that teach and those that judge.

    ``content`` is the hash of all columns that a run reads, ``data`` of those with a role.
    """

    whole: Logs | LogScan
    train: Logs
    test: Logs
    pairs: JudgingPairs
    content: str
    data: str


def _cut_logs(recipe: Recipe) -> _ReadRows:
    """Read logs into memory and cut them by story."""
    read = _read_logs(recipe)
    for note in read.history:
        logger.info("the log: %s", note)
    if recipe.evaluate.truth is not None:
        read.numbers(recipe.evaluate.truth)
    held_out = draw_held_out(read, recipe.data.held_out, recipe.seed)
    pairs = choose_pairs(read, held_out, recipe)
    logs = rescale(read, recipe.data.scale)
    train = logs.take(~held_out, f"set aside {held_out.sum()} rows for testing")
    if recipe.data.one_per_group:
        if train.roles.group is None:
            raise SettingsError(
                "'data.one_per_group' needs the column of the groups: 'data.roles.group'."
            )
        train = draw_one_per_group(train, recipe.seed)
    columns = dict.fromkeys([*read.roles.columns(), *_name_more(recipe)])
    content = artifacts.hash_table(read.data.select(list(columns)))
    test = logs.take(held_out, "held out")
    return _ReadRows(train, train, test, pairs, content, _hash_roles(read))


def _cut_scan(recipe: Recipe) -> _ReadRows:
    """Open logs on disk and cut them by a hash of their units."""
    asked = recipe.data
    scan = scan_logs(
        asked.path or "",
        asked.roles,
        drop_incomplete=asked.drop_incomplete,
        engine=asked.engine or "batches",
        keep=_name_more(recipe),
    )
    for note in scan.history:
        logger.info("the log: %s", note)
    whole, held = scan.hold_out(asked.held_out, recipe.seed)
    test = held.sample(ROWS_IN_MEMORY, recipe.seed)
    if recipe.evaluate.truth is not None:
        test.numbers(recipe.evaluate.truth)
    pairs = choose_pairs(test, np.ones(len(test), dtype=bool), recipe)
    train = whole.sample(ROWS_IN_MEMORY, recipe.seed)
    content = artifacts.fingerprint([hash_log_file(file) for file in scan.files])
    return _ReadRows(whole, train, test, pairs, content, content)


def _name_more(recipe: Recipe) -> tuple[str, ...]:
    """Return the columns that say which rows make a pair, and what is true."""
    named = [*recipe.evaluate.pairs_by, *filter(None, (recipe.evaluate.truth,))]
    return tuple(name for name in dict.fromkeys(named) if name not in recipe.data.roles.columns())


def list_inputs(recipe: Recipe) -> tuple[str, ...]:
    """Return the files, folders, globs and addresses that a run reads."""
    tests = None if recipe.experiments is None else recipe.experiments.path
    given = (recipe.data.path, recipe.data.uri, tests, recipe.evaluate.pairs)
    return tuple(filter(None, given))


def replacements(recipe: Recipe) -> list[tuple[str, str]]:
    """Return what no message or file shows of the recipe's paths, and what it shows in its place.

    What a recipe takes from the environment may be a secret.
    """
    filled = [path for path in list_inputs(recipe) if isinstance(path, config.FilledPath)]
    return [pair for path in filled for pair in path.replacements()]


def _read_logs(recipe: Recipe) -> Logs:
    asked = recipe.data
    if asked.uri is not None and asked.query is not None:
        incomplete = asked.drop_incomplete
        return Logs.query(asked.uri, asked.query, asked.roles, drop_incomplete=incomplete)
    return Logs.read(asked.path or "", asked.roles, drop_incomplete=asked.drop_incomplete)


def _read_tests(recipe: Recipe, fitter: RewardMethod, test_pairs: Pairs | None) -> Logs | None:
    """Read the experiments that the reward learns from, without those that judge."""
    asked, known = recipe.experiments, recipe.data.roles
    if asked is None:
        return None
    if not fitter.reads_experiments:
        raise SettingsError(
            f"'experiments': the reward {fitter.name} reads none. Use reward: {{method: pooled}}."
        )
    group = asked.group or known.group
    if group is None:
        raise SettingsError("'experiments.group' must name the column of the tests.")
    trials = asked.trials or known.trials
    if trials is not None and recipe.data.scale != "logit":
        raise SettingsError("Tests with trials are read as log-odds: set 'data.scale' to logit.")
    roles = Roles(
        known.completion, asked.outcome or known.outcome, trials, known.prompt, group=group
    )
    tests = Logs.read(asked.path, roles, drop_incomplete=recipe.data.drop_incomplete)
    if test_pairs is None:
        return tests
    judging = {*test_pairs.chosen, *test_pairs.rejected}
    seen = np.array([text in judging for text in tests.completions])
    apart = ~np.isin(tests.groups, tests.groups[seen])
    return tests.take(apart, f"left out {(~apart).sum()} rows of tests that judge")


def _hash_inputs(
    recipe: Recipe,
    content: str,
    pairs: Sequence[Pairs],
    tests: Logs | None,
    encoder: Encoder,
) -> str:
    """Return a hash of the content of what is read: not of where it lies, nor of its size or time.

    An engine changes no number, so it does not count.
    """
    return artifacts.fingerprint(
        replace(
            recipe.data, path="", uri=None, query=None, engine=recipe.data.engine and "batches"
        ),
        recipe.seed,
        (_name_of(encoder), encoder.revision),
        content,
        [replace(some, rows=None) for some in pairs],
        None if tests is None else [tests.roles, _hash_roles(tests)],
        artifacts.versions()["causalign"],
    )


def _hash_roles(logs: Logs) -> str:
    return artifacts.hash_table(logs.data.select(list(logs.roles.columns())))


def _name_of(encoder: Encoder) -> str:
    """Return the encoder's name; one in a folder has none, its revision says what it is."""
    if isinstance(encoder, JoinsBlocks):
        return "+".join(_name_of(block) for block in encoder.blocks)
    model, colon, words = encoder.name.partition(":")
    folder = Path(model).expanduser()
    return f"{colon}{words}" if folder.is_dir() else encoder.name


def identify_models(settings: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return settings that name models, or a file of candidates, by what these hold."""
    if settings is None:
        return None
    known = dict(settings)
    for name in ("model", "adapter", "path"):
        place = known.get(name)
        if isinstance(place, str) and Path(place).expanduser().exists():
            known[name] = hash_content(Path(place).expanduser())
    return known


def _check_roles(
    roles: Roles, deconfounder: Deconfounder, fitter: RewardMethod, tuner: "PolicyMethod | None"
) -> None:
    """Raise ``RoleNotDeclared``, in the words of a recipe, for what a stage would miss."""
    try:
        if not roles.confounders:
            raise RoleNotDeclared(
                "A run compares outcomes with and without confounders.", "confounders"
            )
        deconfounder.check_roles(roles)
        fitter.check_roles(roles)
        if tuner is not None:
            tuner.check_roles(roles)
    except RoleNotDeclared as missing:
        raise missing.reword("in", lambda role: f"'data.roles.{role}'") from None


def _check_guardrails(recipe: Recipe, best_of: BestOf | None) -> None:
    """Raise ``SettingsError`` for a price or a limit of what is no guardrail."""
    known = recipe.data.roles.guardrails
    with _name_setting("prices"):
        if recipe.prices and recipe.policy is None:
            raise SettingsError("a price is paid by what is tuned; name its method in 'policy'.")
        for name, price in recipe.prices.items():
            require_number(f"the price of {find_guardrail(name, known)}", price)
    with _name_setting("best_of.limits"):
        for limit in () if best_of is None else best_of.limits:
            find_guardrail(read_limit(limit).guardrail, known)


@contextmanager
def _name_setting(where: str) -> Iterator[None]:
    """Say in messages of the block's errors which part of the recipe they are about."""
    try:
        yield
    except CausalignError as error:
        error.args = (f"{where!r}: {error}", *error.args[1:])
        raise


def _choose_policy(recipe: Recipe, fitter: RewardMethod) -> "PolicyMethod | None":
    """Return the method that tunes, or None; raise ``SettingsError`` for one that cannot learn."""
    if recipe.policy is None:
        if recipe.start is not None:
            raise SettingsError("'start' prepares a policy; name its method in 'policy'.")
        return None
    tuner = config.choose(policy.METHODS, recipe.policy, "policy")
    with _name_setting("policy"):
        check_model_name(tuner.model)
    if not tuner.uses_outcome:
        raise SettingsError(
            f"'policy': with these settings {tuner.name} reads no outcome, so both policies would "
            f"be the same. For supervised fine-tuning set 'policy.temperature', for instance to 1."
        )
    if tuner.needs == "preference model" and not fitter.compares:
        raise SettingsError(
            f"'policy.method': {tuner.name} needs a preference model in log-odds. Fit one with "
            "reward: {method: pairwise}."
        )
    if tuner.needs == "outcome model" and fitter.compares:
        raise SettingsError(
            f"'policy.method': {tuner.name} needs a model of outcomes, and the reward "
            f"{fitter.name} compares texts. Fit one on outcomes, such as reward: {{method: ridge}}."
        )
    return tuner


def _choose_best_of(recipe: Recipe) -> BestOf | None:
    """Return how texts are chosen among several, if they are."""
    if recipe.best_of is None:
        return None
    asked = {name: value for name, value in recipe.best_of.items() if name != "writer"}
    return config.construct(BestOf, {"seed": recipe.seed} | asked, "best_of")


def _choose_writer(recipe: Recipe, tuner: "PolicyMethod | None") -> Writer | None:
    """Return what offers candidates where no policy is tuned, whose starting model would."""
    if recipe.best_of is None:
        return None
    asked = recipe.best_of.get("writer", {})
    if tuner is not None:
        if asked:
            raise SettingsError(
                "'best_of.writer': the model that 'policy' starts from offers the candidates."
            )
        return None
    kinds = {"url": lm.ServerWriter, "command": lm.CommandWriter, "path": lm.FileWriter}
    kind = next((kinds[name] for name in kinds if name in asked), None)
    if kind is not None:
        return config.construct(kind, asked, "best_of.writer")
    budget = {"max_new_tokens": recipe.generate.max_new_tokens}
    return config.construct(lm.LanguageModelWriter, budget | dict(asked), "best_of.writer")


def _choose_start(tuner: "PolicyMethod | None", settings: Mapping[str, Any] | None) -> "SFT | None":
    """Return the fine-tuning before ``tuner``, on the same model in the same form."""
    if tuner is None or settings is None:
        return None
    shared = {"model", "adapter", "lora", "chat"}
    if given := sorted(shared & set(settings)):
        raise SettingsError(f"Set 'policy.{given[0]}'; 'start' uses the same.")
    return config.construct(policy.SFT, settings, "start").share_model(tuner)
