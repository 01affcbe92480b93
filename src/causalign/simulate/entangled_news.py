"""News whose popularity follows the teams they name, and their tone (2506.00152, section 4.1)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from causalign.errors import InputError
from causalign.logs import Logs
from causalign.logs.roles import Roles
from causalign.simulate.simulated import SimulatedDesign

POPULARITY_OF = {"West": 1.0, "Central": 2.0, "East": 3.0}


@dataclass(frozen=True, slots=True)
class EntangledNews:
    """Simulate y = s(T) + ``slope`` p + ν for titles T of sentiment s and popularity p.

    p = 1(West) + 2·1(Central) + 3·1(East) + N(0, 0.5²), each division counting once when the
    article names one of its teams; if ``entangled``, plus ``tone`` times the sentiment of the
    abstract: sad news are popular. ν ~ N(0, ``noise``²). Popularity is the confounder; which teams
    are named is the instrument, since a team moves popularity and says nothing about the tone.
    With ``entangled`` the outcome falls where the sentiment rises, so that a reward that is
    fitted to it asks for sad titles.

    Equations 3 to 5 of arXiv:2506.00152 with its constants (its N(0, ·) read as standard
    deviations, which it does not say).

    Parameters
    ----------
    entangled : bool
        Whether sad news are popular.
    slope : float
        The effect of one unit of popularity on the outcome.
    tone : float
        What the sentiment of the abstract adds to popularity.
    popularity_noise, noise : float
        Standard deviations of popularity and outcome.
    seed : int
        Of all draws.
    """

    entangled: bool = True
    slope: float = 0.1
    tone: float = -10.5
    popularity_noise: float = 0.5
    noise: float = 0.1
    seed: int = 0

    def simulate(
        self,
        texts: Sequence[str],
        sentiment: np.ndarray,
        teams: Mapping[str, np.ndarray],
        divisions: Mapping[str, str],
        abstract_sentiment: np.ndarray | None = None,
    ) -> SimulatedDesign:
        """Draw the popularity and the outcome of n texts.

        Parameters
        ----------
        texts : n strings
            The titles.
        sentiment : (n,) array
            s(T).
        teams : mapping of str to (n,) arrays
            For each team which texts name it, 0 and 1.
        divisions : mapping of str to str
            West, Central or East for each team.
        abstract_sentiment : (n,) array, optional
            By default ``sentiment``.

        Returns
        -------
        SimulatedDesign
            Logs with text, outcome, popularity and one instrument ``names <team>`` for each team.

        Raises
        ------
        InputError
            For shapes and divisions that do not fit.
        """
        n, score = len(texts), np.asarray(sentiment, dtype=np.float64)
        tone = score if abstract_sentiment is None else np.asarray(abstract_sentiment, np.float64)
        mentions = _mentions(teams, divisions, n)
        if score.shape != (n,) or tone.shape != (n,):
            raise InputError(f"There are {n} texts; the sentiments must have shape ({n},).")
        generator = np.random.default_rng(self.seed)
        popularity = self._draw_popularity(generator, mentions, divisions, tone)
        shift = self.slope * popularity
        outcome = score + shift + generator.normal(0, self.noise, n)
        columns = {f"names {team}": flags.astype(float) for team, flags in mentions.items()}
        table = {"text": list(texts), "outcome": outcome, "popularity": popularity, **columns}
        roles = Roles("text", "outcome", confounders=("popularity",), instruments=tuple(columns))
        return SimulatedDesign(Logs.of(pa.table(table), roles), self.slope, score, shift)

    def _draw_popularity(
        self,
        generator: np.random.Generator,
        mentions: Mapping[str, np.ndarray],
        divisions: Mapping[str, str],
        tone: np.ndarray,
    ) -> np.ndarray:
        popularity = generator.normal(0, self.popularity_noise, len(tone))
        for division, value in POPULARITY_OF.items():
            named = [mentions[team] for team in mentions if divisions[team] == division]
            popularity += value * np.any(named, axis=0) if named else 0.0
        return popularity + self.tone * tone if self.entangled else popularity


def _mentions(
    teams: Mapping[str, np.ndarray], divisions: Mapping[str, str], n: int
) -> dict[str, np.ndarray]:
    """Return which texts name each team, as booleans ``(n,)``."""
    mentions = {}
    for team, named in teams.items():
        flags = np.asarray(named)
        if flags.shape != (n,) or not np.isin(flags, (0, 1)).all():
            raise InputError(f"The mentions of {team!r} must be {n} values of 0 or 1.")
        if divisions.get(team) not in POPULARITY_OF:
            raise InputError(
                f"Team {team!r} has division {divisions.get(team)!r}; "
                f"it must be one of {', '.join(POPULARITY_OF)}."
            )
        mentions[team] = flags.astype(bool)
    if not mentions:
        raise InputError("There are no teams: pass who names which, as {team: (n,) of 0 and 1}.")
    return mentions
