"""Simulated experiments and a log of the same texts' effects, right or confounded."""

import numpy as np
import pyarrow as pa

from causalign import Logs, Roles

DIMENSION = 40


def simulate(seed, tests, bias, arms=4, rows=3000):
    """Return log, experiments, their vectors, and the true coefficients of log-odds.

    The log's slope is that of the truth plus ``bias`` times a confounder's.
    """
    rng = np.random.default_rng(seed)
    b = 0.3 * rng.normal(size=DIMENSION) * np.geomspace(1, 0.2, DIMENSION) / np.sqrt(DIMENSION)
    confounder = 0.3 * rng.normal(size=DIMENSION) / np.sqrt(DIMENSION)
    L = rng.normal(size=(rows, DIMENSION))
    outcome = L @ (b + bias * confounder) + 0.45 * rng.normal(size=rows)
    test = np.repeat(np.arange(tests), arms)
    E = rng.normal(size=(len(test), DIMENSION))
    level = -3 + 0.3 * rng.normal(size=tests)[test] + 0.05 * rng.normal(size=len(test))
    trials = np.full(len(test), 3000)
    clicks = rng.binomial(trials, 1 / (1 + np.exp(-level - E @ b)))
    log = pa.table({"text": [f"logged {i}" for i in range(rows)], "odds": outcome})
    arms_table = pa.table(
        {
            "text": [f"tested {i}" for i in range(len(test))],
            "clicks": clicks,
            "shown": trials,
            "test": test,
        }
    )
    experiments = Logs.of(arms_table, Roles("text", "clicks", trials="shown", group="test"))
    logs = Logs.of(log, Roles("text", "odds"))
    return logs, L.astype(np.float32), experiments, E.astype(np.float32), b


def agreement_with_truth(coefficients, b):
    """Return the correlation of rewards of new texts with their true effects."""
    Q = np.random.default_rng(99).normal(size=(4000, DIMENSION))
    return float(np.corrcoef(Q @ coefficients, Q @ b)[0, 1])
