"""Draw logs again and again, ask every estimator, keep each answer as a line."""

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from causalign import policy, simulate
from causalign.artifacts import fingerprint, lock, open_run, versions
from causalign.benchmark.blind_log import BlindLog, Estimate, Estimator
from causalign.benchmark.estimators import ESTIMATORS
from causalign.benchmark.scoreboard import Answer, Scoreboard, describe_settings, read_answers
from causalign.errors import CausalignError, InputError, SettingsError, nearest
from causalign.lm.language_model import load_language_model
from causalign.lm.progress import show_progress
from causalign.settings import require_number
from causalign.simulate import DESIGNS, LabelledTexts, MarkerDesign, MarkerLog, template_texts
from causalign.stats.pair_metrics import pair_auc

ANSWERS = "answers.jsonl"
FEWEST_ROWS = 200  # fewer tell nothing
# The design that needs a model, and how many tokens a small one reads: enough to tell topics.
WRITTEN, LEARNT = "written-by-model", 500_000


def run(
    designs: Sequence[str] | None = None,
    estimators: Mapping[str, Estimator] = ESTIMATORS,
    *,
    draws: int = 20,
    rows: int = 2000,
    seed: int = 0,
    texts: LabelledTexts | None = None,
    model: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> Scoreboard:
    """Compare estimators on semi-synthetic logs whose truth is known.

    Parameters
    ----------
    designs : sequence of str, optional
        Names in `causalign.simulate.DESIGNS`; all of them unless given, without a model those that
        need none.
    estimators : mapping from str to callable
        What is compared: each takes a `BlindLog` and returns an `Estimate`, or None where it does
        not apply. ``{**ESTIMATORS, "mine": mine}`` puts one of your own beside the others.
    draws : int
        How many logs of each design.
    rows : int
        How many rows a log has.
    seed : int
        Draw k has the seed ``seed + k``.
    texts : LabelledTexts, optional
        What the logs are made of; built-in templates unless given.
    model : str or path, optional
        What writes the texts of the design "written-by-model": a folder, "smollm2", or "small",
        which is trained on these texts in a few minutes, once.
    out : path, optional
        A folder that gets the table and, while the work goes on, a line for each answer: what is
        there need not be asked again, so that a killed run continues. An estimator is known by its
        name: give one that you changed another name, or another folder.
    progress : bool
        Report progress on standard error.

    Returns
    -------
    Scoreboard

    Raises
    ------
    SettingsError
        For an unknown design, with the nearest names, or settings out of range.
    InputError
        When the texts are too few for a design, or an estimator returns something else.
    """
    require_number("draws", draws, least=1, whole=True)
    require_number("rows", rows, least=FEWEST_ROWS, whole=True)
    require_number("seed", seed, least=0, whole=True)
    chosen = _choose_designs(designs, model)
    if not estimators or not chosen:
        raise SettingsError("Name at least one design and one estimator.")
    texts = template_texts() if texts is None else texts
    settings = describe_settings(texts.source, draws, rows, seed)
    makers: dict[str, Callable[..., MarkerDesign]] = {name: DESIGNS[name] for name in chosen}
    if WRITTEN in chosen:
        settings["model"] = Path(str(model)).name
        writer = _find_writer(str(model), texts, progress)
        makers[WRITTEN] = partial(makers[WRITTEN], model=writer)
    drawn = [
        (name, make(texts=texts, rows=rows, seed=seed + k))
        for k in range(draws)
        for name, make in makers.items()
    ]
    answers: list[Answer] = []
    with ExitStack() as stack:
        earlier, keep = stack.enter_context(_open_answers(out))
        total = len(drawn) * len(estimators)
        advance = stack.enter_context(show_progress("answers", total, progress))
        for name, design in drawn:
            for answer in _ask(name, design, estimators, earlier, keep):
                answers.append(answer)
                advance(1)
        order = {unit: k for k, unit in enumerate((d, e) for d in chosen for e in estimators)}
        asked = [answer for answer in answers if answer.applies]
        asked.sort(key=lambda a: (order[a.design, a.estimator], a.seed))
        board = Scoreboard(tuple(asked), settings)
        if out is not None:
            board.write(out)
    return board


def _choose_designs(
    designs: Sequence[str] | None, model: str | os.PathLike[str] | None
) -> tuple[str, ...]:
    """Return the designs that are asked for; raise `SettingsError` where one cannot be drawn."""
    if designs is None:
        return tuple(name for name in DESIGNS if name != WRITTEN or model is not None)
    for name in designs:
        if name not in DESIGNS:
            raise SettingsError(f"There is no design named {name!r}; {nearest(name, DESIGNS)}")
    if WRITTEN in designs and model is None:
        raise SettingsError(
            f"The design {WRITTEN!r} needs a model that writes: a folder, 'smollm2', or 'small', "
            "which is trained on the texts in a few minutes."
        )
    return tuple(designs)


def _find_writer(model: str, texts: LabelledTexts, progress: bool) -> str:
    """Return the model, after a small one was trained on the texts, or read from the cache."""
    if model != "small":
        load_language_model(model)  # or raises, before any work
        return model
    lessons = simulate.write_lessons(texts)
    return str(policy.Pretraining(tokens=LEARNT).fit(lessons, progress=progress).model_folder)


@contextmanager
def _open_answers(
    out: str | os.PathLike[str] | None,
) -> Iterator[tuple[Mapping[tuple[str, str, int, str], Answer], Callable[[Answer], None]]]:
    """Yield the answers in a folder, and what keeps one more."""
    if out is None:
        yield {}, _forget
        return
    folder = open_run(out)
    path = Path(folder) / ANSWERS
    with lock(folder):
        earlier = read_answers(path)
        with path.open("a", encoding="utf-8") as file:
            if file.tell():
                file.write("\n")  # behind a line that was cut short

            def keep(answer: Answer) -> None:
                file.write(answer.line() + "\n")
                file.flush()

            yield earlier, keep


def _forget(_answer: Answer) -> None:
    """Take the place of a folder that nobody named."""


def _ask(
    name: str,
    design: MarkerDesign,
    estimators: Mapping[str, Estimator],
    earlier: Mapping[tuple[str, str, int, str], Answer],
    keep: Callable[[Answer], None],
) -> Iterator[Answer]:
    """Yield what each estimator says about one log, which is drawn if one was not asked before."""
    key = _identify(design)
    log: MarkerLog | None = None
    blind: BlindLog | None = None
    for estimator, function in estimators.items():
        unit = (name, estimator, design.seed, key)
        if unit in earlier:
            yield earlier[unit]
            continue
        if log is None or blind is None:
            log = design.simulate()
            blind = BlindLog.of(log)
        answer = _judge(unit, function, blind, log)
        keep(answer)
        yield answer


def _identify(design: MarkerDesign) -> str:
    return fingerprint(design.identify(), versions()["causalign"])[:16]


def _judge(
    unit: tuple[str, str, int, str], function: Estimator, blind: BlindLog, log: MarkerLog
) -> Answer:
    """Ask one estimator about one log, and set the truth beside what it says."""
    began = time.perf_counter()
    try:
        estimate = function(blind)
    except CausalignError as error:
        return Answer(*unit, truth=log.effect, refusal=" ".join(str(error).split())[:200])
    seconds = time.perf_counter() - began
    if estimate is None:
        return Answer(*unit, truth=log.effect, applies=False)
    if not isinstance(estimate, Estimate):
        raise InputError(
            f"The estimator {unit[1]!r} returned {type(estimate).__name__}; it must return "
            "causalign.benchmark.Estimate, or None where it does not apply."
        )
    return Answer(
        *unit,
        truth=log.effect,
        effect=_known(estimate.effect),
        lower=_known(estimate.lower),
        upper=_known(estimate.upper),
        auc=_order_pairs(unit[1], estimate, log),
        seconds=round(seconds, 4),
    )


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _order_pairs(estimator: str, estimate: Estimate, log: MarkerLog) -> float | None:
    """Return the AUC of pairs of unseen texts: each text is in one, and its effects differ."""
    if estimate.scores is None:
        return None
    scores = np.asarray(estimate.scores, dtype=np.float64)
    if scores.shape != (len(log.unseen),):
        raise InputError(
            f"The estimator {estimator!r} returned scores of shape {scores.shape}; there are "
            f"{len(log.unseen)} unseen texts."
        )
    pairs = np.arange(len(scores) // 2 * 2).reshape(-1, 2)
    better = log.unseen_effect[pairs[:, 0]] - log.unseen_effect[pairs[:, 1]]
    differ = np.abs(better) > 1e-9
    margin = scores[pairs[:, 0]] - scores[pairs[:, 1]]
    return pair_auc(margin[differ], (better[differ] > 0).astype(int)).estimate
