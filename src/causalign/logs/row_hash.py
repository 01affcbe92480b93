"""Draw rows by a hash of what they belong to: the same rows whoever asks, in whatever order."""

import zlib

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from causalign.logs.table import Logs

# The finaliser of splitmix64 (Steele, Lea and Flood 2014): equal inputs stay equal, near ones part.
_STEPS = (
    (np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)),
    (np.uint64(27), np.uint64(0x94D049BB133111EB)),
)
_SEED = 0x9E3779B97F4A7C15


def hash_units(logs: Logs, seed: int) -> NDArray[np.float64]:
    """Return a number in [0, 1) for each row ``(n,)``, one for all rows of a unit.

    A unit is a cluster, else a group, else a text. The number depends on the unit and the seed
    alone, not on other rows: so rows can be cut into folds, held out or sampled batch by batch.

    Parameters
    ----------
    logs : Logs
    seed : int
    """
    return hash_column(logs.data[name_unit(logs)], seed)


def name_unit(logs: Logs) -> str:
    """Return the column whose values are the units: the cluster's, the group's or the text's."""
    roles = logs.roles
    return next(iter(roles.cluster_columns()), None) or roles.group or roles.completion


def hash_column(column: pa.ChunkedArray, seed: int) -> NDArray[np.float64]:
    """Return a number in [0, 1) for each value ``(n,)`` of a column, equal for equal values.

    Parameters
    ----------
    column : pyarrow.ChunkedArray
    seed : int
    """
    written = column.cast(pa.large_string()).combine_chunks().dictionary_encode()
    values = written.dictionary.to_pylist()
    # A lone surrogate is no valid UTF-8, but a text all the same.
    crc = (zlib.crc32(value.encode("utf-8", "surrogatepass")) for value in values)
    offset = np.uint64((seed + 1) * _SEED % 2**64)
    mixed = np.fromiter(crc, np.uint64, len(values)) + offset
    for shift, factor in _STEPS:
        mixed = (mixed ^ (mixed >> shift)) * factor
    mixed ^= mixed >> np.uint64(31)
    numbers = (mixed >> np.uint64(11)) * 2.0**-53
    return np.asarray(numbers[written.indices.to_numpy(zero_copy_only=False)])
