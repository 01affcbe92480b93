"""A log beside experiments: vectors of both, folds of stories, and what a fold leaves out."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from causalign.errors import InputError
from causalign.lm.embedded_logs import embed_texts
from causalign.lm.encoder import Encoder
from causalign.lm.encoders import load_encoder
from causalign.logs import Logs
from causalign.logs.arms import Arms, SharedRows, match_log, read_arms, require_same_scale
from causalign.logs.stories import rows_together
from causalign.stats.folds import group_folds
from causalign.stats.pooling import WeighedLog, weigh_log
from causalign.stats.ridge_path import row_space
from causalign.stats.within_groups import Deviations, deviate_arms

Floats = NDArray[np.float64]
Rows = NDArray[np.bool_]
Vectors = NDArray[np.float32]

# Below, folds of stories hold too few to judge anything.
FEWEST_STORIES = 10
# A log of fewer rows cannot be cut into folds that say how large its noise is.
FEWEST_ROWS = 25
FOLDS = 5


@dataclass(frozen=True, slots=True, eq=False)
class LogAndTests:
    """Hold a log of n rows beside m arms of tests, cut into folds of stories.

    Attributes
    ----------
    arms : Arms
    features : (m, d) array
        Vectors of the arms.
    fold : (m,) integers
        Tests that share a text, one by way of another, share a fold.
    log_features : (n, d) array
    units : (n,) integers
        Rows of the log that folds of its own keep together.
    weights : (n,) array or None
    shared : SharedRows
    seed : int
        Of all folds.
    """

    arms: Arms
    features: Floats
    fold: NDArray[np.int64]
    log_features: Floats
    units: NDArray[np.int64]
    weights: Floats | None
    shared: SharedRows
    seed: int

    @property
    def folds(self) -> NDArray[np.int64]:
        """The numbers of the folds."""
        return np.unique(self.fold)

    def deviate(self, chosen: Rows) -> Deviations:
        """Return deviations of some arms, whole tests, in units of their noise."""
        arms = self.arms
        return deviate_arms(
            self.features[chosen],
            arms.outcome[chosen],
            arms.variance[chosen],
            arms.test[chosen],
            known=arms.known,
        )[0]

    def weigh(
        self, outcome: Floats, rows: Rows, leave_out: NDArray[np.int64] | None = None
    ) -> WeighedLog:
        """Return some rows of the log in units of their noise, with the penalty that suits them.

        Parameters
        ----------
        outcome : (n,) array
        rows : (n,) booleans
        leave_out : (n,) integers, optional
            The fold that leaves each row out, -1 for none.
        """
        return weigh_log(
            self.log_features[rows],
            outcome[rows],
            self.units[rows],
            weights=None if self.weights is None else self.weights[rows],
            leave_out=None if leave_out is None else leave_out[rows],
            folds=FOLDS,
            seed=self.seed,
        )


def read_log_and_tests(
    log: Logs,
    experiments: Logs,
    encoder: str | Encoder | None,
    *,
    seed: int = 0,
    progress: bool = False,
) -> LogAndTests:
    """Turn the texts of both into vectors, by an encoder that learns from the log, and cut folds.

    Raises as `align` does.
    """
    require_same_scale(log, experiments)
    if encoder is None or isinstance(encoder, str):
        encoder = load_encoder(encoder, training_texts=log.texts)
    both = embed_texts([*log.texts, *experiments.texts], encoder, progress=progress).vectors
    return align(log, both[: len(log)], experiments, both[len(log) :], seed=seed)


def align(
    log: Logs, vectors: Vectors, experiments: Logs, experiment_vectors: Vectors, *, seed: int = 0
) -> LogAndTests:
    """Cut the stories of the experiments into folds, and match the rows of the log to them.

    Raises
    ------
    RoleNotDeclared
        If the experiments declare no group.
    InputError
        If no test has two different texts, or there are too few tests or rows.
    """
    arms = read_arms(experiments, "Experiments")
    stories = int(arms.story.max()) + 1
    if stories < FEWEST_STORIES:
        raise InputError(
            f"The experiments hold {stories} stories (tests that share no text); folds of them "
            f"need {FEWEST_STORIES}. Give more tests."
        )
    if len(log) < FEWEST_ROWS:
        raise InputError(f"The log has {len(log)} rows; its noise needs {FEWEST_ROWS} to be known.")
    of_arms, of_log = (
        np.asarray(part, dtype=np.float64) for part in (experiment_vectors[arms.rows], vectors)
    )
    # Where there are more columns than rows, what counts is the rows' span.
    basis = row_space(np.vstack([of_arms, of_log]))
    if basis is not None:
        of_arms, of_log = of_arms @ basis, of_log @ basis
    return LogAndTests(
        arms,
        of_arms,
        group_folds(arms.story, FOLDS, seed),
        of_log,
        rows_together(log),
        log.weights,
        match_log(log, experiments, arms),
        seed,
    )
