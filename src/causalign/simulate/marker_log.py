"""A log in which one marker of the texts has a known effect, and the mail-outs that make such."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Self
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from causalign.logs import Logs
from causalign.results import Card
from causalign.settings import require_number
from causalign.simulate.labelled_texts import LabelledTexts, split_texts, template_texts

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
# How much more is read on a day, and how often the marker opens a text there: on busy days.
DAY_EFFECTS = np.array([1.2, 0.6, 0.3, 0.0, -0.3, -0.8, -1.0])
MARKER_SHARES = np.array([0.65, 0.5, 0.35, 0.25, 0.2, 0.15, 0.1])
MARKER = "Don't miss this: "
# Topics beyond these are left out: the least frequent are few texts each.
MOST_TOPICS = 6
APPEAL = 0.6
MEAN = 5.0


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class MarkerLog(Card):
    """Hold simulated logs with the true effect of a marker, and of texts that nobody sent.

    Parameters
    ----------
    logs : Logs
        The simulated logs.
    marker : (n,) array of 0 and 1
        Which texts carry the marker.
    effect : float
        How much the marker adds to the outcome on average, in units of the outcome.
    rest : tuple of n str
        The texts with the marker cut out, where it can be; else as they are.
    unseen, unseen_rest : tuples of m str
        Texts that are not in the log, and these with the marker cut out.
    unseen_marker : (m,) array of 0 and 1
        Which of them carry the marker.
    unseen_effect : (m,) array
        What each of them would do to the outcome, up to a constant.
    edited : tuple of two tuples of str
        The same texts without and with the marker; empty where it cannot be written into a text.
    experiments : Logs, optional
        Tests that a firm ran beside the log, with the role ``group``.
    experiment_marker : (k,) array of 0 and 1
        Which texts of the experiments carry the marker.
    marker_chance : (n,) array, optional
        With which probability each row was given the marker, where the firm logged it.
    """

    logs: Logs
    marker: Floats
    effect: float
    rest: tuple[str, ...]
    unseen: tuple[str, ...]
    unseen_rest: tuple[str, ...]
    unseen_marker: Floats
    unseen_effect: Floats
    edited: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    experiments: Logs | None = None
    experiment_marker: Floats = field(default_factory=lambda: np.zeros(0))
    marker_chance: Floats | None = None


@dataclass(frozen=True, slots=True)
class MarkerDesign(ABC):
    """Settings that all designs of a benchmark share.

    Parameters
    ----------
    texts : LabelledTexts
        What the logs are made of; built-in templates unless given.
    rows, unseen : int
        How many rows the log has, and how many texts are held out.
    seed : int
        Of all draws.
    """

    texts: LabelledTexts = field(default_factory=template_texts)
    rows: int = 2000
    unseen: int = 400
    seed: int = 0

    def __post_init__(self) -> None:
        require_number("rows", self.rows, least=100, whole=True)
        require_number("unseen", self.unseen, least=20, whole=True)
        require_number("seed", self.seed, least=0, whole=True)

    def generator(self) -> np.random.Generator:
        """Return what draws: another one for each design, so that their errors are independent."""
        return np.random.default_rng([self.seed, crc32(type(self).__name__.encode())])

    def identify(self) -> dict[str, object]:
        """Return the settings, the texts by their hash: what tells whether draws are the same."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {**values, "texts": self.texts.revision}

    @abstractmethod
    def simulate(self) -> MarkerLog:
        """Draw a log, its truth and texts that are not in it."""


@dataclass(frozen=True, slots=True, eq=False)
class Mails:
    """Hold n mails: their day, their text without the marker, its topic, whether it is marked."""

    day: Integers
    headline: tuple[str, ...]
    appeal: Floats
    marker: Floats

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts as they are sent."""
        return write_marker(self.headline, self.marker)

    @property
    def shift(self) -> Floats:
        """What the day adds to the outcome, ``(n,)``."""
        return DAY_EFFECTS[self.day]

    @classmethod
    def draw(
        cls,
        generator: np.random.Generator,
        pool: "Headlines",
        odds: Floats | float = 1.0,
        *,
        rows: int,
    ) -> Self:
        """Draw mails as an editor sends them: pleasant topics on days on which few read.

        The odds of the marker are those of the day times ``odds``.
        """
        day = generator.integers(len(DAYS), size=rows)
        # The largest of scores with Gumbel noise is a draw from the softmax.
        score = -1.5 * DAY_EFFECTS[day][:, None] * pool.appeals
        topic = np.argmax(score + generator.gumbel(size=score.shape), axis=1)
        share = MARKER_SHARES[day]
        chance = odds * share / (1 - share + odds * share)
        marker = (generator.random(rows) < chance).astype(np.float64)
        return cls(day, pool.pick(generator, topic), pool.appeals[topic], marker)


def write_marker(headlines: Sequence[str], marker: Floats) -> tuple[str, ...]:
    """Return the headlines, those with a 1 opened by the marker."""
    return tuple(
        MARKER + text if marked else text for text, marked in zip(headlines, marker, strict=True)
    )


@dataclass(frozen=True, slots=True, eq=False)
class Headlines:
    """Hold the texts of each topic, and how much more one of a topic is read."""

    by_topic: tuple[tuple[str, ...], ...]
    appeals: Floats

    @classmethod
    def split(
        cls, generator: np.random.Generator, texts: LabelledTexts
    ) -> tuple["Headlines", "Headlines"]:
        """Return headlines for a log and others for held-out pairs, of the same topics."""
        topics = min(len(texts.topics), MOST_TOPICS)
        appeals = generator.permutation(np.linspace(-APPEAL, APPEAL, topics))
        halves = []
        for places in split_texts(generator, texts.topic):
            rows = [places[texts.topic[places] == k] for k in range(topics)]
            halves.append(cls(tuple(tuple(texts.texts[i] for i in own) for own in rows), appeals))
        return halves[0], halves[1]

    def pick(self, generator: np.random.Generator, topic: Integers) -> tuple[str, ...]:
        """Return a headline about each topic, drawn with replacement."""
        place = generator.random(len(topic))
        return tuple(
            self.by_topic[k][int(share * len(self.by_topic[k]))]
            for k, share in zip(topic, place, strict=True)
        )


def conclude(
    generator: np.random.Generator,
    logs: Logs,
    mails: Mails,
    others: Headlines,
    effect: float,
    unseen: int,
    tests: tuple[Logs | None, Floats] = (None, np.zeros(0)),
) -> MarkerLog:
    """Return the log with its truth, and texts of other headlines that were drawn at random."""
    topic = generator.integers(len(others.appeals), size=unseen)
    headlines = others.pick(generator, topic)
    marker = generator.integers(2, size=unseen).astype(np.float64)
    return MarkerLog(
        logs=logs,
        marker=mails.marker,
        effect=effect,
        rest=mails.headline,
        unseen=write_marker(headlines, marker),
        unseen_rest=headlines,
        unseen_marker=marker,
        unseen_effect=effect * marker + others.appeals[topic],
        edited=(headlines, write_marker(headlines, np.ones(unseen))),
        experiments=tests[0],
        experiment_marker=tests[1],
    )
