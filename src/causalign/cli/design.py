"""``causalign design``: which texts should be tested next, and with how many readers?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, cast

import typer

import causalign as ca
from causalign.cli import options as given
from causalign.cli.output import give, say, show_section

Events = Literal["logit", "identity"]

# What a terminal has room for; the file has all.
SHOWN = ("test", "group", "first", "second", "difference", "standard_error", "readers_needed")

Reward = Annotated[Path, typer.Option("--reward", help="Folder of a reward model.")]
File = Annotated[
    str, typer.Option("--out", metavar="FILE", help="New csv, jsonl or parquet: a row an arm.")
]
Tests = Annotated[int, typer.Option("--tests", help="How many tests to propose.")]
Readers = Annotated[int, typer.Option("--readers", help="Readers for each arm of a test.")]
Criterion = Annotated[
    str,
    typer.Option(
        "--criterion",
        help="information: learn what texts do; best-text: find the best text of each group.",
    ),
]
Outcome = Annotated[
    str | None, typer.Option("--outcome", help="Column that tells how much outcomes vary.")
]
BaseRate = Annotated[
    float | None, typer.Option("--base-rate", help="How often the event happens, e.g. 0.02.")
]
Deviation = Annotated[
    float | None, typer.Option("--deviation", help="Standard deviation of one reader's outcome.")
]
Between = Annotated[
    float,
    typer.Option("--between-variance", help="Variance of arms that the reward does not explain."),
]
Scale = Annotated[
    str | None,
    typer.Option("--scale", help="Of a reward of events: logit (the default) or identity."),
]
Markers = Annotated[
    list[str] | None,
    typer.Option(
        "--marker",
        "--markers",
        help="Test texts with and without this word, phrase or sign (repeatable).",
    ),
]
Rewriter = Annotated[
    str | None,
    typer.Option("--rewrite-command", help="Program that edits the texts: JSON lines in and out."),
]
Timeout = Annotated[
    float, typer.Option("--timeout", help="Seconds after which the program is stopped.")
]
Power = Annotated[
    float, typer.Option("--power", help="With which the readers needed find the difference.")
]
Seed = Annotated[int, typer.Option("--seed", help="Of the pairs that are drawn, if too many.")]


def command(
    context: typer.Context,
    logs: given.LogsPath,
    completion: given.Completion,
    reward: Reward,
    out: File,
    tests: Tests = 20,
    readers: Readers = 2000,
    criterion: Criterion = "information",
    group: given.Group = None,
    prompt: given.Prompt = None,
    outcome: Outcome = None,
    trials: given.Trials = None,
    base_rate: BaseRate = None,
    deviation: Deviation = None,
    between_variance: Between = 0.0,
    scale: Scale = None,
    marker: Markers = None,
    rewrite_command: Rewriter = None,
    timeout: Timeout = 600.0,
    power: Power = 0.8,
    seed: Seed = 0,
    query: given.Query = None,
) -> None:
    """Choose the pairs of texts to test next, and write their arms for an experimentation tool.

    Texts compete within `--group`, else within `--prompt`, else all with all. How much one reader
    varies comes from `--base-rate`, `--deviation`, or the columns `--outcome` and `--trials`.

    Examples: `causalign design drafts.csv --completion headline --group story --reward
    runs/reward/model --base-rate 0.015 --tests 20 --readers 2000 --out next.csv`;
    `causalign design mails.parquet --completion mail --reward runs/reward/model --deviation 3.2
    --criterion best-text --out next.jsonl`;
    `causalign design tests.csv --completion headline --outcome clicks --trials shown --reward
    runs/reward/model --marker "you won't believe" --marker "?" --out pairs.csv`
    """
    target = _check_place(out)
    if rewrite_command is not None and not marker:
        raise ca.errors.SettingsError("--rewrite-command edits texts for a --marker: name one.")
    # Texts are read twice, for the reward and for its covariance, and encoded once.
    model = replace(ca.reward.RewardModel.load(reward), cache=ca.lm.EmbeddingCache())
    columns = {"outcome": outcome, "trials": trials, "group": group, "prompt": prompt}
    spread = _Spread(base_rate, deviation, between_variance, cast("Events | None", scale))
    candidates, noise = _read(given.fetch(context, logs, query), completion, columns, spread)
    if marker:
        candidates = _edit(candidates, marker, _make_rewriter(rewrite_command, timeout))
    plan = ca.experiment.design(
        candidates,
        model,
        tests=tests,
        readers=readers,
        criterion=cast(Literal["information", "best-text"], criterion),
        noise=noise,
        power=power,
        seed=seed,
    )
    plan.write(target)
    table, section = plan.table(), plan.section()
    shown = table.select([name for name in SHOWN if name in table.column_names])
    show_section(section, replace(section, tables={"next tests": shown}))
    say(f"{len(plan.first):,} tests written: {target}")
    give(file=target)


def _check_place(out: str) -> Path:
    """Return where the arms go; refuse a name without a writer, or of something that is there."""
    target = ca.experiment.check_format(given.read_output(out))
    if target.exists():
        raise ca.errors.ArtifactError(
            f"--out {str(target)!r} is there already. Choose another name, or remove it."
        )
    ca.artifacts.require_writable(target.parent)
    return target


@dataclass(frozen=True)
class _Spread:
    """What the options say of how much one reader's outcome varies."""

    rate: float | None
    deviation: float | None
    between: float
    scale: Events | None

    def noise(self) -> ca.experiment.ReaderNoise:
        """Return the noise that the options give without logs."""
        if (self.rate is None) == (self.deviation is None):
            raise ca.errors.SettingsError(
                "Say once how much one reader's outcome varies: --base-rate 0.02 for an event, "
                "--deviation 3.5 for a number, or --outcome COLUMN of these logs."
            )
        if self.rate is not None:
            return ca.experiment.ReaderNoise.of_rate(
                self.rate, scale=self.scale or "logit", between=self.between
            )
        if self.scale is not None:
            raise ca.errors.SettingsError(
                "--scale says on which scale the reward of an event is; --deviation is in units "
                "of the reward already."
            )
        return ca.experiment.ReaderNoise(float(self.deviation or 0) ** 2, self.between)


