"""Heads score vectors of texts, in plain numpy: linear, a network, classes, one per objective.

A head that keeps to :class:`Head` needs one line in ``HEADS`` of ``reward/saved_model.py``, the
closed list of heads that a saved reward model may hold.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, ndtr, softmax

from causalign.errors import InputError, SettingsError, nearest
from causalign.lm.vector_block import VectorBlock
from causalign.results import Card, file_stem
from causalign.stats.support import Support

Array = NDArray[np.float64]
Settings = Mapping[str, Any]
Tensors = Mapping[str, NDArray[Any]]


class Head(Protocol):
    """Score vectors of texts; be made again from its kind, its settings and its arrays.

    The class method ``from_tensors(settings, tensors)`` returns an equal head. It must accept
    anything: settings come from a file that somebody may have altered.
    """

    @property
    def kind(self) -> str:
        """The name under which the head's class stands in ``HEADS``."""
        ...

    @property
    def dimension(self) -> int:
        """The length d of the vectors that the head reads."""
        ...

    @property
    def settings(self) -> Settings:
        """What is needed beside the arrays, as JSON types."""
        ...

    def tensors(self) -> Tensors:
        """Return the arrays that define the head, by name."""
        ...

    def __call__(self, features: ArrayLike) -> Array:
        """Return the rewards ``(n,)`` of features ``(n, d)``."""
        ...


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LinearHead(Card):
    """Score a vector ``x`` as ``intercept + x'coefficients``.

    Parameters
    ----------
    coefficients : (d,) array
        One for each component of a vector, in units of the outcome.
    intercept : float
        The reward of the vector 0.
    factor : (d + 1, k + 1) array, optional
        ``(L, δ)``: ``L L'`` the covariance of ``(intercept, coefficients)`` and δ what the penalty
        took from them, as `causalign.stats.penalised_covariance` tells them; kept as float32.
    support : Support, optional
        The vectors that the fit covers.

    Raises
    ------
    InputError
        If a number is not finite, or shapes do not fit.
    """

    coefficients: Array
    intercept: float = 0.0
    factor: NDArray[np.float32] | None = None
    support: Support | None = None

    kind: ClassVar[str] = "linear"

    def __post_init__(self) -> None:
        if self.coefficients.ndim != 1 or not np.isfinite(self.coefficients).all():
            raise InputError("A linear head needs (d,) finite coefficients.")
        if not np.isfinite(self.intercept):
            raise InputError("A linear head needs a finite intercept.")
        self._check_support()
        if self.factor is None:
            return
        factor = np.asarray(self.factor, dtype=np.float32)
        rows = len(self.coefficients) + 1
        if factor.ndim != 2 or len(factor) != rows or not np.isfinite(factor).all():
            raise InputError(
                f"The factor of the covariance must be ({rows}, k + 1) finite numbers, a row for "
                f"the intercept and one for each coefficient; its shape is {factor.shape}."
            )
        object.__setattr__(self, "factor", factor)

    def _check_support(self) -> None:
        region, d = self.support, self.dimension
        if region is None:
            return
        fits = region.centre.shape == (d,) and region.root.ndim == 2 and len(region.root) == d
        if not fits or not all(
            np.isfinite(part).all() for part in (region.centre, region.root, region.limit)
        ):
            raise InputError(f"The support of a linear head must be finite, in {d} numbers.")

    @property
    def dimension(self) -> int:
        """The length d of the vectors that the head reads."""
        return len(self.coefficients)

    @property
    def settings(self) -> Settings:
        """Nothing: the arrays say all."""
        return {}

    def tensors(self) -> Tensors:
        """Return the arrays that define the head, by name."""
        named = {"coefficients": self.coefficients, "intercept": np.array([self.intercept])}
        if self.factor is not None:
            named |= {"covariance_factor": self.factor}
        if self.support is not None:
            centre, root, limit = self.support.centre, self.support.root, self.support.limit
            named |= {"support": root, "support_centre": centre, "support_limit": np.array([limit])}
        return named

    @classmethod
    def from_tensors(cls, settings: Settings, tensors: Tensors) -> "LinearHead":
        """Build a head from what :meth:`tensors` and ``settings`` returned."""
        del settings  # there are none
        coefficients = np.asarray(tensors["coefficients"], dtype=np.float64)
        support = None
        # Heads that were saved before covariances and supports were have none.
        if "support" in tensors:
            centre = np.asarray(tensors["support_centre"], dtype=np.float64)
            root = np.asarray(tensors["support"], dtype=np.float32)
            support = Support(centre, root, float(tensors["support_limit"][0]))
        level, factor = float(tensors["intercept"][0]), tensors.get("covariance_factor")
        return cls(coefficients, level, factor, support)

    def __call__(self, features: ArrayLike) -> Array:
        """Return the scores ``(n,)`` of features ``(n, d)``, in the units of the outcome."""
        X = _check_features(features, self.dimension)
        return np.asarray(X @ self.coefficients + self.intercept)

    def score_block(self, block: VectorBlock) -> Array:
        """Return the rewards ``(n,)`` of vectors that may be sparse."""
        if isinstance(block.values, np.ndarray) or block.values.shape[1] != self.dimension:
            return self(block.dense())
        level = self.intercept - block.shift @ self.coefficients
        return np.asarray(block.values @ self.coefficients + level, dtype=np.float64)

    def covariance_factor(self, features: ArrayLike) -> Array:
        """Return ``F = (1, X) L`` ``(n, k)``: ``F_i'F_j`` is the covariance of two scores.

        Raises ``SettingsError`` where the fit told none.
        """
        return self.along(features)[:, :-1]

    def shrinkage(self, features: ArrayLike) -> Array:
        """Return ``(1, X) δ`` ``(n,)``, what the penalty took from the scores; raise as above."""
        return self.along(features)[:, -1]

    def along(self, features: ArrayLike) -> Array:
        """Return factor and shrinkage ``(1, X) (L, δ)`` by one product; raise as these do."""
        if self.factor is None:
            raise SettingsError("This head does not tell how uncertain its coefficients are.")
        X = _check_features(features, self.dimension)
        level, slopes = np.split(self.factor.astype(np.float64), [1])
        return np.asarray(level + X @ slopes)


