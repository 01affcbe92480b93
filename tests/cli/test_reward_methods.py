"""``causalign reward fit --method ...``: each method from file to scores, and what it asks for."""

import json
import re
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from causalign.cli import main
from causalign.reward import CHOICES, RewardModel

QUICK = ["--set", "width=4", "--set", "depth=2", "--set", "training.epochs=1"]
CONFOUNDER = ["--confounder", "price"]
GROUP = ["--group", "test"]
OUTCOME = ["--set", "loss=squared-error"]


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(a) for a in arguments])
    return stopped.value.code, capsys.readouterr()


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    random = np.random.default_rng(0)
    words = ["mugs", "rain", "sun", "free", "today", "offer"]
    texts = [" ".join(random.choice(words, 4)) for _ in range(96)]
    price = random.normal(size=96)
    told = np.array([text.count("free") for text in texts], dtype=float)
    table = pa.table(
        {
            "text": texts,
            "y": told + price + random.normal(scale=0.1, size=96),
            "bought": (told > 0).astype(int),
            "stars": np.minimum(told, 2),
            "price": price,
            "shop": [["north", "south"][i % 2] for i in range(96)],
            "aim": [["Helpful!", "harmless"][i % 2] for i in range(96)],
            "w": 1 + (np.arange(96) % 3),
            "test": [i // 4 for i in range(96)],
        }
    )
    path = tmp_path_factory.mktemp("methods") / "log.parquet"
    pq.write_table(table, path)
    return path


def shared(log, out, outcome="y"):
    named = ["--completion", "text", "--outcome", outcome, "--encoder", "hashing", "--out", out]
    return ["reward", "fit", log, *named]


FITS = {
    "ridge": ("y", ["--set", "choose=ranking", *CONFOUNDER, "--weight", "w"]),
    "pairwise": ("y", GROUP),
    "within-tests": ("y", GROUP),
    "pooled": ("y", ["--weight", "w"]),
    "for-audience": ("y", ["--audience", "shop", "--weight", "w"]),
    "perceptron": ("y", [*QUICK, "--weight", "w"]),
    "logistic": ("bought", QUICK),
    "multi-class": ("stars", QUICK),
    "ordinal": ("stars", [*QUICK, "--set", "seed=1"]),
    "confounder-in-layer": ("y", [*QUICK, *CONFOUNDER, "--confounder", "shop"]),
    "confounder-in-text": ("y", [*CONFOUNDER, "--set", "digits=1"]),
    "base": ("y", [*QUICK, *OUTCOME, "--objective", "aim"]),
    "multihead": ("y", [*QUICK, *GROUP, "--objective", "aim"]),
    "adversarial": ("y", [*QUICK, *OUTCOME, *CONFOUNDER]),
}


# A network that is not named above learns from pairs and a confounder; a language model is below.
OTHERS = ("y", [*QUICK, *CONFOUNDER, *GROUP])


@pytest.mark.parametrize("method", [name for name in CHOICES if name != "language-model"])
def test_a_method_leaves_models_that_score(log, tmp_path, capsys, method):
    outcome, more = FITS.get(method, OTHERS)
    out = tmp_path / "out"
    code, said = call(capsys, *shared(log, out, outcome), "--method", method, *more)
    assert code == 0, said.err
    assert "RM102" in said.out
    found = re.findall(r"reward model: (\S+)", said.out)
    places = ["model/helpful", "model/harmless"] if "aim" in more else ["model"]
    assert sorted(found) == sorted(str(out / place) for place in places)
    model = RewardModel.load(found[0])
    scores = model(["free free mugs", "rain"])
    assert np.isfinite(scores).all()
    scored = ["reward", "score", found[0], log, "--completion", "text", "--out", tmp_path / "s"]
    assert call(capsys, *scored)[0] == 0


def test_what_was_written_in_front_is_written_when_scoring(log, tmp_path, capsys):
    """The confounder is in front of every text at its mean; a model without it scores otherwise."""
    out = tmp_path / "out"
    call(capsys, *shared(log, out), "--method", "confounder-in-text", *CONFOUNDER)
    model = RewardModel.load(out / "model")
    mean = np.mean(pq.read_table(log)["price"].to_numpy())
    assert model.encoder.before == f"price: {mean:.2f}. "
    plain = RewardModel("hashing", model.head, encoder=model.encoder.encoder)
    expected = plain([f"price: {mean:.2f}. free mugs"])
    assert model(["free mugs"]) == pytest.approx(expected)
    assert plain(["free mugs"]) != pytest.approx(expected)


@pytest.mark.parametrize("more", [[], ["--set", "loss=bradley-terry", *GROUP]])
def test_a_language_model_is_tuned_from_the_command_line(
    log, tiny_lm_folder, tmp_path, capsys, more
):
    out = tmp_path / "out"
    command = ["reward", "fit", log, "--completion", "text", "--outcome", "y", "--out", out]
    quick = ["--set", f"model={tiny_lm_folder}", "--set", "training.steps=2", *more]
    code, said = call(capsys, *command, "--method", "language-model", *quick)
    assert code == 0, said.err
    for name in ("result.json", "validation.csv", "training.csv", "model/reward_model.json"):
        assert (out / name).exists(), name
    assert not (tmp_path / "out.training").exists()
    assert np.isfinite(RewardModel.load(out / "model")(["free mugs", "rain"])).all()


REFUSED = {
    "unknown method": (["--method", "rigde"], "did you mean 'ridge'"),
    "unknown setting": (["--method", "ridge", "--set", "fold=3"], "did you mean 'folds'"),
    "unknown setting of training": (
        ["--method", "perceptron", "--set", "training.epoch=3"],
        "did you mean 'epochs'",
    ),
    "wrong type": (["--method", "perceptron", "--set", "width=wide"], "Setting 'width'"),
    "wrong seed": (["--method", "perceptron", "--set", "seed=soon"], "Setting 'seed'"),
    "wrong loss": (["--method", "adversarial", "--set", "loss=ordinal"], "Setting 'loss'"),
    "pairwise without group": (["--method", "pairwise"], "--group COLUMN"),
    "pairs of a network": (
        ["--method", "perceptron", "--set", "loss=bradley-terry"],
        "--group COLUMN",
    ),
    "in layer without confounder": (["--method", "confounder-in-layer"], "--confounder COLUMN"),
    "in text without confounder": (["--method", "confounder-in-text"], "--confounder COLUMN"),
    "in text with names": (
        ["--method", "confounder-in-text", "--confounder", "shop"],
        "'shop' holds names",
    ),
    "objectives without their column": (
        ["--method", "multihead", *OUTCOME],
        "--objective COLUMN",
    ),
    "one objective": (
        ["--method", "base", *OUTCOME, "--objective", "one"],
        "the examples have 'only'",
    ),
    "column that is not there": (
        ["--method", "base", *OUTCOME, "--objective", "aims"],
        "did you mean 'aim'",
    ),
    "a quantity as classes": (["--method", "multi-class", "--outcome", "id"], "it is a quantity"),
    "logistic of numbers": (["--method", "logistic"], "needs outcomes in [0, 1]"),
    "encoder of a language model": (["--method", "language-model"], "takes no --encoder"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_method_lacks_is_said_in_a_line(log, tmp_path, capsys, case):
    more, wanted = REFUSED[case]
    table = pq.read_table(log)
    wide = pa.concat_tables([table, table.set_column(0, "text", [["another"] * len(table)])])
    wide = wide.append_column("id", pa.array(range(len(wide)))).append_column(
        "one", pa.array(["only"] * len(wide))
    )
    pq.write_table(wide, tmp_path / "log.parquet")
    code, said = call(capsys, *shared(tmp_path / "log.parquet", tmp_path / "out"), *more)
    assert code == 2, said.err
    assert wanted in " ".join(said.err.split()), said.err
    assert "Traceback" not in said.err
    assert 1 <= len(said.err.strip().splitlines()) <= 3, said.err
    assert not (tmp_path / "out").exists()


def test_an_unknown_language_model_is_answered_with_the_nearest(log, tmp_path, capsys):
    named = ["--completion", "text", "--outcome", "y", "--out", tmp_path / "out"]
    chosen = ["--method", "language-model", "--set", "model=smolm2"]
    code, said = call(capsys, "reward", "fit", log, *named, *chosen)
    assert code == 2
    assert "did you mean 'smollm2'" in " ".join(said.err.split())
    assert not (tmp_path / "out").exists()


def test_an_encoder_that_gives_no_numbers_is_refused(log, tiny_lm_folder, tmp_path, capsys):
    """The states of a network whose weights overflow are no vectors."""
    from safetensors.numpy import load_file, save_file

    folder = shutil.copytree(tiny_lm_folder, tmp_path / "broken")
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"][0] = np.inf
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    named = ["--completion", "text", "--outcome", "y", "--encoder", folder]
    code, said = call(capsys, "reward", "fit", log, *named, "--out", tmp_path / "out")
    assert code == 2
    assert "values that are not finite" in " ".join(said.err.split())
    assert "Traceback" not in said.err
    assert not (tmp_path / "out").exists()


def test_texts_beyond_the_window_and_an_objective_of_one_class_are_findings(
    log, tiny_lm_folder, tmp_path, capsys
):
    table = pq.read_table(log)
    texts = table["text"].to_pylist()
    texts[0] = "rain " * 400
    aims = ["kind" if bought else "true" for bought in table["bought"].to_pylist()]
    aims[1::2] = ["true"] * 48
    bought = [int(aim == "kind" or i % 3 == 0) for i, aim in enumerate(aims)]
    changed = pa.table({"text": texts, "bought": bought, "aim": aims})
    pq.write_table(changed, tmp_path / "log.parquet")
    said = call(
        capsys, "reward", "fit", tmp_path / "log.parquet", "--completion", "text", "--outcome",
        "bought", "--encoder", tiny_lm_folder, "--out", tmp_path / "out", "--method", "multihead",
        "--objective", "aim", "--set", "loss=logistic", *QUICK,
    )  # fmt: skip
    assert said[0] == 0, said[1].err
    shown = " ".join(said[1].out.split())
    assert "! RM105" in shown
    assert "Under 'kind' every example has the same label" in shown
    assert "did not read the end of 1 of 96 texts" in shown


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"version": 9}, "format version 9"),
        ({"sha256": "0" * 64}, "SHA-256 differs"),
        ({"head": {"kind": "liner"}}, "did you mean 'linear'"),
    ],
)
def test_a_saved_model_that_was_altered_scores_nothing(log, tmp_path, capsys, change, wanted):
    call(capsys, *shared(log, tmp_path / "out"))
    path = tmp_path / "out" / "model" / "reward_model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    named = [path.parent, log, "--completion", "text", "--out", tmp_path / "scored"]
    code, said = call(capsys, "reward", "score", *named)
    assert code == 2
    assert wanted in " ".join(said.err.split())
    assert not (tmp_path / "scored").exists()


@pytest.mark.slow
def test_a_log_and_experiments_make_one_reward(log, tmp_path, capsys):
    table = pq.read_table(log).select(["text", "y", "test"])
    texts = [f"{text} in test {row}" for row, text in enumerate(table["text"].to_pylist())]
    place = tmp_path / "tests.parquet"
    pq.write_table(table.set_column(0, "text", pa.array(texts)), place)
    asked = [*shared(log, tmp_path / "both", "y"), "--experiments", place]
    code, said = call(capsys, *asked, "--method", "pooled", "--group", "test")
    assert code == 0, said.err
    assert "RM109" in said.out
    code, said = call(capsys, *asked, "--method", "pooled")
    assert (code, "--group" in said.err) == (2, True)
    code, said = call(capsys, *asked, "--method", "ridge")
    assert (code, "--method pooled" in said.err) == (2, True)