def _read(
    path: str, completion: str, columns: dict[str, str | None], spread: _Spread
) -> tuple[ca.experiment.Candidates, ca.experiment.ReaderNoise]:
    """Return the texts that may compete, and the noise: that of logs where they have an outcome."""
    experiment = ca.experiment
    if columns["outcome"] is not None:
        if spread.rate is not None or spread.deviation is not None:
            raise ca.errors.SettingsError(
                "Give the noise once: as --base-rate, as --deviation, or as --outcome COLUMN."
            )
        logs = given.read_logs(path, given.declare_roles(completion, **columns))
        noise = experiment.ReaderNoise.of(logs, scale=spread.scale, between=spread.between)
        return experiment.Candidates.of(logs), noise
    if columns["trials"] is not None:
        raise ca.errors.SettingsError("--trials counts for an --outcome COLUMN: name it too.")
    noise = spread.noise()

    def read(role: str) -> list[str] | None:
        name = columns[role]
        return None if name is None else ca.logs.read_column(path, name, role).to_pylist()

    texts = ca.logs.read_column(path, completion, "completion").to_pylist()
    return experiment.Candidates.distinct(texts, read("group"), read("prompt")), noise


def _edit(
    candidates: ca.experiment.Candidates,
    markers: list[str],
    rewriter: ca.experiment.CommandRewriter | None,
) -> ca.experiment.Candidates:
    """Return minimal pairs of the texts, and show which edits were refused."""
    pairs = ca.experiment.make_minimal_pairs(
        candidates.texts, markers, prompts=candidates.prompts, rewriter=rewriter
    )
    tables = {"refused edits": pairs.reasons()} if pairs.refused else {}
    section = pairs.section()
    show_section(section, replace(section, tables=tables), "minimal_pairs")
    return pairs.candidates()


def _make_rewriter(command: str | None, timeout: float) -> ca.experiment.CommandRewriter | None:
    if command is None:
        return None
    words = given.split_command("--rewrite-command", command)
    return ca.experiment.CommandRewriter(words, timeout)
