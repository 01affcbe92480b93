"""Score texts with a saved model: their vectors, then the head; and how sure the head is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.metrics import pairwise_distances_argmin

from causalign.errors import InputError, SettingsError
from causalign.lm.cache import EmbeddingCache
from causalign.lm.embeddings import Embeddings, embed, embed_block
from causalign.logs.outcome_model import Assessment
from causalign.logs.pairs import join_prompts
from causalign.reward.audience_head import AudienceHead
from causalign.reward.examples import EVENT_ODDS
from causalign.reward.heads import Head, LinearHead
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
    ) -> tuple[NDArray[np.float64], int]:
        """Return the rewards ``(n,)``, and of how many texts the end was not read.

        See :meth:`__call__`.
        """
        (rewards,), truncated = self.apply_heads([self.head], completions, prompts, cache)
        return rewards, truncated

    def apply_heads(
        self,
        heads: Sequence[Head],
        completions: Texts,
        prompts: Texts | None = None,
        cache: EmbeddingCache | None = None,
    ) -> tuple[list[NDArray[np.float64]], int]:
        """Return what each head makes of the same vectors, and how many texts were not read whole.

        See :meth:`__call__`.
        """
        texts = self._join(completions, prompts)
        block = embed_block(texts, self.load_encoder(), cache or self.cache)
        scores = [
            head.score_block(block) if isinstance(head, LinearHead) else head(block.dense())
            for head in heads
        ]
        return scores, block.truncated

    def expected_outcome(
        self, completions: Texts, prompts: Texts | None = None
    ) -> NDArray[np.float64]:
        """Return ``E[Y | T]`` ``(n,)`` in units of the outcome: what policies ask of a model.

        The log-odds r of an event become its probability ``1 / (1 + e^{-r})``; classes and levels
        are at their expected value already. Texts are given as to :meth:`__call__`.

        Raises
        ------
        InputError
            For a reward of comparisons, of which only differences mean something.
        """
        if self.units == "log-odds":
            raise InputError(
                "This reward was fitted on comparisons: its differences are log-odds of winning, "
                "and it predicts no outcome. Fit one on outcomes."
            )
        rewards = self(completions, prompts)
        return np.asarray(expit(rewards)) if self.units == EVENT_ODDS else rewards

    def preference(
        self, first: Texts, second: Texts, prompts: Texts | None = None
    ) -> NDArray[np.float64]:
        """Return the probability ``(n,)`` that the first wins, ``σ(r(first) - r(second))``.

        Both sides answer the same prompts and are given as to :meth:`__call__`.

        Raises
        ------
        InputError
            Unless the model was fitted on comparisons, so that differences are log-odds.
        """
        if self.units != "log-odds":
            raise InputError(
                f"This reward is in {self.units}: its differences are no log-odds of winning. Fit "
                "one on comparisons, such as Pairwise."
            )
        return np.asarray(expit(self(first, prompts) - self(second, prompts)))

    def assess(
        self, completions: Texts, prompts: Texts | None = None, cache: EmbeddingCache | None = None
    ) -> Assessment:
        """Return the reward of each completion, its standard error, and how far it is supported.

        Texts are read once. Given as to :meth:`__call__`, which says what is raised.
        """
        block = embed_block(
            self._join(completions, prompts), self.load_encoder(), cache or self.cache
        )
        X, head = block.dense(), self.head
        reward = head.score_block(block) if isinstance(head, LinearHead) else head(X)
        error = leverage = limit = factor = None
        if isinstance(head, LinearHead) and head.factor is not None:
            factor = head.along(X)
            if self.units == "log-odds" and head.support is not None:
                factor[:, :-1] -= head.covariance_factor(head.support.centre[None])
            error = np.linalg.norm(factor[:, :-1], axis=1)
        if isinstance(head, LinearHead) and head.support is not None:
            leverage, limit = head.support.leverage(X), head.support.limit
        changes = {name: self._assess_change(X, one) for name, one in self.guardrail_heads.items()}
        audiences = self.head.assess(X) if isinstance(self.head, AudienceHead) else {}
        return Assessment(
            reward, error, leverage, limit, block.truncated, factor, changes, audiences
        )

    def _assess_change(self, X: NDArray[np.floating], guardrail: LinearHead) -> Assessment:
        """Return by how much texts move a guardrail from its mean in the log."""
        assert isinstance(self.head, LinearHead)
        assert self.head.support is not None  # who fits guardrails tells it
        centre = self.head.support.centre[None]
        factor = guardrail.covariance_factor(X) - guardrail.covariance_factor(centre)
        change = (X - centre) @ guardrail.coefficients
        return Assessment(change, np.linalg.norm(factor, axis=1), None, None, 0, factor)

    def find_nearest(
        self,
        completions: Texts,
        logged: Texts,
        prompts: Texts | None = None,
    ) -> NDArray[np.int64]:
        """Return which logged text lies nearest to each completion ``(n,)``.

        Distances are those of the leverage where the support is known, else of the vectors.

        Parameters
        ----------
        completions : n strings
        logged : m strings
            As the fit read them: below their prompts, where it read these.
        prompts : n strings, optional
            As in :meth:`__call__`.
        """
        encoder, cache = self.load_encoder(), EmbeddingCache()
        sides = [
            embed(texts, encoder, cache).vectors.astype(np.float64)
            for texts in (self._join(completions, prompts), logged)
        ]
        if isinstance(self.head, LinearHead) and self.head.support is not None:
            region = self.head.support
            sides = [(side - region.centre) @ region.root for side in sides]
        return np.asarray(pairwise_distances_argmin(*sides), dtype=np.int64)

    @property
    def has_support(self) -> bool:
        """Whether the fit told which texts it covers."""
        return isinstance(self.head, LinearHead) and self.head.support is not None

    @property
    def has_covariance(self) -> bool:
        """Whether the fit told how uncertain its coefficients are."""
        return isinstance(self.head, LinearHead) and self.head.factor is not None

    def covariance_factor(
        self, completions: Texts, prompts: Texts | None = None
    ) -> NDArray[np.float64]:
        """Return F ``(n, k)`` with ``Cov(r̂(T_i), r̂(T_j)) = F_i'F_j``.

        ``F_i = L'(1, x_i)``, ``L L'`` the covariance of intercept and coefficients given the data:
        noise of the rows that were learned from, and what the penalty may have shrunk away. The
        error of a mean over texts is the length of the mean of their rows of F: more texts do not
        average it out.

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
        head = self._uncertain_head()
        return head.covariance_factor(self._embed(completions, prompts).vectors)

    def shrinkage(self, completions: Texts, prompts: Texts | None = None) -> NDArray[np.float64]:
        """Return what the penalty took from each reward ``(n,)``, as the reward itself tells it.

        ``δ'(1, x_i)`` with ``δ = λ(A + λ)⁻¹ b̂``. `covariance_factor` counts it on average over all
        directions; rewards of texts that are better for reasons known from elsewhere fall short of
        the truth by about this much.

        Parameters
        ----------
        completions, prompts
            As in :meth:`covariance_factor`.

        Raises
        ------
        SettingsError, InputError
            As in :meth:`covariance_factor`.
        """
        head = self._uncertain_head()
        return head.shrinkage(self._embed(completions, prompts).vectors)

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

    def _uncertain_head(self) -> LinearHead:
        head = self.head
        if isinstance(head, LinearHead) and head.factor is not None:
            return head
        by = "" if self.settings is None else f", fitted by {self.settings['method']!r},"
        raise SettingsError(
            f"This reward model{by} does not tell how uncertain its coefficients are. Fit "
            "'ridge', 'pairwise', 'within-tests' or 'pooled': they do, unless an earlier "
            "causalign saved them."
        )

    def _embed(
        self, completions: Texts, prompts: Texts | None, cache: EmbeddingCache | None = None
    ) -> Embeddings:
        return embed(self._join(completions, prompts), self.load_encoder(), cache or self.cache)

    def _join(self, completions: Texts, prompts: Texts | None) -> list[str]:
        """Return the texts below their prompts, where the model reads these."""
        if self.reads_prompt and prompts is None:
            raise InputError("This reward model reads prompts; give one for each completion.")
        return join_prompts(completions, prompts if self.reads_prompt else None)
