"""What an estimator is given and returns: a log without its truth, an effect with its interval."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from causalign.errors import InputError
from causalign.lm.word_counts import fit_tfidf
from causalign.logs import Logs
from causalign.results import Card
from causalign.simulate import MarkerLog

Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]

# Words and pairs of words that tell texts apart.
COLUMNS = 300


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class BlindLog(Card):
    """Hold what an estimator may know of one log; the truth is not in it.

    Parameters
    ----------
    logs : Logs
        The log: texts, outcome, confounders, perhaps weights and propensities.
    marker : (n,) array of 0 and 1
        Which texts carry the marker whose effect is asked for.
    rest : tuple of n str
        The texts with the marker cut out, where it can be.
    vectors : (n, d) array
        The texts as numbers: whether they carry the marker, then words and pairs of words, weighed
        by rarity.
    unseen, unseen_rest : tuples of m str
        Texts to be ranked by what they would do to the outcome; these without the marker.
    unseen_marker : (m,) array of 0 and 1
    unseen_vectors : (m, d) array
    edit : (d,) array or None
        How writing the marker into a text changes its vector, on average; None where it cannot be
        written into a text.
    experiments : Logs or None
        Tests beside the log, with the role ``group``.
    experiment_marker : (k,) array of 0 and 1
    experiment_vectors : (k, d) array
    marker_chance : (n,) array or None
        With which probability each row was given the marker, where the firm logged it.
    """

    logs: Logs
    marker: Floats
    rest: tuple[str, ...]
    vectors: Vectors
    unseen: tuple[str, ...]
    unseen_rest: tuple[str, ...]
    unseen_marker: Floats
    unseen_vectors: Vectors
    edit: Floats | None
    experiments: Logs | None
    experiment_marker: Floats
    experiment_vectors: Vectors
    marker_chance: Floats | None

    @classmethod
    def of(cls, log: MarkerLog) -> Self:
        """Return what may be known of a simulated log."""
        encoder = fit_tfidf(log.logs.texts, COLUMNS)

        def encode(texts: Sequence[str], marker: Floats) -> Vectors:
            return np.column_stack([marker, encoder.encode(texts)]).astype(np.float32)

        vectors = encode(log.logs.texts, log.marker)
        edit, tests = None, np.zeros((0, vectors.shape[1]), np.float32)
        if log.edited[0]:
            ends = (encode(texts, np.full(len(texts), k)) for k, texts in enumerate(log.edited))
            without, with_marker = (vectors.mean(axis=0, dtype=np.float64) for vectors in ends)
            edit = with_marker - without
        if log.experiments is not None:
            tests = encode(log.experiments.texts, log.experiment_marker)
        return cls(
            logs=log.logs,
            marker=log.marker,
            rest=log.rest,
            vectors=vectors,
            unseen=log.unseen,
            unseen_rest=log.unseen_rest,
            unseen_marker=log.unseen_marker,
            unseen_vectors=encode(log.unseen, log.unseen_marker),
            edit=edit,
            experiments=log.experiments,
            experiment_marker=log.experiment_marker,
            experiment_vectors=tests,
            marker_chance=log.marker_chance,
        )


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Estimate(Card):
    """Hold what an estimator found in one log.

    Parameters
    ----------
    effect : float, optional
        The average effect of the marker; NaN where only texts are ranked.
    lower, upper : float, optional
        The ends of its 95 % interval; NaN without one.
    scores : (m,) array, optional
        Rewards of the unseen texts; only their order counts.

    Raises
    ------
    InputError
        When scores are not finite numbers.
    """

    effect: float = float("nan")
    lower: float = float("nan")
    upper: float = float("nan")
    scores: ArrayLike | None = None

    def __post_init__(self) -> None:
        if self.scores is not None and not np.isfinite(np.asarray(self.scores, float)).all():
            raise InputError("Scores of unseen texts must be finite numbers.")

    @classmethod
    def with_error(
        cls,
        effect: float,
        standard_error: float,
        scores: ArrayLike | None = None,
        *,
        degrees_of_freedom: float = np.inf,
    ) -> Self:
        """Return an estimate whose interval is effect ± t standard errors.

        Parameters
        ----------
        effect, standard_error : float
        scores : (m,) array, optional
            Rewards of the unseen texts.
        degrees_of_freedom : float
            Of t; the normal distribution unless given.
        """
        reach = float(stdtrit(min(degrees_of_freedom, 1e12), 0.975)) * standard_error
        return cls(float(effect), float(effect - reach), float(effect + reach), scores)


# None where the estimator does not apply: no instruments, no experiments, ...
Estimator = Callable[[BlindLog], Estimate | None]
