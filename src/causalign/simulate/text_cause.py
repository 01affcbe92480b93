"""Sentiment of real texts as treatment, their topic as confounder: the TextCause design."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy.special import expit

from causalign.errors import InputError
from causalign.logs import Logs
from causalign.logs.roles import Roles
from causalign.settings import require_number
from causalign.simulate.labelled_texts import read_sentiment, split_texts
from causalign.simulate.marker_log import Floats, Integers, MarkerDesign, MarkerLog

_FEWEST = 10


@dataclass(frozen=True, slots=True)
class TextCause(MarkerDesign):
    """Simulate P(y = 1) = σ(b_C (π_C - o) + b_T T): does a text that speaks well sell?

    T is whether a text speaks well (1) or ill (0); texts between are left out. C is which of the
    two most frequent topics it is about; half of the rows are of either. Cells are thinned so that
    ``P(T = 1 | C) = π_C``, .9 for the first topic and .7 for the other, by drawing the text of each
    row from its cell. So favourable texts are those of a topic that sells anyhow. The outcome is
    simulated from both; nothing else in a text matters. The effect is exact: the mean over topics
    of σ(b_C (π_C - o) + b_T) - σ(b_C (π_C - o)).

    Parameters
    ----------
    shares : two floats
        π_C, how many texts of either topic speak well.
    effect, confounding, offset : float
        b_T, b_C and o.

    References
    ----------
    Pryzant, Card, Jurafsky, Veitch and Sridhar (2021), Causal Effects of Linguistic Properties,
    NAACL, arXiv:2010.12919; shares, coefficients and offset are those of the authors' code, whose
    texts were reviews of music, with stars as sentiment and the medium as confounder.
    """

    shares: tuple[float, float] = (0.9, 0.7)
    effect: float = 0.5
    confounding: float = 10.0
    offset: float = 0.75

    def __post_init__(self) -> None:
        MarkerDesign.__post_init__(self)
        for share in self.shares:
            require_number("shares", share, above=0, below=1)
        for name in ("effect", "confounding", "offset"):
            require_number(name, getattr(self, name))

    @property
    def probabilities(self) -> Floats:
        """P(y = 1) by topic and sentiment, ``(2, 2)``."""
        score = self.confounding * (np.array(self.shares) - self.offset)
        return np.asarray(expit(score[:, None] + self.effect * np.arange(2)))

    def simulate(self) -> MarkerLog:
        """Draw a log of real texts whose sentiment has a known effect.

        Raises `InputError` where a topic has too few texts of either sentiment.
        """
        generator = self.generator()
        sentiment = read_sentiment(self.texts)
        usable = np.flatnonzero((self.texts.topic < 2) & (sentiment != 0))
        topic, favourable = self.texts.topic[usable], (sentiment[usable] > 0).astype(np.int64)
        logged, unseen = (usable[own] for own in split_texts(generator, topic, favourable))
        cells = self._cells(logged, sentiment), self._cells(unseen, sentiment)
        C = generator.integers(2, size=self.rows)
        T = (generator.random(self.rows) < np.array(self.shares)[C]).astype(np.int64)
        texts = self._pick(generator, cells[0], C, T)
        outcome = (generator.random(self.rows) < self.probabilities[C, T]).astype(np.float64)
        names = np.array(self.texts.topics)
        table = pa.table({"text": texts, "topic": names[C], "sold": outcome})
        other, speaks_well = generator.integers(2, size=(2, self.unseen))
        unseen_texts = self._pick(generator, cells[1], other, speaks_well)
        effect = float(np.diff(self.probabilities, axis=1).mean())
        return MarkerLog(
            logs=Logs.of(table, Roles("text", "sold", confounders=("topic",))),
            marker=T.astype(np.float64),
            effect=effect,
            rest=texts,
            unseen=unseen_texts,
            unseen_rest=unseen_texts,
            unseen_marker=speaks_well.astype(np.float64),
            unseen_effect=effect * speaks_well,
        )

    def _cells(self, rows: Integers, sentiment: Integers) -> list[list[Integers]]:
        """Return the places of texts by topic and sentiment."""
        cells = []
        for k in range(2):
            own = rows[self.texts.topic[rows] == k]
            cells.append([own[sentiment[own] == sign] for sign in (-1, 1)])
            for cell, word in zip(cells[-1], ("unfavourable", "favourable"), strict=True):
                if len(cell) < _FEWEST:
                    raise InputError(
                        f"Topic {self.texts.topics[k]!r} of {self.texts.source} has too few "
                        f"{word} texts: {len(cell)} for the log, of {_FEWEST} at least. Give more "
                        "texts, or texts with sentiment."
                    )
        return cells

    def _pick(
        self,
        generator: np.random.Generator,
        cells: list[list[Integers]],
        C: Integers,
        T: Integers,
    ) -> tuple[str, ...]:
        place = generator.random(len(C))
        return tuple(
            self.texts.texts[cells[c][t][int(share * len(cells[c][t]))]]
            for c, t, share in zip(C, T, place, strict=True)
        )
