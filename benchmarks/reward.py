"""Time 90 reward heads fitted together against the same heads one after the other, in one run.

python benchmarks/reward.py [--pairs 1000] [--epochs 3] [--batch-size 32] [--threads 2]

3 models (Base, Multihead, Adversarial) x 6 levels of confounding x 5 seeds, on simulated vectors
of 384 numbers. The peer is a plain PyTorch loop: modules, an index of shuffled rows,
`torch.optim.Adam`, the weights of the best epoch kept. Times are of the processor as well as of
the clock, because the clock runs on when other programs work. Embedding follows (`embedding.py`,
which also runs on its own).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import embedding
import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from causalign.reward import (
    Adversarial,
    BaseObjective,
    Examples,
    Member,
    Multihead,
    NetworkFit,
    NetworkTraining,
    fit_together,
)

MODELS = {"base": BaseObjective, "multihead": Multihead, "adversarial": Adversarial}
RHO = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
DIMENSION, WIDTH, POOL, TEST = 384, 512, 8000, 2000


@dataclass(frozen=True)
class Design:
    """Hold examples, which pairs are consistent (type = objective), and the rows of each member."""

    examples: Examples
    consistent: np.ndarray
    test: np.ndarray


def design(seed: int = 0) -> Design:
    """Draw prompts of two types that show in the vectors, and pairs judged by two objectives."""
    random = np.random.default_rng(seed)
    kind, objective = random.integers(0, 2, POOL), random.integers(0, 2, POOL)
    prompt = random.normal(size=(POOL, DIMENSION)) + 0.5 * np.where(kind, 1, -1)[:, None]
    answers = random.normal(size=(2, POOL, DIMENSION))
    X = (0.7 * prompt + 0.7 * answers).reshape(2 * POOL, DIMENSION) / np.sqrt(DIMENSION)
    values = random.normal(size=(2, DIMENSION)) * 2
    rewards = np.maximum(X @ values.T, 0.5 * X @ values.T).reshape(2, POOL, 2)
    gap = np.take_along_axis(rewards[0] - rewards[1], objective[:, None], 1)[:, 0]
    label = (random.random(POOL) < 1 / (1 + np.exp(-2 * gap))).astype(float)
    first = np.arange(POOL)
    names = np.where(objective, "harmless", "helpful")
    examples = Examples.of_pairs(X, first, first + POOL, labels=label, objectives=names)
    return Design(examples, kind == objective, np.arange(POOL - TEST, POOL))


def rows_of(data: Design, rho: float, seed: int, pairs: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs that teach and those that judge, a share rho of them consistent."""
    random = np.random.default_rng([seed, round(10 * rho)])
    wanted = {True: round(rho * pairs * 1.2), False: round((1 - rho) * pairs * 1.2)}
    pool = np.arange(POOL - TEST)
    drawn = [
        random.choice(pool[data.consistent[pool] == side], size, replace=False)
        for side, size in wanted.items()
    ]
    rows = random.permutation(np.concatenate(drawn))
    return rows[:pairs], rows[pairs:]


