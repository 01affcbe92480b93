"""The stages that every run has: audit, deconfound, reward, evaluate."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from causalign import audit, deconfound, evaluate, reward
from causalign.errors import InputError
from causalign.lm.cache import EmbeddingCache
from causalign.logs import Logs, LogScan, Roles, scan_saved
from causalign.pipeline.plan import ROWS_IN_MEMORY, Plan
from causalign.results import Result, Section

Payload = Callable[[Path], object] | None
REWARDS = ("naive", "deconfounded", "experimental")


@dataclass(frozen=True, slots=True)
class Place:
    """Hold where a stage finds what earlier ones stored, and where it keeps what is unfinished.

    With ``progress`` it tells how far it has come.
    """

    run: Path
    unfinished: Path
    progress: bool = False


def audit_stage(plan: Plan, place: Place) -> tuple[Section, Payload]:
    """Ask what the logs support, and which markers travel with confounders."""
    section = audit.audit_with_markers(
        plan.whole, plan.encoder, seed=plan.recipe.seed, progress=place.progress
    )
    log = {
        "rows": len(plan.whole),
        "rows held out": len(plan.test),
        "hash": plan.data,
        "unit of effects": _name_effect(plan),
        **_find_dates(plan),
    }
    return replace(section, details={**section.details, "log": log}), None


def _name_effect(plan: Plan) -> str:
    """Return what an effect of one is, on the scale on which effects add up."""
    asked = plan.recipe.data
    scale = {"logit": "log-odds of ", "log": "log of ", "identity": ""}[asked.scale]
    return f"{scale}{_name_unit(asked.roles) if asked.scale == 'identity' else asked.roles.outcome}"


def _find_dates(plan: Plan) -> dict[str, str]:
    """Return the first and the last day of the whole log, where a column of it holds dates."""
    roles = plan.train.roles
    if not isinstance(plan.whole, Logs):
        return {}  # some of the rows do not tell the first day of all
    for name in filter(None, (roles.time, *roles.confounders)):
        days = [part.data[name] for part in (plan.train, plan.test)]
        if pa.types.is_timestamp(days[0].type) or pa.types.is_date(days[0].type):
            ends = [pc.min_max(column.cast(pa.date32())).as_py() for column in days]
            first, last = min(e["min"] for e in ends), max(e["max"] for e in ends)
            return {"first day": first.isoformat(), "last day": last.isoformat()}
    return {}


def deconfound_stage(plan: Plan, place: Place) -> tuple[Section, Payload]:
    """Estimate the confounders' effect and store the logs without it."""
    del place
    adjusted, section = deconfound.adjust_logs(plan.deconfounder, plan.whole, plan.encoder)
    return section, adjusted.save


def reward_stage(plan: Plan, place: Place) -> tuple[Section, Payload]:
    """Fit the same reward twice, on the outcome as logged and deconfounded, and on experiments."""
    logs = {"naive": plan.whole, "deconfounded": load_adjusted(plan, place)}
    fits = {name: fit_reward(plan, read, place, name) for name, read in logs.items()}
    diagnostics = {
        name: reward.diagnose(
            fit.out_of_fold,
            rows.outcome,
            confounders=plan.train.confounders,
            clusters=plan.train.clusters,
            seed=plan.recipe.seed,
        )
        for name, fit in fits.items()
        # Beside experiments, what is predicted out of fold are their arms, not rows of the log.
        if fit.out_of_fold is not None and not plan.reward.compares and plan.tests is None
        # Of a scan no row is kept.
        if isinstance(rows := logs[name], Logs)
    }
    if plan.pairs.experiment is not None:
        fits["experimental"] = reward.Pairwise(seed=plan.recipe.seed).fit_pairs(
            plan.pairs.experiment, plan.encoder
        )

    def payload(folder: Path) -> None:
        for name, fit in fits.items():
            for part, model in fit.models.items():
                model.save(folder / name / Path(part).relative_to("model"))

    return reward.add_diagnostics(reward.compare(fits), diagnostics), payload


def fit_reward(plan: Plan, logs: Logs | LogScan, place: Place, name: str) -> reward.RewardFit:
    """Fit the run's reward method, with the run's encoder if it reads vectors."""
    work = place.unfinished / name
    encoder = plan.encoder if plan.reward.reads_vectors else None
    more = {} if plan.tests is None else {"experiments": plan.tests}
    return plan.reward.fit(logs, encoder, out=work, progress=place.progress, **more)


