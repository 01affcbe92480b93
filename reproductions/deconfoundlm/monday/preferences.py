"""Which answer of a pair each arm prefers: by votes, or by a reward of how answers open."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from posts import MARKER, Parts
from running import Settings
from sklearn.decomposition import PCA

from causalign.audit import audit_logs
from causalign.deconfound import METHODS, OrdinaryLeastSquares
from causalign.lm.cache import EmbeddingCache
from causalign.lm.embeddings import embed
from causalign.lm.encoders import load_encoder
from causalign.logs import Logs
from causalign.logs.arms import read_arms
from causalign.logs.pairs import Pairs, orient, pairs_of_rows, pairs_within
from causalign.reward import WithinTests
from causalign.reward.estimates import LinearHeadFit

ARMS = ("naive DPO", "DPO, weekday taken out", "DPO, as the audit advises")
_LEADING = 20  # least squares needs fewer columns than rows


@dataclass(frozen=True)
class Opening:
    """Hold what rewards read: ``(n, d)`` vectors of the words with which answers open.

    Deconfounders and the audit read fewer columns, of openings without the marker (``unmarked``):
    where a text says which weekday it is, nothing tells the effect of the one from the other.
    """

    encoder: str
    teaching: np.ndarray
    test: np.ndarray
    unmarked: np.ndarray
    correlation: Mapping[str, float]
    advised: str


def open_with(text: str, words: int) -> str:
    """Return the first words of an answer, its marker not counted among them."""
    body = text.removeprefix(MARKER)
    start = re.match(rf"\s*(?:\S+\s*){{1,{words}}}", body)
    return text[: len(text) - len(body)] + (start.group().rstrip() if start else body)


def read_openings(parts: Parts, settings: Settings) -> Opening:
    """Encode openings with the encoder whose reward best follows unseen questions that teach."""
    words, teaching = settings["opening_words"], parts.teaching
    texts = [open_with(text, words) for text in teaching.completions]
    plain, judged = (
        [open_with(text.removeprefix(MARKER), words) for text in logs.completions]
        for logs in (teaching, parts.test)
    )
    found, correlation = {}, {}
    for name in settings["encoders"]:
        encoder = load_encoder(name, training_texts=texts)
        each = [
            embed(given, encoder, EmbeddingCache()).vectors.astype(float)
            for given in (texts, judged, plain)
        ]
        leading = PCA(min(settings["components"], *each[0].shape), random_state=0).fit(each[0])
        found[name] = [leading.transform(vectors) for vectors in each]
        free = OrdinaryLeastSquares().fit(with_questions(teaching)).adjust(teaching)
        fit = _fit_within(free, found[name][0])
        correlation[name] = round(fit.numbers["cv_correlation"], 4)
        print(f"{name}: correlation in unseen questions {correlation[name]:.3f}", flush=True)
    best = max(correlation, key=lambda name: correlation[name])
    marked, unseen, unmarked = found[best]
    unmarked = PCA(min(_LEADING, *unmarked.shape), random_state=0).fit_transform(unmarked)
    advised = audit_logs(with_questions(teaching), text_features=unmarked).advice[0].method
    print(f"rewards read {best}; the audit advises {advised}", flush=True)
    return Opening(best, marked, unseen, unmarked, correlation, advised)


def with_questions(logs: Logs) -> Logs:
    """Return the logs with the question among the confounders: Mondays' questions are others."""
    return Logs.of(logs.data, replace(logs.roles, confounders=("weekday", "question")))


def deconfound(logs: Logs, features: np.ndarray, advised: str) -> dict[str, Logs]:
    """Return the logs by whose outcomes each arm prefers."""
    methods = (OrdinaryLeastSquares(), METHODS[advised]())
    free = [method.fit(logs, text_features=features).adjust(logs) for method in methods]
    return dict(zip(ARMS, (logs, *free), strict=True))


def fit_rewards(logs: Logs, opening: Opening, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return the coefficients of each arm's reward, fitted within the questions of these rows."""
    some = with_questions(logs.take(rows, "questions that give preferences"))
    arms = deconfound(some, opening.unmarked[rows], opening.advised)
    return {
        arm: _fit_within(free, opening.teaching[rows]).head.coefficients
        for arm, free in arms.items()
    }


def pairs_by_reward(logs: Logs, score: np.ndarray, kept: float) -> Pairs:
    """Return pairs within a question, the higher score chosen, without near-ties.

    The share ``kept`` of all pairs has the largest margins.
    """
    rows, margin = orient(pairs_within(logs.groups), score, 0.0)
    clear = margin >= np.quantile(margin, 1 - kept)
    return pairs_of_rows(
        rows[clear],
        margin[clear],
        logs.completions,
        None,
        logs.groups,
        prompt=logs.prompts,
        objective=None,
    )


def pairs_by_votes(logs: Logs) -> Pairs:
    """Return all pairs within a question, each with its margin as its weight.

    So an outcome that is free of the weekday gives pairs that are free of it: the weights for and
    against a Monday's answer add up to the same. Directions alone would not, because a difference
    of one vote hides a weekday that is worth less.
    """
    pairs = logs.pairs()
    return replace(pairs, weight=pairs.margin / pairs.margin.mean())


def _fit_within(logs: Logs, vectors: np.ndarray) -> LinearHeadFit:
    """Fit a ridge reward within questions.

    Confounders are no part of a package that a test varied, and so are not handed on.
    """
    plain = Logs.of(logs.data, replace(logs.roles, confounders=()))
    return WithinTests().fit_arms(read_arms(plain, "the reward"), vectors)
