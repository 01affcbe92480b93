"""Run the stages in their order, each from what those before it stored, and write one report."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from causalign import artifacts, cost, report
from causalign.errors import ArtifactError
from causalign.pipeline import stages
from causalign.pipeline.tuning import tuned_twice
from causalign.pipeline.work import Work, prepared
from causalign.recipe import Recipe
from causalign.results import Section, Verdict, worst

__all__ = ["Run", "rebuild_report", "run"]

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Run:
    """Hold where a run was written, what its sections say, and its report."""

    folder: Path
    sections: tuple[Section, ...]
    report: Path
    answer: str

    @property
    def failed(self) -> bool:
        """Return whether any finding failed."""
        return worst(tuple(f for s in self.sections for f in s.findings)) is Verdict.FAIL


@dataclass(frozen=True, slots=True)
class _Stage:
    """Name a stage: what does it, what it is done again for, and the stage it builds on."""

    name: str
    step: Callable[[Work, Path, Path], tuple[Section, stages.Payload]]
    settings: Any
    after: str | None


def run(recipe: Recipe, folder: str | Path, *, redo: bool = False, say: Say = print) -> Run:
    """Run all stages into ``folder``, skipping those that are there with the same settings.

    Everything is read and checked before the first costly stage. A run that was killed continues
    where it stopped and gives the same files; a policy goes on from its last checkpoint. With other
    settings than the stored ones a stage is done again only if ``redo``. Raises any
    `CausalignError`.
    """
    target = artifacts.open_run(folder)
    with artifacts.locked(target):
        work = prepared(recipe)
        keys: dict[str | None, str] = {None: work.key}
        for stage in _plan(recipe):
            key = artifacts.fingerprint(keys[stage.after], stage.name, stage.settings)
            keys[stage.name] = key
            _done(stage, work, target, key, redo, say)
        return _finish(target, recipe.name)


def rebuild_report(folder: str | Path) -> Run:
    """Write the report of a run folder again from what its stages stored."""
    target = Path(folder)
    if not target.is_dir() or not artifacts.stages(target):
        raise ArtifactError(f"{str(target)!r} holds no finished stage. Use `causalign run` first.")
    return _finish(target, target.name)


def _plan(recipe: Recipe) -> list[_Stage]:
    plan = [
        _Stage("1-audit", stages.audited, None, None),
        _Stage("2-deconfound", stages.deconfounded, recipe.deconfound, "1-audit"),
        _Stage("3-reward", stages.rewarded, (recipe.reward, recipe.evaluate), "2-deconfound"),
    ]
    if recipe.policy is not None:
        tuning = (recipe.policy, recipe.start, recipe.generate)
        plan.append(_Stage("4-policy", tuned_twice, tuning, "3-reward"))
    # What judges the rewards does not ask which policy was tuned.
    return [*plan, _Stage("5-evaluate", stages.evaluated, recipe.evaluate, "3-reward")]


def _done(stage: _Stage, work: Work, target: Path, key: str, redo: bool, say: Say) -> None:
    """Do a stage unless it is there; what it leaves while it works lies beside its folder."""
    place, unfinished = target / stage.name, target / f"{stage.name}.unfinished"
    if artifacts.is_done(place, key, replace=redo):
        say(f"{stage.name}: done before")
    else:
        with cost.recorded(target / "cost.json", stage.name):
            section, payload = stage.step(work, target, unfinished / key)
            artifacts.write_stage(place, section, key=key, settings=stage.settings, payload=payload)
        say(f"{stage.name}: {section.answer}")
    shutil.rmtree(unfinished, ignore_errors=True)


def _finish(target: Path, title: str) -> Run:
    sections = tuple(artifacts.read_stage(place) for place in artifacts.stages(target))
    told = ("audit", "evaluate", "policy")
    answer = " ".join(s.answer for name in told for s in sections if s.stage == name)
    page = report.build(
        sections,
        title=title,
        answer=answer,
        provenance={"command": f"causalign report {target}", **artifacts.versions()},
    )
    written, _ = page.write(target / "6-report")
    return Run(target, sections, written, answer)
