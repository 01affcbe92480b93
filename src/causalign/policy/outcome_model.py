"""What an outcome model is to a policy: a callable; cross-fitted, several of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalign.errors import InputError

__all__ = ["CrossFitted", "OutcomeModel", "predicted"]

Texts = Sequence[str]
# ĝ(prompts, completions) -> (n,), in units of the outcome; for a binary outcome P(Y = 1 | T).
OutcomeModel = Callable[[Sequence[str] | None, Sequence[str]], ArrayLike]


@dataclass(frozen=True, slots=True, eq=False)
class CrossFitted:
    """Hold K outcome models, each fitted without one fold of the log.

    A logged row is predicted by the model that did not see it, a new text by their mean, weighted
    by the sizes of the folds: then the doubly robust correction has mean zero whenever P_R is
    right, also for models that fitted their noise. ``fold`` (n,) says which model did not see a
    row: model k was fitted on the rows with ``fold != k``.
    """

    models: tuple[OutcomeModel, ...]
    fold: NDArray[np.int64]

    def __post_init__(self) -> None:
        if set(np.unique(self.fold)) - set(range(len(self.models))):
            raise InputError(
                f"fold must hold numbers from 0 to {len(self.models) - 1}, one model for each."
            )

    def __call__(self, prompts: Texts | None, completions: Texts) -> NDArray[np.float64]:
        """Return the mean prediction for new texts, ``(m,)``."""
        share = np.bincount(self.fold, minlength=len(self.models)) / len(self.fold)
        each = [predicted(model, prompts, completions) for model in self.models]
        return share @ np.stack(each)

    def logged(self, prompts: Texts | None, completions: Texts) -> NDArray[np.float64]:
        """Return predictions ``(n,)`` of the logged rows by models that did not see them."""
        if len(completions) != len(self.fold):
            raise InputError(f"There are {len(completions)} rows and {len(self.fold)} folds.")
        found = np.zeros(len(completions))
        for number, model in enumerate(self.models):
            rows = np.flatnonzero(self.fold == number).tolist()
            if rows:
                asked = None if prompts is None else [prompts[row] for row in rows]
                found[rows] = predicted(model, asked, [completions[row] for row in rows])
        return found


def predicted(
    model: OutcomeModel, prompts: Texts | None, completions: Texts
) -> NDArray[np.float64]:
    """Return the model's predictions ``(n,)``; raise ``InputError`` if they are not n numbers."""
    found = np.asarray(model(prompts, completions), dtype=np.float64)
    if found.shape != (len(completions),) or not np.isfinite(found).all():
        raise InputError(
            f"The outcome model must return {len(completions)} finite numbers, one for each text; "
            f"it returned shape {found.shape}."
        )
    return found
