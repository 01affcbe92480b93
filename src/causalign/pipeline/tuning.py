"""The stage that writes: policies tuned, and texts chosen, by either outcome's reward."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from causalign import artifacts, deconfound, policy
from causalign.errors import InputError, NotIdentified
from causalign.evaluate.marker_payments import name_units
from causalign.files import read_json, write_json
from causalign.lm.generate import room_for_prompts, sample_on
from causalign.lm.language_model import LanguageModel
from causalign.lm.model_writer import LanguageModelWriter
from causalign.lm.writers import ask_writer
from causalign.pipeline.generations import (
    POLICIES,
    ChosenTexts,
    Compared,
    Generated,
    HeldOutJudge,
    compare_policies,
)
from causalign.pipeline.plan import Plan
from causalign.pipeline.stages import Payload, Place, fit_reward, load_adjusted_rows, load_reward
from causalign.policy.method import PolicyMethod, load_start
from causalign.results import Section

TEXTS_AT_A_TIME = 32


def policy_stage(plan: Plan, place: Place) -> tuple[Section, Payload]:
    """Tune from either outcome with the same settings, and let all write to the same prompts.

    Beside them, or alone, the best of n candidates are chosen by either reward.

    Whatever training leaves lies in ``place.unfinished`` until the stage is stored, so that a
    killed run goes on from its last checkpoint.

    Parameters
    ----------
    plan : Plan
    place : Place
        The folder of the run, and where this stage works.
    """
    artifacts.open_run(place.unfinished)
    judge, prompts = _choose_judge(plan, place), _draw_prompts(plan)
    fits: dict[str, policy.PolicyFit] = {}
    generated: dict[str, Generated] = {}
    method, best = plan.policy, ChosenTexts({})
    if method is not None:
        fits, method = _tune_both(plan, method, place)
        for name in POLICIES:
            load = partial(_load_policy, fits.get(name), method)
            generated[name] = _generate_or_read(plan, prompts, load, place, name)
    if plan.best_of is not None:
        best = _choose_texts(plan, plan.best_of, method, prompts, place)
        generated |= best.generated(beside=method is not None)

    def payload(folder: Path) -> None:
        for name, fit in fits.items():
            shutil.copytree(fit.model_folder, folder / name / "model")
            shutil.copy(fit.folder / "fit.json", folder / name)
        for name, chosen in best.chosen.items():
            (folder / f"best-of-{name}").mkdir()
            chosen.save(folder / f"best-of-{name}")
            pq.write_table(chosen.candidates, folder / f"best-of-{name}" / "candidates.parquet")
        asked = pa.nulls(plan.recipe.generate.texts, pa.string()) if prompts is None else prompts
        columns = {name: written.texts for name, written in generated.items()}
        pq.write_table(pa.table({"prompt": asked} | columns), folder / "generations.parquet")

    markers = plan.recipe.evaluate.markers
    compared = Compared(fits, best, None if method is None else method.name)
    section = compare_policies(compared, generated, prompts, markers, judge, plan.train)
    return section, payload


def _tune_both(
    plan: Plan, method: PolicyMethod, place: Place
) -> tuple[dict[str, policy.PolicyFit], PolicyMethod]:
    """Tune on either outcome; return the fits, and the method that starts where both did."""
    # Raises for texts that cannot be written, before the first policy is tuned.
    room_for_prompts(load_start(method), plan.recipe.generate.max_new_tokens)
    fits, method = _fit_start(plan, method, place)
    for name in POLICIES[1:]:
        logs = plan.train if name == "naive" else load_adjusted_rows(plan, place)
        prices, reward = plan.recipe.prices, None
        if method.takes_reward:
            model = load_reward(plan, place.run / "3-reward" / name)
            reward = model.price(prices) if prices else model
        fits[name] = policy.tune(
            method,
            logs.price(prices) if prices else logs,
            place.unfinished / name,
            reward=reward,
            progress=place.progress,
        )
    return fits, method


def _choose_texts(
    plan: Plan,
    best_of: policy.BestOf,
    method: PolicyMethod | None,
    prompts: list[str] | None,
    place: Place,
) -> ChosenTexts:
    """Choose by either reward among the same candidates, of the writer or the starting model."""
    writer = plan.writer
    if method is not None:
        writer = LanguageModelWriter(
            method.model,
            method.adapter,
            max_new_tokens=plan.recipe.generate.max_new_tokens,
            chat=method.chat,
        )
    assert writer is not None
    asked = [None] * plan.recipe.generate.texts if prompts is None else prompts
    folder = place.unfinished / "candidates"
    offers = ask_writer(writer, asked, best_of.n, best_of.seed, folder, progress=place.progress)
    chosen = {}
    for name in POLICIES[1:]:
        reward = load_reward(plan, place.run / "3-reward" / name)
        logs = plan.train if name == "naive" else load_adjusted_rows(plan, place)
        # Rewards that tell no standard error choose by their estimate; WR103 says so.
        chooser = best_of if reward.has_covariance else replace(best_of, caution=0.0)
        chosen[name] = chooser.choose(offers, reward, asked, logs=logs)
    return ChosenTexts(chosen)


def _fit_start(
    plan: Plan, method: PolicyMethod, place: Place
) -> tuple[dict[str, policy.PolicyFit], PolicyMethod]:
    """Fine-tune on the logged texts if asked; return that fit, and the method that goes on."""
    if plan.start is None:
        return {}, method
    work = place.unfinished / "start"
    fit = policy.tune(plan.start, plan.train, work, progress=place.progress)
    return {"start": fit}, method.continue_from(fit)


def _choose_judge(plan: Plan, place: Place) -> HeldOutJudge | None:
    """Return a reward that training never saw: of experiments, else of the held-out rows.

    None where the held-out rows are too few to deconfound, or to fit a reward to. What texts do to
    guardrails is always told by held-out rows: experiments tell who won.
    """
    experimental = place.run / "3-reward" / "experimental"
    of_tests = load_reward(plan, experimental) if experimental.is_dir() else None
    fit = None
    if of_tests is None or plan.test.roles.guardrails:
        with suppress(InputError, NotIdentified):
            adjusted, _ = deconfound.adjust_logs(plan.deconfounder, plan.test, plan.encoder)
            # The experiments taught the reward that was tuned on, so they do not judge.
            fit = fit_reward(replace(plan, tests=None), adjusted, place, "judge")
    known = () if fit is None else fit.model.guardrails.values()
    guardrails = dict(zip(plan.test.roles.guardrails, known, strict=False))
    if of_tests is not None:
        return HeldOutJudge("the reward of the experiments", of_tests.units, of_tests, guardrails)
    if fit is None:
        return None
    units = name_units(fit.units, plan.test.roles.outcome)
    name = "a deconfounded reward of the held-out rows"
    return HeldOutJudge(name, units, fit.model, guardrails)


def _draw_prompts(plan: Plan) -> list[str] | None:
    """Return held-out prompts, one for each text to write; None where logs have no prompts."""
    if plan.test.prompts is None:
        return None
    distinct = list(dict.fromkeys(plan.test.prompts))
    order = np.random.default_rng(plan.recipe.seed).permutation(len(distinct))
    return [distinct[row] for row in np.resize(order, plan.recipe.generate.texts)]


def _load_policy(fit: policy.PolicyFit | None, method: PolicyMethod) -> LanguageModel:
    """Load a tuned policy, or the model that tuning started from."""
    if fit is None:
        return load_start(method)
    return fit.language_model("float32" if method.lora is None else method.training.precision)


def _generate_or_read(
    plan: Plan,
    prompts: list[str] | None,
    load: Callable[[], LanguageModel],
    place: Place,
    name: str,
) -> Generated:
    """Let a policy write, or read what it wrote before the run was killed."""
    path, wanted = place.unfinished / f"{name}.json", plan.recipe.generate
    if not path.exists():
        assert plan.policy is not None
        samples = sample_on(
            plan.recipe.data.engine or "batches",
            load,
            [None] * wanted.texts if prompts is None else prompts,
            max_new_tokens=wanted.max_new_tokens,
            seed=plan.recipe.seed,
            batch_size=TEXTS_AT_A_TIME,
            chat=plan.policy.chat,
            progress=place.progress,
        )
        cut = int(samples.completions.cut.sum())
        write_json(path, {"texts": samples.texts, "cut": cut})
    record = read_json(path)
    return Generated(tuple(record["texts"]), record["cut"])