def evaluate_stage(plan: Plan, place: Place) -> tuple[Section, Payload]:
    """Judge the rewards by held-out pairs and texts."""
    judged = evaluate.held_out(
        load_rewards(plan, place),
        pairs=plan.pairs.test,
        choices=plan.pairs.choices,
        unit=_name_unit(plan.recipe.data.roles),
        logs=plan.test,
        train=plan.train,
        truth=plan.recipe.evaluate.truth,
        markers=plan.recipe.evaluate.markers,
    )
    section, about = judged.section(), plan.pairs.about
    if plan.pairs.test is None:
        section = replace(section, answer=f"{section.answer} {about}")
    elif about:
        section = replace(
            section,
            assumption=f"{about} {section.assumption}",
            details={**section.details, "judges": about},
        )
    return section, None


def _name_unit(roles: Roles) -> str:
    """Return what one of the outcome as logged is; counts of trials are read as rates."""
    return roles.outcome if roles.trials is None else f"{roles.outcome} per {roles.trials}"


def worth_stage(plan: Plan, place: Place) -> tuple[Section, Payload]:
    """Ask how many tests the log is worth, as logged and deconfounded."""

    def measure(tests: Logs) -> Result:
        progress, seed = place.progress, plan.recipe.seed
        log = load_adjusted_rows(plan, place)
        return evaluate.worth(
            log, tests, plan.encoder, naive=plan.train, seed=seed, progress=progress
        )

    return _ask_tests(plan, evaluate.Worth.question, measure)


def bias_stage(plan: Plan, place: Place) -> tuple[Section, Payload]:
    """Ask the tests how wrong the deconfounded log may be."""

    def measure(tests: Logs) -> Result:
        progress, seed = place.progress, plan.recipe.seed
        log = load_adjusted_rows(plan, place)
        return evaluate.bias_of_log(log, tests, plan.encoder, seed=seed, progress=progress)

    return _ask_tests(plan, evaluate.BiasOfLog.question, measure)


def audience_stage(plan: Plan, place: Place) -> tuple[Section, Payload]:
    """Ask for whom texts work, and who would lose by what is best on the whole."""
    logs = load_adjusted_rows(plan, place)
    try:
        study = evaluate.audiences(
            logs, plan.encoder, seed=plan.recipe.seed, progress=place.progress
        )
    except InputError as refusal:
        # The rewards of this run are fitted and judged all the same.
        return Section("evaluate", evaluate.AudienceStudy.question, str(refusal)), None
    return study.section(), None


def _ask_tests(
    plan: Plan, question: str, measure: Callable[[Logs], Result]
) -> tuple[Section, Payload]:
    """Return what the tests say of the log, or that they are too few to say anything."""
    if plan.tests is None:
        return Section("evaluate", question, "There are no experiments to ask."), None
    try:
        return measure(plan.tests).section(), None
    except InputError as refusal:
        # The rewards of this run are fitted and judged all the same.
        return Section("evaluate", question, str(refusal)), None


def load_adjusted(plan: Plan, place: Place) -> Logs | LogScan:
    """Return the logs that the second stage stored: in memory, or as a scan, as they came."""
    folder = place.run / "2-deconfound"
    if isinstance(plan.whole, Logs):
        return Logs.load(folder)
    return scan_saved(folder, engine=plan.whole.engine)


def load_adjusted_rows(plan: Plan, place: Place) -> Logs:
    """Return those of a run without an engine, and as many of a scan as memory holds."""
    logs = load_adjusted(plan, place)
    return logs if isinstance(logs, Logs) else logs.sample(ROWS_IN_MEMORY, plan.recipe.seed)


def load_rewards(plan: Plan, place: Place) -> dict[str, reward.RewardModel]:
    """Return the rewards that the third stage stored: naive, deconfounded, experimental.

    Where a method leaves one for each objective, its name follows, and those of one objective stand
    together: the first two are compared.
    """
    folder = place.run / "3-reward"
    places = [path.parent.relative_to(folder) for path in folder.rglob("reward_model.json")]
    # The benchmark comes last: it has no objective, and is no side of the comparison.
    benchmark = REWARDS[-1]
    places.sort(key=lambda p: (p.parts[0] == benchmark, p.parts[1:], REWARDS.index(p.parts[0])))
    return {" ".join(path.parts): load_reward(plan, folder / path) for path in places}


def load_reward(plan: Plan, folder: Path) -> reward.RewardModel:
    """Read a reward; one that names the run's encoder gets the one that is loaded already.

    Several rewards score the same texts, which are encoded once and kept in the cache.
    """
    model = replace(reward.RewardModel.load(folder), cache=EmbeddingCache())
    if model.encoder is None and model.encoder_name == plan.encoder.name:
        return replace(model, encoder=plan.encoder)
    return model
