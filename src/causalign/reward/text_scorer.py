"""Score texts with a saved model: their vectors, then the head; and how sure the head is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from causalign.errors import InputError, SettingsError
from causalign.lm.cache import EmbeddingCache
from causalign.lm.embeddings import Embeddings, embed
from causalign.logs.table import join_prompts
from causalign.reward.heads import LinearHead
from causalign.reward.saved_model import SavedModel

Texts = Sequence[str]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TextScorer(SavedModel):
    """Turn completions into numbers, and say how much the fit's own noise may have moved them."""

    def __call__(
        self, completions: Texts, prompts: Texts | None = None, cache: EmbeddingCache | None = None
    ) -> NDArray[np.float64]:
        """Return the reward ``(n,)`` of each completion, in ``units``.

        Parameters
        ----------
        completions : n strings
        prompts : n strings, optional
            What each text answers; read where the model was fitted with prompts.
        cache : EmbeddingCache, optional
            Where vectors are kept between calls.

        Raises
        ------
        InputError
            If the model reads prompts and none are given, or their number differs.
        """
        return self.score(completions, prompts, cache)[0]

    predict = __call__

    def score(
        self, completions: Texts, prompts: Texts | None = None, cache: EmbeddingCache | None = None
    ) -> tuple[NDArray[np.float64], Embeddings]:
        """Return the rewards ``(n,)`` and how the texts were read; see :meth:`__call__`."""
        embeddings = self._embed(completions, prompts, cache)
        return self.head(embeddings.vectors), embeddings

    @property
    def has_covariance(self) -> bool:
        """Whether the fit told how uncertain its coefficients are."""
        return isinstance(self.head, LinearHead) and self.head.factor is not None

    def covariance_factor(
        self, completions: Texts, prompts: Texts | None = None
    ) -> NDArray[np.float64]:
        """Return F ``(n, k)`` with ``Cov(r̂(T_i), r̂(T_j)) = F_i'F_j``.

        ``F_i = L'(1, x_i)``, ``L L'`` the mean squared error of intercept and coefficients: their
        posterior, with noise of the rows that were learned from, and what the penalty shrank away
        along the coefficients, which is where policies go. The error of a mean
        over texts is the length of the mean of their rows of F; one text's luck is that of all
        that resemble it, so that more texts do not average it out.

        Assumption: the reward is linear in the features, and its outcome was the effect of the
        text; what is still confounded is not counted. Of a reward of comparisons only differences
        mean something: subtract rows of F first.

        Parameters
        ----------
        completions : n strings
        prompts : n strings, optional
            As in :meth:`__call__`.

        Returns
        -------
        (n, k) array
            In ``units``.

        Raises
        ------
        SettingsError
            If the model does not tell how uncertain its coefficients are.
        InputError
            As in :meth:`__call__`.
        """
        head = self.head
        if not isinstance(head, LinearHead) or head.factor is None:
            by = "" if self.settings is None else f", fitted by {self.settings['method']!r},"
            raise SettingsError(
                f"This reward model{by} does not tell how uncertain its coefficients are. Fit "
                "'ridge', 'pairwise', 'within-tests' or 'pooled': they do, unless an earlier "
                "causalign saved them."
            )
        return head.covariance_factor(self._embed(completions, prompts).vectors)

    def standard_error(
        self, completions: Texts, prompts: Texts | None = None
    ) -> NDArray[np.float64]:
        """Return the standard error ``(n,)`` of each reward; see :meth:`covariance_factor`.

        Parameters
        ----------
        completions, prompts
            As in :meth:`covariance_factor`.

        Raises
        ------
        SettingsError, InputError
            As in :meth:`covariance_factor`.
        """
        return np.asarray(np.linalg.norm(self.covariance_factor(completions, prompts), axis=1))

    def _embed(
        self, completions: Texts, prompts: Texts | None, cache: EmbeddingCache | None = None
    ) -> Embeddings:
        if self.reads_prompt and prompts is None:
            raise InputError("This reward model reads prompts; give one for each completion.")
        texts = join_prompts(completions, prompts if self.reads_prompt else None)
        return embed(texts, self.load_encoder(), cache or self.cache)
