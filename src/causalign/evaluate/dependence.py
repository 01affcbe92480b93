"""Does a reward still follow the confounders? Correlations on rows that no fit has seen."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import ndtri

from causalign import figures
from causalign.errors import InputError
from causalign.evaluate.judges import Score
from causalign.evaluate.measure import Measure
from causalign.logs import Logs
from causalign.logs.covariates import Covariate
from causalign.logs.outcome_model import predict_outcome

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Dependence(Measure):
    """The correlation of each reward with each target on held-out rows, with 95 % intervals.

    Attributes
    ----------
    reward, target : tuples of r str
        What was correlated.
    correlation, lower, upper : (r,) floats
        Pearson's correlation and its interval.
    """

    question: ClassVar[str] = "Do rewards follow the confounders on rows that no fit has seen?"
    assumption: ClassVar[str] = "Rows, or clusters, are independent."

    reward: tuple[str, ...]
    target: tuple[str, ...]
    correlation: Floats
    lower: Floats
    upper: Floats

    def table(self) -> pa.Table:
        """Return one row for each reward and target."""
        return pa.table(
            {
                "reward": list(self.reward),
                "target": list(self.target),
                "correlation": self.correlation,
                "lower": self.lower,
                "upper": self.upper,
            }
        )

    def of(self, reward: str, target: str) -> float:
        """Return one correlation.

        Parameters
        ----------
        reward, target : str
            What was correlated with what.
        """
        places = zip(self.reward, self.target, strict=True)
        return float(self.correlation[list(places).index((reward, target))])

    def answer(self) -> str:
        """Return the strongest correlation in a sentence."""
        if not len(self.correlation):
            return "There was nothing to correlate the rewards with."
        top = int(np.abs(self.correlation).argmax())
        return (
            f"The strongest of {len(self.correlation)} correlations is "
            f"{self.correlation[top]:+.2f} ({self.lower[top]:+.2f} to {self.upper[top]:+.2f}), "
            f"of {self.reward[top]} with {self.target[top]}."
        )

    def drawing(self) -> figures.Drawing:
        """Return every correlation with its interval."""
        labels = [f"{r} · {t}" for r, t in zip(self.reward, self.target, strict=True)]
        return figures.forest(
            "dependence",
            labels,
            self.correlation,
            self.lower,
            self.upper,
            xlabel="correlation on held-out rows",
            caption="Correlation of each reward with each target, with 95 % intervals.",
            alt=self.answer(),
        )


def measure_dependence(
    models: Mapping[str, Score],
    logs: Logs,
    *,
    train: Logs | None = None,
    truth: str | None = None,
) -> Dependence:
    """Correlate rewards with what confounders did to the outcome, on held-out rows.

    Parameters
    ----------
    models : mapping of str to callable
        ``reward(completions, prompts) -> (n,)`` by name.
    logs : Logs
        Held-out rows.
    train : Logs, optional
        Rows that say what the outcome was at each value of a confounder; without them no
        confounder is a target.
    truth : str, optional
        A column with the true effect, of simulated logs; one more target.

    Returns
    -------
    Dependence

    Raises
    ------
    InputError
        When there is neither ``train`` nor ``truth``, or a reward returns no finite score.
    """
    targets = {} if train is None else {
        f"outcome by {name}": confounder_outcome(
            train.covariate(name), train.outcome, logs.covariate(name)
        )
        for name in train.roles.confounders
    }  # fmt: skip
    if truth is not None:
        targets["true effect"] = logs.numbers(truth)
    if not targets:
        raise InputError("There is nothing to correlate rewards with: give the training rows, "
                         "with their confounders, or a column with the true effect.")  # fmt: skip
    scores = {n: predict_outcome(m, logs.completions, logs.prompts) for n, m in models.items()}
    clusters = logs.clusters
    return correlate(scores, targets, len(logs) if clusters is None else len(np.unique(clusters)))


def correlate(
    scores: Mapping[str, Floats], targets: Mapping[str, Floats], independent: int
) -> Dependence:
    """Correlate every reward's scores with every target.

    r = cov(s, t) / √(var s · var t), its interval by Fisher's z. A constant reward has r = 0.

    Parameters
    ----------
    scores, targets : mappings of str to (n,) floats
        What is correlated.
    independent : int
        The number of independent draws: of groups, when rows of a group are not independent.

    Returns
    -------
    Dependence
    """
    cells = [(r, t, _correlation(s, v)) for r, s in scores.items() for t, v in targets.items()]
    correlation = np.array([c[2] for c in cells])
    half = ndtri(0.975) / np.sqrt(max(independent - 3, 1))
    z = np.arctanh(np.clip(correlation, -1 + 1e-12, 1 - 1e-12))
    return Dependence(
        tuple(c[0] for c in cells),
        tuple(c[1] for c in cells),
        correlation,
        np.tanh(z - half),
        np.tanh(z + half),
    )


def confounder_outcome(train: Covariate, outcome: Floats, held_out: Covariate) -> Floats:
    """Return, for held-out rows, what the outcome was in training at the same confounder.

    For a category it is the mean outcome of its training rows (the overall mean if it had none);
    a number stands for itself. The correlation of a reward with it is the published "monthly
    correlation", for any confounder.

    Parameters
    ----------
    train, held_out : Covariate
        The confounder in training rows and in the m held-out rows.
    outcome : (n,) floats
        The outcome of the training rows.

    Returns
    -------
    (m,) floats

    References
    ----------
    arXiv:2506.00152, section 3.2.
    """
    if not train.is_categorical:
        return held_out.values
    size = len(train.levels)
    total = np.bincount(train.values, weights=outcome, minlength=size)
    count = np.bincount(train.values, minlength=size)
    mean = np.where(count > 0, total / np.maximum(count, 1), outcome.mean())
    known = dict(zip(train.levels, mean, strict=True))
    levels = np.array([known.get(level, outcome.mean()) for level in held_out.levels])
    return np.asarray(levels[held_out.values])


def _correlation(first: Floats, second: Floats) -> float:
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])
