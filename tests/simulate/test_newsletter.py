import numpy as np

from causalign.simulate import Newsletter


def test_the_truth_adds_up_and_the_marker_has_no_effect():
    made = Newsletter(rows=20_000, seed=3).simulate()
    y = made.logs.outcome
    residual = y - 5 - made.text_effect - made.confounder_effect
    assert abs(residual.mean()) < 4 / np.sqrt(20_000)
    assert abs(residual.std() - 1) < 0.03
    marked = np.array([made.spurious[0] in t for t in made.logs.completions])
    naive = y[marked].mean() - y[~marked].mean()
    days = made.logs.confounders[0]
    within = [
        y[marked & (days.values == d)].mean() - y[~marked & (days.values == d)].mean()
        for d in range(7)
    ]
    assert naive > 1
    assert abs(np.mean(within)) < 0.2


def test_the_experiment_compares_texts_only():
    made = Newsletter(pairs=4000, seed=4).simulate()
    spurious = [made.spurious[0] in t for t in made.experiment.chosen]
    causal = [made.causal[0] in t for t in made.experiment.chosen]
    lost = [made.causal[0] in t for t in made.experiment.rejected]
    assert abs(np.mean(spurious) - 0.25) < 0.03
    assert np.mean(causal) > 3 * np.mean(lost)


def test_the_same_seed_gives_the_same_log(tmp_path):
    first, second = (Newsletter(rows=50, pairs=5, seed=1).simulate() for _ in range(2))
    assert first.logs.data.equals(second.logs.data)
    first.write(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"logs.parquet", "experiment.parquet"}
