"""Run the stages in their order, each from what those before it stored, and write one report."""

import dataclasses
import logging
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from causalign import artifacts, config, pipeline, report
from causalign.errors import ArtifactError, show_as_written
from causalign.files import read_json, write_json
from causalign.logs import hold_workers
from causalign.pipeline import stages
from causalign.pipeline.plan import (
    Plan,
    identify_models,
    list_inputs,
    make_plan,
    replacements,
)
from causalign.pipeline.stages import Payload, Place
from causalign.recipe import Recipe
from causalign.results import Finding, Section, Verdict, card, html_card

logger = logging.getLogger(__name__)
Say = Callable[[str], None]
ADVICE = "Choose another output folder, or replace it: `--replace`, in Python `replace=True`."
MONEY = "money.json"
KILOBYTES_PER_MEBIBYTE = 1024


@dataclass(frozen=True, slots=True, repr=False)
class Run:
    """A finished run.

    Attributes
    ----------
    folder : Path
        The run folder.
    sections : tuple of Section
        What the stages found, in their order.
    report : Path
        The page to read.
    answer : str
        What came out, in a few sentences.
    """

    folder: Path
    sections: tuple[Section, ...]
    report: Path
    answer: str

    @property
    def failed_findings(self) -> tuple[Finding, ...]:
        """The findings that failed, in the order of the stages."""
        return tuple(f for f in self._findings if f.verdict is Verdict.FAIL)

    @property
    def _findings(self) -> tuple[Finding, ...]:
        return tuple(finding for section in self.sections for finding in section.findings)

    def __repr__(self) -> str:
        return card(f"Run in {self.folder}", (self.answer,), self._findings)

    def _repr_html_(self) -> str:
        return html_card(f"Run in {self.folder}", (self.answer,), findings=self._findings)


@dataclass(frozen=True, slots=True)
class _Stage:
    """Name a stage: what does it, what it is done again for, and the stage it builds on."""

    name: str
    step: Callable[[Plan, Place], tuple[Section, Payload]]
    settings: object
    after: str | None


def run(
    recipe: Recipe,
    folder: str | Path,
    *,
    replace: bool = False,
    say: Say = print,
    progress: bool = True,
) -> Run:
    """Run all stages into ``folder``, skipping those that are there with the same settings.

    Everything is read and checked before the first costly stage. A run that was killed continues
    where it stopped and gives the same files; a policy goes on from its last checkpoint.

    Parameters
    ----------
    recipe : Recipe
        The settings of all stages; `causalign.recipe.load` reads them from a file.
    folder : path
        The run folder, new or of the same recipe.
    replace : bool
        Do stages again whose settings differ from the stored ones.
    say : callable
        Gets one line for each stage.
    progress : bool
        Report on standard error how far slow work has come.

    Returns
    -------
    Run

    Raises
    ------
    CausalignError
        Any of them; those about settings, roles and data before the first stage.
    """
    with show_as_written(replacements(recipe)):
        plan = _read_and_check(recipe, Path(folder), say)
        target = artifacts.open_run(folder)
        with artifacts.lock(target), hold_workers(recipe.data.engine or "batches"):
            for stage, key in _list_stages(recipe, plan.key):
                place = Place(target, target / f"{stage.name}.unfinished" / key, progress)
                _do_stage(stage, plan, place, key, replace, say)
            return _finish(target, recipe.name, recipe.report)


def preview(
    recipe: Recipe, folder: str | Path, *, replace: bool = False, say: Say = print
) -> dict[str, bool]:
    """Check what `run` checks before its first stage, and say which stages it would do.

    Parameters
    ----------
    recipe, folder, replace, say
        As `run` takes them.

    Returns
    -------
    dict of str to bool
        The stages in their order; True where `run` would find one done before.

    Raises
    ------
    CausalignError
        As `run` does before the first stage.
    """
    with show_as_written(replacements(recipe)):
        plan = _read_and_check(recipe, Path(folder), say)
        return {
            stage.name: artifacts.is_done(
                Path(folder) / stage.name, key, replace=replace, advice=ADVICE
            )
            for stage, key in _list_stages(recipe, plan.key)
        }


def _read_and_check(recipe: Recipe, folder: Path, say: Say) -> Plan:
    artifacts.require_apart(folder, *list_inputs(recipe))
    artifacts.require_writable(folder)
    say(f"{recipe.name}: reading the logs")
    plan = make_plan(recipe)
    say(plan.summary())
    return plan


def rebuild_report(folder: str | Path, money: report.Money | None = None) -> Run:
    """Write the report of a run, or of one stage, from what was stored.

    Parameters
    ----------
    folder : path
        The run folder, or the output folder of a single stage.
    money : Money, optional
        What one of the outcome is worth; without it what the run was told, if it was.

    Returns
    -------
    Run

    Raises
    ------
    ArtifactError
        When the folder holds no finished stage.
    """
    target = Path(folder)
    if not target.is_dir() or not artifacts.stages(target):
        raise ArtifactError(f"{str(target)!r} holds no finished stage. Use `causalign run` first.")
    return _finish(target, target.name, money)


