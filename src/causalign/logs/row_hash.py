"""Draw rows by a hash of what they belong to: the same rows whoever asks, in whatever order."""

import hashlib
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from causalign.logs.table import Logs


@dataclass(frozen=True, slots=True)
class Between:
    """Keep the rows whose unit's hash lies in ``[lower, upper)``."""

    lower: float
    upper: float
    seed: int
    purpose: str

    def __call__(self, logs: Logs) -> Logs:
        """Return the logs of these rows."""
        hashed = hash_units(logs, self.seed, self.purpose)
        return logs.take((hashed >= self.lower) & (hashed < self.upper), "by hash")


def hash_units(logs: Logs, seed: int, purpose: str) -> NDArray[np.float64]:
    """Return a number in [0, 1) for each row ``(n,)``, one for all rows of a unit.

    A unit is a cluster, else a group, else a text. The number depends on the unit and the seed
    alone, not on other rows: so rows can be cut into folds, held out or sampled batch by batch.

    Parameters
    ----------
    logs : Logs
    seed : int
    purpose : str
        Numbers drawn for different purposes have nothing to do with each other: what is held out
        must not decide which fold the others are in.
    """
    return hash_column(logs.data[name_unit(logs)], seed, purpose)


def hash_folds(logs: Logs, folds: int, seed: int) -> NDArray[np.int64]:
    """Cut the rows into folds by a hash of their units.

    Parameters
    ----------
    logs : Logs
    folds, seed : int

    Returns
    -------
    (n,) integers
        The fold of each row, from 0.
    """
    return np.asarray(hash_units(logs, seed, "folds") * folds, dtype=np.int64)


def name_unit(logs: Logs) -> str:
    """Return the column whose values are the units: the cluster's, the group's or the text's."""
    roles = logs.roles
    return next(iter(roles.cluster_columns()), None) or roles.group or roles.completion


def hash_column(column: pa.ChunkedArray, seed: int, purpose: str) -> NDArray[np.float64]:
    """Return a number in [0, 1) for each value ``(n,)`` of a column, equal for equal values.

    Parameters
    ----------
    column : pyarrow.ChunkedArray
    seed, purpose
        As in `hash_units`.
    """
    written = column.cast(pa.large_string()).combine_chunks().dictionary_encode()
    keyed = hashlib.blake2b(digest_size=8, key=seed.to_bytes(8, "little"), person=purpose.encode())
    digests = []
    for value in written.dictionary.to_pylist():
        one = keyed.copy()
        # A lone surrogate is no valid UTF-8, but a text all the same.
        one.update(value.encode("utf-8", "surrogatepass"))
        digests.append(one.digest())
    bits = np.frombuffer(b"".join(digests), dtype="<u8") >> np.uint64(11)
    return np.asarray((bits * 2.0**-53)[written.indices.to_numpy(zero_copy_only=False)])
