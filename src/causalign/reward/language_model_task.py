"""What the trainer minimises for a reward: the loss of texts' scores, validated on other rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from causalign.lm.adapted_encoder import AdaptedEncoder
from causalign.lm.layout import Batch, order_rows
from causalign.lm.score_head import ScoreHead, lay_out_texts, text_scores
from causalign.lm.training import Training
from causalign.reward.examples import Examples
from causalign.reward.heads import LinearHead
from causalign.reward.networks.losses import bradley_terry, squared_error
from causalign.reward.pairwise import Pairwise
from causalign.reward.ridge import Ridge
from causalign.stats.folds import group_folds

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(slots=True)
class ScoreTask:
    """Train on outcomes or pairs of texts; keep the step with the smallest validation loss.

    ``rows`` and ``validation_rows`` are positions in the examples, ``order`` positions in ``rows``;
    ``target`` is the mean and the spread of the outcome among the training rows. Weights are
    scaled to mean one over those rows, so that batches of any weight add up.
    """

    encoder: AdaptedEncoder
    head: ScoreHead
    texts: list[str]
    examples: Examples
    rows: Rows
    validation_rows: Rows
    target: tuple[float, float]
    order: Rows
    validation: list[float] = field(default_factory=list)
    best: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    _tokens: list[list[int]] = field(default_factory=list)

    def batch(self, positions: Rows, step: int) -> Batch:  # noqa: ARG002
        """Return the texts of the rows at these positions, with outcome, margin and weight."""
        self._tokens = self._tokens or self.encoder.tokens(self.texts)
        rows = self.rows[self.order[positions]]
        examples = self.examples
        columns = {
            "target": self._standard(examples.target[rows]),
            "margin": examples.margin[rows],
            "weight": examples.weight[rows] / examples.weight[self.rows].mean(),
        }
        return lay_out_texts([self._tokens[i] for i in examples.sides[rows].ravel()], columns)

    def loss(self, model: Any, batch: Batch) -> tuple[Tensor, Mapping[str, float]]:
        """Return ``Σ w ℓ / b`` over the b examples of the batch."""
        scores = text_scores(model, batch).view(len(batch["weight"]), -1)  # (b, s)
        if self.examples.are_pairs:
            first, second = scores.unbind(-1)
            mean = bradley_terry(first, second, *(batch[n] for n in ("target", "margin", "weight")))
        else:
            mean = squared_error(scores[:, 0], batch["target"], batch["weight"])
        return mean * batch["weight"].mean(), {}

    def stop_reason(self) -> str | None:
        """Return why training must stop: the validation loss is no number."""
        if self.validation and not np.isfinite(self.validation[-1]):
            return f"the loss of the validation rows is {self.validation[-1]}"
        return None

    def validation_score(self) -> float | None:
        """Return minus the mean loss of the validation rows; remember the head if it is best."""
        loss = float(
            np.average(self.validation_losses(), weights=self.examples.weight[self.validation_rows])
        )
        if not self.validation or loss < min(self.validation):
            self.best = self._parameters()
        self.validation.append(loss)
        return -loss if np.isfinite(loss) else None

    def validation_losses(self) -> Floats:
        """Return the loss of each validation row, without dropout: the head as it is saved."""
        sides = self.examples.sides[self.validation_rows]
        vectors = self.encoder.encode([self.texts[i] for i in sides.ravel()])
        scores = self.linear_head(standard=True)(vectors).reshape(sides.shape)
        if self.examples.are_pairs:
            margin = self.examples.margin[self.validation_rows]
            return np.logaddexp(0.0, margin - (scores[:, 0] - scores[:, 1]))
        return (scores[:, 0] - self._standard(self.examples.target[self.validation_rows])) ** 2

    def constant_losses(self) -> Floats:
        """Return the loss of each validation row if every text had the same reward."""
        if self.examples.are_pairs:
            return np.logaddexp(0.0, self.examples.margin[self.validation_rows])
        return self._standard(self.examples.target[self.validation_rows]) ** 2

    def linear_head(self, *, standard: bool = False) -> LinearHead:
        """Return the head for unit vectors, in units of the outcome or in those of training."""
        coefficients, intercept = self.head.fold()
        mean, spread = (0.0, 1.0) if standard else self.target
        return LinearHead(coefficients * spread, intercept * spread + mean)

    def put_best_back(self) -> None:
        """Give the head the weights of the best step, as the trainer does for the adapter."""
        self._set(self.best)

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Return the head, the best head, and the validation losses so far."""
        state = {f"now.{name}": value for name, value in self._parameters().items()}
        state |= {f"best.{name}": value for name, value in self.best.items()}
        return state | {"validation": np.array(self.validation)}

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Take up what :meth:`state` returned."""
        self._set({name: state[f"now.{name}"] for name in self._parameters()})
        self.best = {name: state[f"best.{name}"] for name in self._parameters()}
        self.validation = [float(value) for value in state["validation"]]

    def _standard(self, values: Floats) -> Floats:
        mean, spread = self.target
        return (values - mean) / spread

    def _parameters(self) -> dict[str, NDArray[np.generic]]:
        parameters = dict(self.head.named_parameters())
        return {name: p.detach().cpu().numpy().copy() for name, p in parameters.items()}

    def _set(self, values: Mapping[str, NDArray[np.generic]]) -> None:
        for name, parameter in self.head.named_parameters():
            parameter.data.copy_(parameter.new_tensor(values[name]).view_as(parameter))


def start_task(
    training: Training,
    validation_share: float,
    encoder: AdaptedEncoder,
    texts: list[str],
    examples: Examples,
) -> ScoreTask:
    """Cut the rows, start the head where the frozen vectors lead, and deal the batches."""
    seed, size = training.seed, training.batch_size
    rows, validation_rows = split_rows(examples, validation_share, training.seed)
    head = _frozen_head(examples, rows, seed)
    vectors = examples.features[np.unique(examples.sides[rows])].astype(np.float64)
    center = vectors.mean(axis=0)
    scale = float(np.sqrt(vectors.var(axis=0).mean())) or 1.0
    mean, unit = (0.0, 1.0) if examples.are_pairs else examples.target_scale(rows)
    task = ScoreTask(
        encoder=encoder,
        head=ScoreHead(
            center,
            scale,
            head.coefficients * scale / unit,
            (head.intercept + float(center @ head.coefficients) - mean) / unit,
        ),
        texts=texts,
        examples=examples,
        rows=rows,
        validation_rows=validation_rows,
        target=(mean, unit),
        order=np.empty(0, dtype=np.int64),
    )
    lengths = np.array([len(ids) for ids in encoder.tokens(texts)])
    sizes = lengths[examples.sides[rows]].sum(axis=1)
    steps = training.steps_for(len(rows))
    task.order = order_rows(sizes, batch_size=size, steps=steps, seed=seed)
    return task


def split_rows(examples: Examples, validation_share: float, seed: int) -> tuple[Rows, Rows]:
    """Return training and validation rows; no group is on both sides."""
    counted = np.flatnonzero(examples.weight > 0)
    folds = round(1 / validation_share)
    fold = group_folds(examples.groups[counted], folds, seed)
    return counted[fold != 0], counted[fold == 0]


def _frozen_head(examples: Examples, rows: Rows, seed: int) -> LinearHead:
    """Return the linear reward on the vectors of the untouched model, from the training rows."""
    sides = [examples.features[side].astype(np.float64) for side in examples.sides[rows].T]
    given = {"groups": examples.groups[rows], "weights": examples.weight[rows]}
    if examples.are_pairs:
        margins = examples.margin[rows]
        return Pairwise(seed=seed).fit_arrays(sides[0], sides[1], margins=margins, **given).head
    return Ridge(seed=seed).fit_arrays(sides[0], examples.target[rows], **given).head
