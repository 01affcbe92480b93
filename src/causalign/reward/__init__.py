"""Reward models: what outcome a text is expected to earn. One family of methods a file."""

from causalign.config import Methods
from causalign.namespaces import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)

_PERCEPTRON = "Perceptron"
_METHODS = {
    "ridge": (
        "Ridge",
        "a straight line from vector to outcome; the place to start. Needs nothing more; "
        "`--set choose=ranking` also reads `--confounder`.",
    ),
    "pairwise": (
        "Pairwise",
        "which of two competing texts wins, linear; for experiments. Needs `--group`.",
    ),
    "within-tests": (
        "WithinTests",
        "all arms of experiments, within each test, linear. Needs `--group`.",
    ),
    "pooled": (
        "Pooled",
        "a log and experiments in one fit, linear. Needs `--experiments`; without them it is "
        "ridge.",
    ),
    "for-audience": (
        "ForAudience",
        "a reward for each audience, linear, with what they share learned from all. Needs "
        "`--audience`.",
    ),
    "perceptron": (
        _PERCEPTRON,
        "like ridge, but any curve: a small network. Networks need torch.",
    ),
    "confounder-in-layer": (
        "ConfounderInLayer",
        "a network that also reads the confounder and then holds it at its mean; a baseline for "
        "`causalign deconfound`. Needs `--confounder`.",
    ),
    "confounder-in-text": (
        "ConfounderInText",
        "ridge on texts with the confounder written in front; a baseline. Needs `--confounder`, a "
        "number.",
    ),
    "odin": (
        "Odin",
        "a network with one head for the text and one for the confounder; a baseline. Needs one "
        "`--confounder` and, unless `--set loss=squared-error`, `--group`.",
    ),
    "base": (
        "BaseObjective",
        "one network told by which objective a row was judged. Needs `--objective` and, unless "
        "`--set loss=squared-error`, `--group`.",
    ),
    "multihead": (
        "Multihead",
        "one reward for each objective, on shared layers. Needs what base needs.",
    ),
    "adversarial": (
        "Adversarial",
        "multihead whose shared layers must not tell the objective. Needs what base needs.",
    ),
    "language-model": (
        "LanguageModelReward",
        "tune a language model itself (LoRA): hours, not seconds; `--encoder` is not used. With "
        "`--set loss=bradley-terry` on pairs, which needs `--group`.",
    ),
}
# What a newcomer looks for is the kind of outcome: these are perceptrons with the loss so named.
_KINDS = {
    "logistic": (_PERCEPTRON, "a network for outcomes between 0 and 1: bought or not, a share."),
    "multi-class": (
        _PERCEPTRON,
        "a network for outcomes that are classes, scored by their expected value.",
    ),
    "ordinal": (_PERCEPTRON, "a network for levels, such as one to five stars."),
}
METHODS = Methods(__name__, _METHODS)
CHOICES = Methods(__name__, _METHODS | _KINDS)
__all__ = [*__all__, "METHODS", "CHOICES"]
