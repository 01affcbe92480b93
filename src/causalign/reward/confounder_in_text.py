"""The confounder written into the text that the encoder reads: a baseline that hopes it is read."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from causalign.errors import InputError, SettingsError
from causalign.lm.embedded_logs import embed_texts
from causalign.lm.embeddings import Embeddings
from causalign.lm.encoder import Encoder
from causalign.lm.prefixed_encoder import PrefixedEncoder
from causalign.logs import Logs, LogScan, Roles, require_memory
from causalign.logs.covariates import design
from causalign.reward.estimates import LinearHeadFit
from causalign.reward.from_logs import Vectors, learning_rows, refuse_guardrails, require_confounder
from causalign.reward.ridge import Ridge
from causalign.reward.vector_method import VectorMethod


@dataclass(frozen=True, slots=True)
class ConfounderInText(VectorMethod):
    """Ridge on texts with their confounders written in front: ``price: 4.50. The text``.

    New texts are scored with the confounders at their mean in front.

    Assumption: the encoder turns the written number into vectors that the head can subtract, and
    given the text the confounder is as good as random. In arXiv 2506.00152, table 2, the
    correlation with the truth is .84 where text and confounder are orthogonal, -.26 where they are
    entangled.

    Parameters
    ----------
    names : tuple of str
        What the confounders are called in the texts; in logs their columns, unless given.
    digits : int
        Decimals of numbers.
    """

    names: tuple[str, ...] = ()
    digits: int = 2

    name: ClassVar[str] = "confounder-in-text"

    def __post_init__(self) -> None:
        if self.digits < 0:
            raise SettingsError(f"digits must not be negative; found {self.digits}.")

    def check_roles(self, roles: Roles) -> None:
        """Raise ``RoleNotDeclared`` if there is no confounder."""
        refuse_guardrails(self.name, roles)
        require_confounder(self.name, roles)

    def check_logs(self, logs: Logs | LogScan) -> None:
        """Raise before anything costly runs when the method cannot learn from these logs."""
        self.check_roles(logs.roles)
        self._require_numbers(require_memory(logs, f"The method {self.name!r}"))
        Ridge().check_logs(logs)

    def _require_numbers(self, logs: Logs) -> None:
        categorical = [c.name for c in logs.confounders if c.is_categorical]
        if categorical:
            raise InputError(
                f"{self.name!r} writes numbers; {', '.join(map(repr, categorical))} holds names. "
                "Use 'confounder-in-layer'."
            )

    def _embed(
        self, logs: Logs, encoder: str | Encoder | None, progress: bool
    ) -> tuple[Embeddings, Encoder]:
        self._require_numbers(logs)
        values, columns = design(logs.confounders)
        writer = replace(self, names=self.names or columns)
        embeddings = embed_texts(writer.write(logs.texts, values), encoder, progress=progress)
        before = writer.neutral([""], values)[0]
        return embeddings, PrefixedEncoder(before, embeddings.encoder)

    def _fit_logs(self, logs: Logs, vectors: Vectors) -> LinearHeadFit:
        rows = learning_rows(logs, pairs=False)
        return Ridge().fit_arrays(vectors, logs.outcome, groups=rows.groups, weights=rows.weights)

    def write(self, texts: Sequence[str], confounders: ArrayLike) -> list[str]:
        """Return texts with their confounders in front.

        Parameters
        ----------
        texts : n strings
        confounders : (n,) or (n, k) array
            One column for each of ``names``.

        Raises
        ------
        InputError
            If shapes do not fit or numbers are not finite.
        """
        values = np.asarray(confounders, dtype=np.float64)
        values = values[:, None] if values.ndim == 1 else values
        if values.shape != (len(texts), len(self.names)) or not np.isfinite(values).all():
            raise InputError(
                f"{len(texts)} texts need finite confounders ({len(texts)}, {len(self.names)}); "
                f"their shape is {values.shape}."
            )
        return [self._in_front(row, text) for row, text in zip(values, texts, strict=True)]

    def neutral(self, texts: Sequence[str], confounders: ArrayLike) -> list[str]:
        """Return texts with the mean of the confounders in front of every one.

        Parameters
        ----------
        texts : m strings
        confounders : (n,) or (n, k) array
            One column for each of ``names``.
        """
        values = np.asarray(confounders, dtype=np.float64)
        mean = np.atleast_1d(values.mean(axis=0))
        return self.write(texts, np.tile(mean, (len(texts), 1)))

    def _in_front(self, row: Sequence[float], text: str) -> str:
        stated = (
            f"{name}: {value:.{self.digits}f}." for name, value in zip(self.names, row, strict=True)
        )
        return f"{' '.join(stated)} {text}"
