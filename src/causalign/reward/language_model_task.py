"""What the trainer minimises for a reward: the loss of texts' scores, judged by rows apart."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from causalign.lm.adapted_encoder import AdaptedEncoder
from causalign.lm.score_head import ScoreHead, text_scores, texts_laid_out
from causalign.reward.examples import Examples
from causalign.reward.head import LinearHead
from causalign.reward.losses.bradley_terry import bradley_terry
from causalign.reward.losses.squared_error import squared_error

__all__ = ["ScoreTask"]

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(slots=True)
class ScoreTask:
    """Train on outcomes or pairs of texts; keep the step at which the judges' loss is smallest.

    ``teach`` and ``judges`` are positions in the examples, ``order`` positions in ``teach``;
    ``target`` is the mean and the spread of the outcome among the rows that teach. Weights are
    scaled to mean one over those rows, so that batches of any weight add up.
    """

    encoder: AdaptedEncoder
    head: ScoreHead
    texts: list[str]
    examples: Examples
    teach: Rows
    judges: Rows
    target: tuple[float, float]
    order: Rows
    validation: list[float] = field(default_factory=list)
    best: dict[str, Floats] = field(default_factory=dict)
    _tokens: list[list[int]] = field(default_factory=list)

    def batch(self, positions: Rows, step: int) -> dict[str, Any]:  # noqa: ARG002
        """Return the texts of the rows at these positions, with outcome, margin and weight."""
        self._tokens = self._tokens or self.encoder.tokens(self.texts)
        rows = self.teach[self.order[positions]]
        examples = self.examples
        columns = {
            "target": self._standard(examples.target[rows]),
            "margin": examples.margin[rows],
            "weight": examples.weight[rows] / examples.weight[self.teach].mean(),
        }
        return texts_laid_out([self._tokens[i] for i in examples.sides[rows].ravel()], columns)

    def loss(self, model: Any, batch: dict[str, Any]) -> tuple[Any, Mapping[str, float]]:
        """Return ``Σ w ℓ / b`` over the b examples of the batch."""
        scores = text_scores(model, batch).view(len(batch["weight"]), -1)  # (b, s)
        if self.examples.are_pairs:
            first, second = scores.unbind(-1)
            found = bradley_terry(
                first, second, *(batch[n] for n in ("target", "margin", "weight"))
            )
        else:
            found = squared_error(scores[:, 0], batch["target"], batch["weight"])
        return found * batch["weight"].mean(), {}

    def trouble(self) -> str | None:
        """Return why training must stop: the judges' loss is no number."""
        if self.validation and not np.isfinite(self.validation[-1]):
            return f"the loss of the rows that judge is {self.validation[-1]}"
        return None

    def standing(self) -> float | None:
        """Return minus the mean loss of the rows that judge; remember the head if it is best."""
        found = float(np.average(self.judged(), weights=self.examples.weight[self.judges]))
        if not self.validation or found < min(self.validation):
            self.best = self._parameters()
        self.validation.append(found)
        return -found if np.isfinite(found) else None

    def judged(self) -> Floats:
        """Return the loss of each row that judges, without dropout: the head as it is saved."""
        sides = self.examples.sides[self.judges]
        vectors = self.encoder.encode([self.texts[i] for i in sides.ravel()])
        scores = self.linear_head(standard=True)(vectors).reshape(sides.shape)
        if self.examples.are_pairs:
            margin = self.examples.margin[self.judges]
            return np.logaddexp(0.0, margin - (scores[:, 0] - scores[:, 1]))
        return (scores[:, 0] - self._standard(self.examples.target[self.judges])) ** 2

    def ignorant(self) -> Floats:
        """Return the loss of each row that judges if every text had the same reward."""
        if self.examples.are_pairs:
            return np.logaddexp(0.0, self.examples.margin[self.judges])
        return self._standard(self.examples.target[self.judges]) ** 2

    def linear_head(self, *, standard: bool = False) -> LinearHead:
        """Return the head for unit vectors, in units of the outcome or in those of training."""
        coefficients, intercept = self.head.folded()
        mean, spread = (0.0, 1.0) if standard else self.target
        return LinearHead(coefficients * spread, intercept * spread + mean)

    def put_best_back(self) -> None:
        """Give the head the weights of the best step, as the trainer does for the adapter."""
        self._set(self.best)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the head, the best head, and what the judges said so far."""
        kept = {f"now.{name}": value for name, value in self._parameters().items()}
        kept |= {f"best.{name}": value for name, value in self.best.items()}
        return kept | {"validation": np.array(self.validation)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take up what :meth:`state` returned."""
        self._set({name: state[f"now.{name}"] for name in self._parameters()})
        self.best = {name: state[f"best.{name}"] for name in self._parameters()}
        self.validation = [float(value) for value in state["validation"]]

    def _standard(self, values: Floats) -> Floats:
        mean, spread = self.target
        return (values - mean) / spread

    def _parameters(self) -> dict[str, Floats]:
        parameters = dict(self.head.named_parameters())
        return {name: p.detach().cpu().numpy().copy() for name, p in parameters.items()}

    def _set(self, values: Mapping[str, NDArray[Any]]) -> None:
        for name, parameter in self.head.named_parameters():
            parameter.data.copy_(parameter.new_tensor(values[name]).view_as(parameter))