def gelu(x: Array) -> Array:
    """Return ``x Φ(x)``, the Gaussian error linear unit, exactly. Reference: arXiv 1606.08415."""
    return np.asarray(x * ndtr(x))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class NetworkHead(Card):
    """Score a vector as ``r(x) = W_L'g(... g(W_1'x + b_1) ...) + b_L`` with g the GELU.

    Parameters
    ----------
    weights : tuple of (in, out) arrays
        Layer by layer; the last ``out`` is 1 for a reward, k for the logits of k classes.
    biases : tuple of (out,) arrays
        One for each layer.

    Raises
    ------
    InputError
        If layers do not follow each other, or hold numbers that are not finite.
    """

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]

    kind: ClassVar[str] = "network"

    def __post_init__(self) -> None:
        layers = list(zip(self.weights, self.biases, strict=False))
        fits = len(self.weights) == len(self.biases) > 0 and all(
            w.ndim == 2 and b.shape == w.shape[1:] and np.isfinite(w).all() and np.isfinite(b).all()
            for w, b in layers
        )
        chained = zip(self.weights, self.weights[1:], strict=False)
        if not fits or any(a.shape[1] != b.shape[0] for a, b in chained):
            raise InputError("The layers of a network head must be finite and follow each other.")

    @property
    def dimension(self) -> int:
        """The length d of the vectors that the head reads."""
        return len(self.weights[0])

    @property
    def settings(self) -> Settings:
        """How many layers there are."""
        return {"layers": len(self.weights)}

    def tensors(self) -> Tensors:
        """Return the arrays that define the head, by name."""
        named = {f"weight.{i}": w for i, w in enumerate(self.weights)}
        return named | {f"bias.{i}": b for i, b in enumerate(self.biases)}

    @classmethod
    def from_tensors(cls, settings: Settings, tensors: Tensors) -> "NetworkHead":
        """Build a head from what :meth:`tensors` and ``settings`` returned."""
        layers = range(int(settings["layers"]))
        return cls(
            tuple(np.asarray(tensors[f"weight.{i}"], dtype=np.float64) for i in layers),
            tuple(np.asarray(tensors[f"bias.{i}"], dtype=np.float64) for i in layers),
        )

    def outputs(self, features: ArrayLike) -> Array:
        """Return the last layer ``(n, out)`` for features ``(n, d)``."""
        hidden = _check_features(features, self.dimension)
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = hidden @ weight + bias  # (n, out of this layer)
            hidden = hidden if layer == last else gelu(hidden)
        return hidden

    def __call__(self, features: ArrayLike) -> Array:
        """Return the rewards ``(n,)`` of features ``(n, d)``."""
        scores = self.outputs(features)
        if scores.shape[1] != 1:
            raise InputError(f"A reward is one number; this network has {scores.shape[1]} outputs.")
        return scores[:, 0]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ClassHead(Card):
    """Turn a network into probabilities of k classes; score by their expected value.

    The reward is ``Σ_j P(j) value_j``.

    Parameters
    ----------
    network : NetworkHead
        With one output for each class, whose softmax the probabilities are; with thresholds one
        output s, and ``P(class > j) = σ(s - θ_j)``.
    values : (k,) array
        What a class is worth, ascending.
    thresholds : (k - 1,) array, optional
        θ, ascending, for levels.

    Raises
    ------
    InputError
        If the numbers of outputs, values and thresholds do not fit each other.
    """

    network: NetworkHead
    values: Array
    thresholds: Array | None = None

    kind: ClassVar[str] = "classes"

    def __post_init__(self) -> None:
        outputs = self.network.weights[-1].shape[1]
        expected = len(self.values) if self.thresholds is None else 1
        steps = None if self.thresholds is None else self.thresholds.shape
        if outputs != expected or steps not in (None, (len(self.values) - 1,)):
            raise InputError("The network, the values and the thresholds do not fit each other.")

    @property
    def dimension(self) -> int:
        """The length d of the vectors that the head reads."""
        return self.network.dimension

    @property
    def settings(self) -> Settings:
        """The settings of the network, and whether there are thresholds."""
        return {**self.network.settings, "ordinal": self.thresholds is not None}

    def tensors(self) -> Tensors:
        """Return the arrays that define the head, by name."""
        named = {**self.network.tensors(), "values": self.values}
        return named if self.thresholds is None else named | {"thresholds": self.thresholds}

    @classmethod
    def from_tensors(cls, settings: Settings, tensors: Tensors) -> "ClassHead":
        """Build a head from what :meth:`tensors` and ``settings`` returned."""
        thresholds = tensors["thresholds"] if settings["ordinal"] else None
        return cls(NetworkHead.from_tensors(settings, tensors), tensors["values"], thresholds)

    def probabilities(self, features: ArrayLike) -> Array:
        """Return the probability of each class, ``(n, k)``, for features ``(n, d)``."""
        outputs = self.network.outputs(features)
        if self.thresholds is None:
            return np.asarray(softmax(outputs, axis=1))
        above = expit(outputs - self.thresholds)  # (n, k - 1)
        edges = np.ones((len(outputs), 1))
        return -np.diff(np.hstack([edges, above, 0 * edges]), axis=1)

    def __call__(self, features: ArrayLike) -> Array:
        """Return the expected value of the class, ``(n,)``, in units of ``values``."""
        return self.probabilities(features) @ self.values


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ObjectiveHeads(Card):
    """Hold one head for each objective; continuous confounders stay at their mean.

    Parameters
    ----------
    heads : mapping from objective to NetworkHead
    """

    heads: Mapping[str, NetworkHead]

    def of(self, objective: str) -> NetworkHead:
        """Return the head of one objective; raise ``InputError`` for one that was never seen."""
        if objective not in self.heads:
            raise InputError(
                f"No reward was fitted for the objective {objective!r}; "
                f"{nearest(objective, self.heads)}"
            )
        return self.heads[objective]

    def __call__(self, features: ArrayLike, objectives: str | Sequence[str]) -> Array:
        """Return rewards ``(n,)`` of features ``(n, d)``, each under its objective."""
        if isinstance(objectives, str):
            return self.of(objectives)(features)
        X, names = np.asarray(features), np.asarray(objectives)
        if len(X) != len(names):
            raise InputError(f"There are {len(names)} objectives for {len(X)} texts.")
        scores = np.empty(len(X))
        for name in np.unique(names):
            scores[names == name] = self.of(str(name))(X[names == name])
        return scores

    def by_folder(self) -> dict[str, NetworkHead]:
        """Return the heads by the folder below the one of the model; a single head has none."""
        if len(self.heads) == 1:
            return {"": next(iter(self.heads.values()))}
        stems = [file_stem(name) for name in self.heads]
        plain = len(set(stems)) == len(stems) and all(stems)
        return {
            f"/{stem if plain else f'{number}-{stem}'}": head
            for number, (stem, head) in enumerate(zip(stems, self.heads.values(), strict=True))
        }


def _check_features(features: ArrayLike, dimension: int) -> Array:
    """Return features ``(n, d)`` as floats; raise ``InputError`` for another shape."""
    X = np.asarray(features, dtype=np.float64)
    if X.ndim != 2 or X.shape[1] != dimension:
        raise InputError(
            f"This head was fitted on vectors of length {dimension}; the features have shape "
            f"{X.shape}. Use the encoder it was fitted with."
        )
    return X