class Heads(torch.nn.Module):
    """One of the three models as one would write it: both heads run, and one is taken."""

    def __init__(self, model: str) -> None:
        super().__init__()
        inputs = DIMENSION + (model == "base")
        outputs = 1 if model == "base" else WIDTH
        self.model = model
        self.body = torch.nn.Sequential(
            torch.nn.Linear(inputs, WIDTH),
            torch.nn.GELU(),
            torch.nn.Linear(WIDTH, WIDTH),
            torch.nn.GELU(),
            torch.nn.Linear(WIDTH, outputs),
        )
        if model != "base":
            self.heads = torch.nn.ModuleList(self.one_layer() for _ in range(2))
        if model == "adversarial":
            self.adversary = self.one_layer()

    @staticmethod
    def one_layer() -> torch.nn.Module:
        """Return a head with one hidden layer."""
        return torch.nn.Sequential(
            torch.nn.Linear(WIDTH, WIDTH), torch.nn.GELU(), torch.nn.Linear(WIDTH, 1)
        )

    def forward(self, x: torch.Tensor, c: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return rewards ``(b,)`` and the latent text, if there is one."""
        if self.model == "base":
            return self.body(torch.cat([x, c[:, None]], dim=1))[:, 0], None
        z = self.body(x)
        both = torch.cat([head(z) for head in self.heads], dim=1)
        return both.gather(1, c.long()[:, None])[:, 0], z


class Reverse(torch.autograd.Function):
    """Gradient reversal with strength 1."""

    @staticmethod
    def forward(_, x):
        """Return x."""
        return x.view_as(x)

    @staticmethod
    def backward(_, gradient):
        """Return minus the gradient."""
        return -gradient


def plain_fit(
    model: str, data: Design, rows, judges, seed: int, training: NetworkTraining
) -> Heads:
    """Fit one head with a plain PyTorch loop."""
    torch.manual_seed(seed)
    examples = data.examples
    X = examples.features
    X = torch.tensor((X - X.mean(0)) / X.std(0))
    first, second = torch.tensor(examples.sides).T
    c = torch.tensor(examples.objective).float()
    label = torch.tensor(examples.target).float()
    net = Heads(model)
    optimiser = torch.optim.Adam(net.parameters(), lr=training.learning_rate)
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    rows, judges, best, kept = torch.tensor(rows), torch.tensor(judges), -1.0, {}
    for _ in range(training.epochs):
        for batch in rows[torch.randperm(len(rows))].split(training.batch_size):
            one, z1 = net(X[first[batch]], c[batch])
            two, z2 = net(X[second[batch]], c[batch])
            loss = bce(one - two, label[batch])
            if z1 is not None and z2 is not None and model == "adversarial":
                for z in (z1, z2):
                    loss = loss + bce(net.adversary(Reverse.apply(z))[:, 0], c[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            gap = net(X[first[judges]], c[judges])[0] - net(X[second[judges]], c[judges])[0]
            accuracy = ((gap > 0).float() == label[judges]).float().mean().item()
        if accuracy > best:
            best, kept = accuracy, {n: w.clone() for n, w in net.state_dict().items()}
    net.load_state_dict(kept)
    return net


def accuracy(fit: Heads | NetworkFit, data: Design) -> float:
    """Return the accuracy on pairs that no fit has seen."""
    examples, rows = data.examples, data.test
    if isinstance(fit, NetworkFit):
        names = np.array(examples.objectives)[examples.objective[rows]]
        one, two = (fit.head(examples.features[examples.sides[rows, s]], names) for s in (0, 1))
        return float(np.mean((one > two) == (examples.target[rows] > 0.5)))
    X = examples.features
    X = torch.tensor((X - X.mean(0)) / X.std(0))
    c = torch.tensor(examples.objective[rows]).float()
    with torch.no_grad():
        one, two = (fit(X[examples.sides[rows, side]], c)[0].numpy() for side in (0, 1))
    return float(np.mean((one > two) == (examples.target[rows] > 0.5)))


def timed(work: Callable[[], list]) -> tuple[float, float, list]:
    """Return seconds of the clock and of the processor, and what was fitted."""
    clock, processor = time.perf_counter(), time.process_time()
    fitted = work()
    return time.perf_counter() - clock, time.process_time() - processor, fitted


def main(
    pairs: int = 1000,
    epochs: int = 10,
    batch_size: int = 32,
    seeds: int = 5,
    threads: int = 0,
) -> None:
    """Fit all heads four ways and print times, ratios and accuracies."""
    if threads:
        torch.set_num_threads(threads)
    data = design()
    training = NetworkTraining(epochs=epochs, batch_size=batch_size, device="cpu")
    rows = {(r, s): rows_of(data, r, s, pairs) for r in RHO for s in range(seeds)}
    keys = [(model, *key) for model in MODELS for key in rows]

    def plain() -> list[Heads]:
        return [plain_fit(m, data, *rows[r, s], s, training) for m, r, s in keys]

    def member(model: str, rho: float, seed: int, how: NetworkTraining) -> Member:
        teach, judge = rows[rho, seed]
        return Member(MODELS[model](training=how, seed=seed), data.examples, teach, judge)

    def together(how: NetworkTraining) -> list[NetworkFit]:
        return fit_together([member(*k, how) for k in keys])

    def alone(how: NetworkTraining) -> list[NetworkFit]:
        return [fit_together([member(*k, how)])[0] for k in keys]

    half = replace(training, precision="bfloat16")
    ways = {
        "plain PyTorch, one after the other": plain,
        "causalign, one after the other": lambda: alone(training),
        "causalign, together": lambda: together(training),
        "causalign, together, bfloat16 products": lambda: together(half),
    }
    shown = Table(
        title=f"{len(keys)} heads, {pairs} pairs, {epochs} epochs, batches of {batch_size}"
    )
    for name in ("", "seconds", "ratio", "processor", "ratio", "test accuracy"):
        shown.add_column(name)
    base = None
    for name, work in ways.items():
        clock, processor, fitted = timed(work)
        found = [accuracy(fit, data) for fit in fitted]
        base = base or (clock, processor)
        shown.add_row(
            name,
            f"{clock:.1f}",
            f"{base[0] / clock:.2f}",
            f"{processor:.1f}",
            f"{base[1] / processor:.2f}",
            f"{np.mean(found):.4f} ± {np.std(found) / len(found) ** 0.5:.4f}",
        )
        print(f"{name}: {clock:.1f} s, {processor:.1f} s of the processor", flush=True)
    Console(width=110).print(shown)
    embedding.main()


if __name__ == "__main__":
    typer.run(main)
