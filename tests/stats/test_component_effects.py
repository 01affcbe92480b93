"""AMCE: exact sums on small factorials, coverage, and the randomised texts of Hong Kong."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from causalign.errors import InputError, NotIdentified
from causalign.stats.component_effects import component_effects, factorial_effects

CELLS = np.array([[[0.0, 1.0], [2.0, 7.0]], [[3.0, 3.0], [4.0, 12.0]]])  # interacts in every way
DESIGN = np.array([[a, b, c] for a in (0, 1) for b in (0, 1) for c in (0, 1)], dtype=float)


def test_exact_sum_by_hand():
    # Attribute 0: (3 - 0 + 3 - 1 + 4 - 2 + 12 - 7)/4 = 12/4.
    assert factorial_effects(CELLS)[0] == pytest.approx(3.0)
    # With all mass where b = c = 1 the effect of a is 12 - 7.
    mass = np.zeros((2, 2, 2))
    mass[:, 1, 1] = 0.5
    assert factorial_effects(CELLS, mass)[0] == pytest.approx(5.0)


def test_least_squares_is_the_exact_sum_on_a_balanced_factorial():
    y = CELLS.reshape(-1)
    found = component_effects(np.tile(y, 3), np.tile(DESIGN, (3, 1)))
    assert found.estimate == pytest.approx(factorial_effects(CELLS), abs=1e-12)
    assert found.alike == pytest.approx(0, abs=1e-12)


def test_intervals_cover_when_attributes_have_their_own_odds():
    """Independent attributes of odds .3, .5, .8: m(z) is their product."""
    odds = np.array([0.3, 0.5, 0.8])
    mass = np.prod(np.where(DESIGN == 1, odds, 1 - odds), axis=1).reshape(2, 2, 2)
    truth = factorial_effects(CELLS, mass)
    covered = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        z = (rng.random((150, 3)) < odds).astype(int)
        # Four rows of each text share a draw of noise.
        noise = np.repeat(rng.normal(size=150), 4)
        rows = np.repeat(z, 4, axis=0)
        y = CELLS[tuple(rows.T)] + noise
        found = component_effects(y, rows, clusters=np.repeat(np.arange(150), 4))
        covered += (found.lower <= truth) & (truth <= found.upper)
    assert (covered >= 180).all()


def test_hong_kong_is_what_differences_of_means_say(real_data):
    """Treatments were drawn independently, so each effect is nearly a plain difference."""
    table = pq.read_table(real_data / "hongkong_wave1.parquet").to_pandas()
    names = ["treatycommit", "brave", "evil", "flag", "threat", "economy", "treatyviolation"]
    kept = table[["resp", *names]].dropna()
    found = component_effects(kept["resp"].to_numpy(), kept[names].to_numpy())
    plain = [kept.resp[kept[n] == 1].mean() - kept.resp[kept[n] == 0].mean() for n in names]
    assert (np.abs(found.estimate - plain) < 2 * found.standard_error).all()
    assert (found.p_value < 0.05).any()


def test_bad_input():
    with pytest.raises(NotIdentified, match="same in every row"):
        component_effects([1.0, 2.0], [[1], [1]])
    with pytest.raises(InputError, match="0 or 1"):
        component_effects([1.0, 2.0], [[3], [1]])
    with pytest.raises(InputError, match="cells must have shape"):
        factorial_effects([[1.0, 2.0, 3.0]])
