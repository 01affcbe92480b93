"""Estimate and take out in one step: adjusted logs, and the section that tells how."""

import logging

import numpy as np
from numpy.typing import ArrayLike

from causalign.deconfound.method import Deconfounder, L
from causalign.deconfound.sensitivity import add_sensitivity
from causalign.lm.embedded_logs import embed_logs, learn_encoder
from causalign.lm.encoder import Encoder
from causalign.logs import LogScan
from causalign.results import Section

logger = logging.getLogger(__name__)


def adjust_logs(
    method: Deconfounder,
    logs: L,
    encoder: str | Encoder | None = None,
    *,
    text_features: ArrayLike | None = None,
) -> tuple[L, Section]:
    """Fit a deconfounder and apply it to the logs; what command line and recipe do.

    Parameters
    ----------
    method : Deconfounder
        The method and its settings.
    logs : Logs or LogScan
        The logs.
    encoder : str or Encoder, optional
        What turns texts into features; without one the columns of the role ``features`` are read,
        and "minilm+style" where there are none.
    text_features : (n, p) array, optional
        Features of the texts, instead of an encoder.

    Returns
    -------
    adjusted : Logs or LogScan
        Logs from which a reward may be learned.
    section : Section
        The fit, with sensitivity to unobserved confounding where the method is a regression and
        the logs are in memory.

    Raises
    ------
    RoleNotDeclared
        When the logs lack a role that the method needs.
    InputError, NotIdentified
        When the data do not determine the effect.
    """
    reads_text = method.reads_text or method.is_regression
    if isinstance(logs, LogScan):
        if encoder is None and not logs.roles.features and method.reads_text:
            encoder = learn_encoder(logs)
        adjustment = method.fit(logs, encoder)
        logger.info("%s on %d rows", method, len(logs))
        return adjustment.adjust(logs), adjustment.section()
    if text_features is None and reads_text and (encoder or not logs.roles.features):
        text_features = embed_logs(logs, encoder).vectors.astype(np.float64)
    adjustment = method.fit(logs, text_features=text_features if method.reads_text else None)
    logger.info("%s on %d rows", method, len(logs))
    section = add_sensitivity(adjustment.section(), method, logs, text_features)
    return adjustment.adjust(logs), section
