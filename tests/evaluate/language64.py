"""A language of 64 sentences, three words out of four, in which every value is a finite sum."""

from dataclasses import dataclass
from itertools import product

import numpy as np

from causalign.evaluate import CrossFittedOutcome, OffPolicyLog, TargetSamples

WORDS = np.array(list(product(range(4), repeat=3)))  # (64, 3)
BY_PLACE = np.column_stack([np.eye(4)[WORDS[:, place]] for place in range(3)])  # (64, 12)


def counted(logits: np.ndarray, total: int) -> np.ndarray:
    """Return whole numbers (64,), each at least 1, that sum to ``total`` and follow the logits."""
    shares = np.exp(logits - logits.max())
    counts = 1 + np.floor(shares / shares.sum() * (total - 64)).astype(int)
    counts[int(counts.argmax())] += total - counts.sum()
    return counts


@dataclass(frozen=True)
class Language:
    """Hold both policies and the mean outcome of each sentence, all (64,)."""

    target: np.ndarray
    logging: np.ndarray
    mean: np.ndarray

    @property
    def value(self) -> float:
        """Return V = sum_t pi(t) E[Y | t]."""
        return float(self.target @ self.mean)

    def log(self, rows, outcome, sampled, *, predicted=None, clusters=None) -> OffPolicyLog:
        """Return the log of sentences ``rows (n,)``, with sentences ``sampled (m,)`` of pi."""
        above, below = np.log(self.target), np.log(self.logging)
        guess = None if predicted is None else predicted[rows]
        samples = TargetSamples(
            predicted=None if predicted is None else predicted[sampled],
            target_logprob=above[sampled],
            logging_logprob=below[sampled],
            features=BY_PLACE[sampled],
        )
        return OffPolicyLog(
            outcome=outcome,
            target_logprob=above[rows],
            logging_logprob=below[rows],
            predicted=guess,
            features=BY_PLACE[rows],
            clusters=clusters,
            samples=samples,
        )

    def population(self, total: int, predicted: np.ndarray) -> OffPolicyLog:
        """Return the log in which each sentence occurs exactly as often as expected."""
        rows = np.repeat(np.arange(64), np.rint(self.logging * total).astype(int))
        sampled = np.repeat(np.arange(64), np.rint(self.target * total).astype(int))
        return self.log(rows, self.mean[rows], sampled, predicted=predicted)

    def drawn(self, seed: int, n: int = 600, m: int = 600, users: int | None = None, fit=True):
        """Return a random log of binary outcomes; users, if any, share a leaning and a sentence."""
        generator = np.random.default_rng(seed)
        rows = generator.choice(64, n, p=self.logging)
        mean, clusters = self.mean[rows], None
        if users is not None:
            clusters = np.arange(n) % users
            own = generator.choice(64, users, p=self.logging)
            rows = np.where(generator.random(n) < 0.5, own[clusters], rows)
            mean = self.mean[rows] + 0.1 * generator.choice([-1, 1], users)[clusters]
        outcome = (generator.random(n) < mean).astype(float)
        sampled = generator.choice(64, m, p=self.target)
        log = self.log(rows, outcome, sampled, clusters=clusters)
        return CrossFittedOutcome(folds=3).predict(log) if fit else log


def language(seed: int = 0, tilt: float = 1.0, total: int = 20_000) -> Language:
    """Return a logging policy and a target that leans by ``tilt`` towards better sentences."""
    generator = np.random.default_rng(seed)
    better = BY_PLACE @ generator.normal(size=12)
    better = (better - better.mean()) / better.std()
    mean = 0.5 + 0.4 * better / np.abs(better).max()
    common = 0.5 * generator.normal(size=64)
    apart = tilt * (better + 0.3 * generator.normal(size=64))
    logging, target = (counted(common + part, total) / total for part in (0.0, apart))
    return Language(target, logging, mean)
