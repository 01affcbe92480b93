"""Check settings where they are given: of their type and in their range, or a line says so."""

import math
from collections.abc import Collection
from numbers import Integral, Real

from causalign.errors import SettingsError


def require_number(
    name: str,
    value: object,
    *,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    whole: bool = False,
    infinite: bool = False,
    why: str = "",
) -> None:
    """Raise `SettingsError`, naming setting, range and value, unless it is such a number.

    ``least`` and ``most`` belong to the range, ``above`` and ``below`` do not; ``infinite`` says
    that infinity is a number too, ``why`` what the message says of the reason. A boolean is none.
    """
    kind = Integral if whole else Real
    fits = isinstance(value, kind) and not isinstance(value, bool)
    if fits and isinstance(value, Real):
        number = float(value)
        fits = (
            (math.isfinite(number) or (infinite and not math.isnan(number)))
            and (least is None or number >= least)
            and (most is None or number <= most)
            and (above is None or number > above)
            and (below is None or number < below)
        )
    if fits:
        return
    bounds = [("at least", least), ("above", above), ("at most", most), ("below", below)]
    words = " and ".join(f"{word} {bound:g}" for word, bound in bounds if bound is not None)
    noun = "a whole number" if whole else "a number"
    raise SettingsError(f"{name} must be {noun} {words}, not {value!r}{why and f': {why}'}.")


def require_choice(name: str, value: object, choices: Collection[object]) -> None:
    """Raise `SettingsError`, naming setting, choices and value, unless it is one of them."""
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        listed = ", ".join(repr(choice) for choice in choices)
        raise SettingsError(f"{name} must be one of {listed}, not {value!r}.")


def require_kind(name: str, value: object, kind: type) -> None:
    """Raise `SettingsError`, naming setting, class and value, unless it is of this class."""
    if not isinstance(value, kind):
        raise SettingsError(f"{name} must be {kind.__name__}(...), not {value!r}.")
