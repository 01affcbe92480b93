"""How many tests a design saves: designed order against random order, simulated and on Upworthy.

python benchmarks/design.py simulation [--draws 40]
python benchmarks/design.py upworthy [--draws 4] [--encoder minilm+style]

Upworthy: five folds of stories. In each, the tests of the other folds are candidates whose results
are shown one after another, by random order, by design, and with the tests of most arms first; the
first 50 are random in all three and give penalty and τ². What counts is the AUC on pairs of the
held-out stories. The same once more with two arms of each test, so that all tests are alike in
size. Readers are not known before a test, and all arms are planned with the same number.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from causalign import Logs, Roles
from causalign.lm import EmbeddingCache, embed, load_encoder
from causalign.logs.arms import Arms, read_arms
from causalign.reward import WithinTests
from causalign.stats.optimal_design import choose_groups, choose_informative
from causalign.stats.pair_metrics import pair_auc

sys.path.insert(0, str(Path(__file__).parents[1] / "reproductions/deconfoundlm/upworthy"))
from study import Archive, read

TESTS = Roles("headline", "clicks", trials="impressions", group="clickability_test_id")
FIRST = 50
STEPS = (50, 100, 200, 300, 400, 600, 800, 1200)
JUDGED = (100, 200, 400, 800)
SIMULATED = (5, 10, 15, 20, 30, 40, 60, 80, 120, 160, 240)


Curve = tuple[np.ndarray, np.ndarray]  # what was spent, and the AUC it bought


def saved(design: Curve, random: Curve, place: int) -> float:
    """Return the share of the cost that a design saves at one of its steps.

    The random curve is made monotone, and read between its steps on the scale of logarithms. It is
    not continued beyond its last step: there the share is the least that was saved.
    """
    cost, auc = random
    needed = np.exp(np.interp(design[1][place], np.maximum.accumulate(auc), np.log(cost)))
    return 1 - design[0][place] / needed


def report(curves: dict[str, np.ndarray], steps: tuple[int, ...], judged: tuple[int, ...]) -> None:
    """Print mean curves, and what each order saves with intervals by bootstrap over units."""
    names = [name for name in curves if not name.startswith("arms of ")]
    print("tests run".ljust(26), *(f"{step:6d}" for step in steps))
    for name, values in curves.items():
        cells = (
            f"{value:6.0f}" if name not in names else f"{value:6.3f}" for value in values.mean(0)
        )
        print(name.ljust(26), *cells)
    units = len(curves[names[0]])
    picks = np.random.default_rng(0).integers(0, units, size=(2000, units))
    tests = np.tile(np.array(steps, dtype=float), (units, 1))
    for name in names[1:]:
        for unit in ("tests", "arms"):
            costs = [
                curves.get(f"arms of {n}") if unit == "arms" else tests for n in (name, names[0])
            ]
            if costs[0] is None:
                continue
            sides = list(zip(costs, (curves[name], curves[names[0]]), strict=True))

            def save(rows: np.ndarray, place: int, sides: list = sides) -> float:
                own, random = (tuple(part[rows].mean(axis=0) for part in side) for side in sides)
                return saved(own, random, place)

            cells = []
            for at in judged:
                place = steps.index(at)
                low, high = np.percentile([save(rows, place) for rows in picks], [2.5, 97.5])
                middle = save(np.arange(units), place)
                cells.append(f"at {at} {middle:+.0%} [{low:+.0%}, {high:+.0%}]")
            print(f"{unit} saved by {name}:", "; ".join(cells))


def simulate(draw: int) -> dict[str, np.ndarray]:
    """Return the AUC on new pairs by tests run, of a linear reward whose truth is known.

    80 stories of six texts; sizes of texts differ, and features decay as in sentence encoders.
    """
    random = np.random.default_rng(draw)
    d, stories, arms, noise = 40, 80, 6, 0.5
    spread = 1 / np.sqrt(np.arange(1, d + 1))
    story = np.repeat(np.arange(stories), arms)

    def write(count: int) -> np.ndarray:
        size = np.exp(0.5 * random.normal(size=(count, 1)))
        return size * spread * random.normal(size=(count, d))

    X, new, b = write(len(story)), write(4000), random.normal(size=d) / 2
    sides = new[::2] - new[1::2]
    first, second = np.nonzero(
        (story[:, None] == story) & (np.arange(480)[:, None] < np.arange(480))
    )
    factor = X / 2  # the prior: coefficients have the standard deviation one half
    last = SIMULATED[-1]
    orders = {
        "random order": random.permutation(len(first))[:last],
        "design": choose_informative(factor, first, second, noise, last).place,
    }
    curves = {}
    for name, order in orders.items():
        D = X[first[order]] - X[second[order]]
        result = D @ b + np.sqrt(noise) * random.normal(size=last)
        fits = [
            np.linalg.solve(D[:k].T @ D[:k] / noise + 4 * np.eye(d), D[:k].T @ result[:k] / noise)
            for k in SIMULATED
        ]
        curves[name] = np.array(
            [(np.sign(sides @ fit) == np.sign(sides @ b)).mean() for fit in fits]
        )
    return curves


def some(arms: Arms, rows: np.ndarray) -> Arms:
    """Return some arms, whole tests, numbered anew."""

    def number(codes: np.ndarray) -> np.ndarray:
        return np.unique(codes[rows], return_inverse=True)[1].ravel()

    return replace(
        arms,
        rows=arms.rows[rows],
        outcome=arms.outcome[rows],
        variance=arms.variance[rows],
        test=number(arms.test),
        story=number(arms.story),
    )


def two_of_each(arms: Arms, draw: int) -> Arms:
    """Return two random arms of each test."""
    shuffled = np.random.default_rng(draw).permutation(len(arms.test))
    order = shuffled[np.argsort(arms.test[shuffled], kind="stable")]
    first = np.flatnonzero(np.diff(arms.test[order], prepend=-1))
    return some(arms, np.sort(np.concatenate([order[first], order[first + 1]])))


def replay(
    arms: Arms, vectors: np.ndarray, sides: np.ndarray, readers: float, draw: int
) -> dict[str, np.ndarray]:
    """Return AUC by tests run for each order, and how many arms those had."""
    fit = WithinTests()
    X, tests = np.asarray(vectors[arms.rows], dtype=np.float64), int(arms.test.max()) + 1
    random = np.random.default_rng(draw).permutation(tests)
    known = np.isin(arms.test, random[:FIRST])
    start = fit.fit_arms(some(arms, known), vectors)
    rate = 1 / (1 + np.exp(-arms.outcome[known].mean()))
    between = start.numbers["between_variance"]
    weight = 1 / (1 / (readers * rate * (1 - rate)) + between)
    # What is known after the first tests, in units of the prior that their penalty stands for.
    F = X / np.sqrt(start.penalty)
    deviations = F[known] - _means(F, arms.test)[known]
    precision = np.eye(F.shape[1]) + weight * deviations.T @ deviations
    F = F @ np.linalg.cholesky(np.linalg.inv(precision))
    left, size = ~known, np.bincount(arms.test)
    designed = choose_groups(F[left], np.full(left.sum(), weight), arms.test[left], STEPS[-1])[0]
    later = random[FIRST:]
    orders = {"random order": random, "design": np.concatenate([random[:FIRST], designed])}
    if np.ptp(size):
        largest = later[np.argsort(-size[later], kind="stable")]
        orders["most arms first"] = np.concatenate([random[:FIRST], largest])
    curves = {}
    for name, order in orders.items():
        parts = [some(arms, np.isin(arms.test, order[:step])) for step in STEPS]
        heads = [fit.fit_arms(part, vectors).head.coefficients for part in parts]
        curves[name] = np.array([pair_auc(sides @ head).estimate for head in heads])
        curves[f"arms of {name}"] = np.array([len(part.rows) for part in parts], dtype=float)
    return curves


def _means(values: np.ndarray, code: np.ndarray) -> np.ndarray:
    total = np.zeros((code.max() + 1, values.shape[1]))
    np.add.at(total, code, values)
    return (total / np.bincount(code)[:, None])[code]


def upworthy(archive: Archive, fold: int, draw: int, encoder: str) -> list[dict[str, np.ndarray]]:
    """Return the curves of one fold and draw: whole tests, and two arms of each."""
    held, texts = archive.fold == fold, archive.raw.completions
    taught = [text for text, away in zip(texts, held, strict=True) if not away]
    vectors = embed(texts, load_encoder(encoder, training_texts=taught), EmbeddingCache()).vectors
    rows = archive.pairs.rows[held[archive.pairs.rows[:, 0]]]
    sides = (vectors[rows[:, 0]] - vectors[rows[:, 1]]).astype(float)
    tests, of_tests = Logs(archive.raw.data.filter(~held), TESTS), vectors[~held]
    arms = read_arms(tests, "This benchmark")
    readers = float(np.median(tests.trials))
    pairs = two_of_each(arms, draw)
    return [replay(one, of_tests, sides, readers, draw) for one in (arms, pairs)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("simulation", "upworthy"))
    parser.add_argument("--draws", type=int)
    parser.add_argument("--encoder", default="minilm+style")
    given = parser.parse_args()
    if given.what == "simulation":
        curves = [simulate(draw) for draw in range(given.draws or 100)]
        print(f"A reward whose truth is known, {len(curves)} draws: pairs ordered rightly")
        report(stack(curves), SIMULATED, (10, 20, 40, 80))
        return
    archive = read(str(Path(os.environ["CAUSALIGN_DATA"]) / "upworthy.parquet"), None)
    units = [(fold, draw) for draw in range(given.draws or 4) for fold in range(5)]
    curves = []
    for place, (fold, draw) in enumerate(units):
        curves.append(upworthy(archive, fold, draw, given.encoder))
        print(f"{place + 1} of {len(units)}", file=sys.stderr, flush=True)
    kinds = ("whole tests", "two arms of each test")
    for kind, of_kind in zip(kinds, zip(*curves, strict=True), strict=True):
        print(f"\n{given.encoder}, {kind}: AUC on held-out stories, {len(units)} folds and draws")
        report(stack(of_kind), STEPS, JUDGED)


def stack(curves: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.array([one[name] for one in curves]) for name in curves[0]}


if __name__ == "__main__":
    main()
