"""Set several fits side by side: the same reward from different outcomes or data."""

from collections.abc import Mapping
from dataclasses import replace

import pyarrow as pa

from causalign.figures import Drawing, draw_figures
from causalign.results import Section
from causalign.reward.estimates import HeadEstimate, LinearHeadFit
from causalign.reward.model import RewardFit

# What the table shows where a fit has it; the first four always.
_LINEAR = ("cv_r2", "cv_error", "cv_accuracy", "penalty")
_OTHERS = ("validation", "validation_r2", "validation_loss")


def compare(fits: Mapping[str, RewardFit | HeadEstimate]) -> Section:
    """Return one section about several fits: a table with a row for each, and their pictures.

    Shares of variance of different outcomes are not comparable with each other: what deconfounding
    took away can no longer be predicted. Which reward is better is for the evaluation to say.

    Parameters
    ----------
    fits : mapping from str to RewardFit, LinearHeadFit, NetworkFit or LanguageModelFit
        By what they are called.
    """
    sections = {name: fit.section() for name, fit in fits.items()}
    numbers = {
        f"{name}.{key}": value
        for name, section in sections.items()
        for key, value in section.numbers.items()
    }
    shown = [*_LINEAR, *(c for c in _OTHERS if any(f"{n}.{c}" in numbers for n in fits))]
    table = pa.table(
        {
            "fit": list(fits),
            "method": [section.details["method"] for section in sections.values()],
            **{c: pa.array([numbers.get(f"{n}.{c}") for n in fits], pa.float64()) for c in shown},
            "error": pa.array([_error_name(fit) for fit in fits.values()], pa.string()),
        }
    )
    return Section(
        stage="reward",
        question="What outcome is a text expected to earn, and how well is that predicted?",
        answer=" ".join(f"{name.capitalize()}: {fit.answer()}" for name, fit in fits.items()),
        assumption=" ".join(dict.fromkeys(s.assumption for s in sections.values())),
        numbers=numbers,
        tables={"fits": table}
        | {f"{title} ({n})": rows for n, s in sections.items() for title, rows in s.tables.items()},
        figures=draw_figures(
            *(
                _name_drawing(drawing, name)
                for name, fit in fits.items()
                if (drawing := fit.drawing()) is not None
            )
        ),
        findings=tuple(
            replace(finding, title=f"{finding.title} ({name})")
            for name, fit in fits.items()
            for finding in fit.findings
        ),
        details={name: section.details for name, section in sections.items()},
    )


def _name_drawing(drawing: Drawing, reward: str) -> Drawing:
    caption = f"{reward.capitalize()} reward. {drawing.caption}"
    return replace(drawing, name=f"{drawing.name}-{reward}", caption=caption)


def _error_name(fit: RewardFit | HeadEstimate) -> str | None:
    estimate = fit.estimate if isinstance(fit, RewardFit) else fit
    return estimate.error_name if isinstance(estimate, LinearHeadFit) else None