def _list_stages(recipe: Recipe, read: str) -> list[tuple[_Stage, str]]:
    """Return the stages with what each is made of: its settings, and what it builds on."""
    # Pairs and models count by what they hold, wherever they lie.
    judge = dataclasses.replace(recipe.evaluate, pairs=None)
    reward = identify_models(recipe.reward)
    order = [
        _Stage("1-audit", stages.audit_stage, None, None),
        _Stage("2-deconfound", stages.deconfound_stage, recipe.deconfound, "1-audit"),
        _Stage("3-reward", stages.reward_stage, (reward, judge), "2-deconfound"),
    ]
    if recipe.policy is not None or recipe.best_of is not None:
        policy, start = identify_models(recipe.policy), identify_models(recipe.start)
        tuning: tuple[object, ...] = (policy, start, recipe.generate)
        if recipe.prices:
            tuning += (recipe.prices,)
        if recipe.best_of is not None:  # the key of a run without stays what it was
            writer = identify_models(recipe.best_of.get("writer"))
            tuning += ({**recipe.best_of, "writer": writer},)
        order.append(_Stage("4-policy", pipeline.policy_stage, tuning, "3-reward"))
    # What judges the rewards does not ask which policy was tuned.
    order.append(_Stage("5-evaluate", stages.evaluate_stage, judge, "3-reward"))
    if recipe.data.roles.audience:
        order.append(_Stage("5-evaluate-audiences", stages.audience_stage, None, "2-deconfound"))
    if recipe.experiments is not None:
        order.append(_Stage("5-evaluate-worth", stages.worth_stage, None, "2-deconfound"))
        order.append(_Stage("5-evaluate-bias", stages.bias_stage, None, "2-deconfound"))
    keys: dict[str | None, str] = {None: read}
    for stage in order:
        keys[stage.name] = artifacts.fingerprint(keys[stage.after], stage.name, stage.settings)
    return [(stage, keys[stage.name]) for stage in order]


def _do_stage(stage: _Stage, plan: Plan, place: Place, key: str, replace: bool, say: Say) -> None:
    """Do a stage unless it is there; what it leaves while it works lies beside its folder."""
    folder = place.run / stage.name
    if artifacts.is_done(folder, key, replace=replace, advice=ADVICE):
        say(f"{stage.name}: done before")
    else:
        with _record_cost(place.run / "cost.json", stage.name):
            logger.info("%s begins", stage.name)
            section, payload = stage.step(plan, place)
            artifacts.write_stage(
                folder, section, key=key, settings=stage.settings, payload=payload
            )
        say(f"{stage.name}: {section.answer}")
    shutil.rmtree(place.unfinished.parent, ignore_errors=True)


def _finish(target: Path, title: str, money: report.Money | None) -> Run:
    sections = tuple(artifacts.read_stage(place) for place in artifacts.stages(target))
    answering = ("audit", "evaluate", "policy")
    answers = [s.answer for name in answering for s in sections if s.stage == name]
    answer = " ".join(answers or [s.answer for s in sections])
    page = report.build_report(
        sections,
        title=title,
        answer=answer,
        provenance={"command": f"causalign report {target}", **artifacts.versions()},
        money=money or _read_money(target),
        made=_find_last_day(target / "cost.json"),
    )
    written, _ = page.write(target / "6-report")
    if money is not None:
        write_json(written.parent / MONEY, dataclasses.asdict(money))
    return Run(target, sections, written, answer)


def _read_money(target: Path) -> report.Money | None:
    """Return what the last report of this run was told that the outcome is worth."""
    path = target / "6-report" / MONEY
    return config.construct(report.Money, read_json(path)) if path.exists() else None


def _find_last_day(costs: Path) -> str:
    """Return the day on which the last stage ended; nothing for a folder that does not know."""
    known = read_json(costs).values() if costs.exists() else ()
    return max((str(one.get("day", "")) for one in known if isinstance(one, dict)), default="")


@contextmanager
def _record_cost(path: Path, stage: str) -> Iterator[None]:
    """Add the seconds and the peak memory (MiB) of the block, and the day, to a JSON file.

    They lie beside the results, which must not depend on them.
    """
    _forget_peak()
    started = time.perf_counter()
    yield
    known = read_json(path) if path.exists() else {}
    known[stage] = {
        "seconds": round(time.perf_counter() - started, 1),
        "peak memory, MiB": round(_peak()),
        "day": datetime.now(UTC).date().isoformat(),
    }
    write_json(path, known)


def _forget_peak() -> None:
    """Let Linux count the peak anew; elsewhere it stays that of the whole process so far."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _peak() -> float:
    try:
        status = Path("/proc/self/status").read_text()
        line = next(row for row in status.splitlines() if row.startswith("VmHWM"))
        return int(line.split()[1]) / KILOBYTES_PER_MEBIBYTE
    except (OSError, StopIteration):
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        # macOS counts bytes, the others kilobytes.
        bytes_each = 1 if sys.platform == "darwin" else 1024
        return most * bytes_each / (1 << 20)
