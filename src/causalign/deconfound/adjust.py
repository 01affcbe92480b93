"""Estimate and take out in one step: adjusted logs, and the section that tells how."""

import logging

import numpy as np
from numpy.typing import ArrayLike

from causalign.deconfound.method import Deconfounder
from causalign.deconfound.sensitivity import add_sensitivity
from causalign.lm.embedded_logs import embed_logs
from causalign.lm.encoder import Encoder
from causalign.logs import Logs
from causalign.results import Section

logger = logging.getLogger(__name__)


def adjust_logs(
    method: Deconfounder,
    logs: Logs,
    encoder: str | Encoder | None = None,
    *,
    text_features: ArrayLike | None = None,
) -> tuple[Logs, Section]:
    """Fit a deconfounder and apply it to the logs; what command line and recipe do.

    Parameters
    ----------
    method : Deconfounder
        The method and its settings.
    logs : Logs
        The logs.
    encoder : str or Encoder, optional
        What turns texts into features; without one the columns of the role ``features`` are read,
        and "minilm+style" where there are none.
    text_features : (n, p) array, optional
        Features of the texts, instead of an encoder.

    Returns
    -------
    adjusted : Logs
        Logs from which a reward may be learned.
    section : Section
        The fit, with sensitivity to unobserved confounding where the method is a regression.

    Raises
    ------
    RoleNotDeclared
        When the logs lack a role that the method needs.
    InputError, NotIdentified
        When the data do not determine the effect.
    """
    reads_text = method.reads_text or method.is_regression
    if text_features is None and reads_text and (encoder or not logs.roles.features):
        text_features = embed_logs(logs, encoder).vectors.astype(np.float64)
    adjustment = method.fit(logs, text_features=text_features if method.reads_text else None)
    logger.info("%s on %d rows", method, len(logs))
    section = add_sensitivity(adjustment.section(), method, logs, text_features)
    return adjustment.adjust(logs), section
