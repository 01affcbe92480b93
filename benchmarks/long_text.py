"""One text of five million characters among 3,000: time and memory of each stage with and without.

python benchmarks/long_text.py [words chinese ...] [--stages read-csv audit ...]
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import yaml

import causalign as ca

ROWS = 3000
LENGTH = 5_000_000
WORDS = ("mugs", "rain", "sun", "free", "today", "offer", "please", "now", "tea", "coat", "river")
BASE = {"completion": "text", "outcome": "y", "confounders": ("price", "week")}
GROUPED = {**BASE, "group": "test"}
KINDS = ("words", "new-words", "one-word", "same-letter", "hyphens", "dots", "chinese", "line-ends",
         "pictures", "accents")  # fmt: skip


def make_texts() -> dict[str, str]:
    """Return a text of `LENGTH` characters of each kind that a stage may stumble over."""
    random = np.random.default_rng(1)
    new = random.integers(0, 26, (LENGTH // 8, 7)).astype(np.uint8) + ord("a")
    chinese = random.integers(0x4E00, 0x9FFF, LENGTH).astype(np.uint32).tobytes()
    return {
        "words": " ".join(random.choice(WORDS, LENGTH // 5))[:LENGTH],
        "new-words": " ".join(map(bytes.decode, map(bytes, new))),
        "one-word": "".join(map(bytes.decode, map(bytes, new)))[:LENGTH],
        "same-letter": "a" * LENGTH,
        "hyphens": "a-" * (LENGTH // 2),
        "dots": "a." * (LENGTH // 2),
        "chinese": chinese.decode("utf-32-le"),
        "line-ends": "\n" * (LENGTH - 4) + "free",
        "pictures": "👩🏽‍🚀😀" * (LENGTH // 5),
        "accents": "e" + "\u0301" * (LENGTH - 1),
    }


def make_log(text: str | None) -> pa.Table:
    """Return 3,000 rows of short texts, and one more with ``text`` if it is given."""
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(WORDS, 6)) + f" {i % 97}" for i in range(ROWS)]
    free = np.array([short.count("free") for short in texts], dtype=float)
    week = random.integers(0, 30, ROWS)
    cost = random.normal(size=ROWS)
    price = cost + 0.5 * free + random.normal(scale=0.5, size=ROWS)
    noise = random.normal(scale=0.3, size=ROWS)
    columns = {
        "text": texts,
        "y": free + price + 0.1 * week + noise,
        "price": price,
        "week": [f"w{number:02d}" for number in week],
        "cost": cost,
        "clicks": random.binomial(1000, np.clip(0.05 + 0.02 * free, 0, 1)),
        "shown": np.full(ROWS, 1000),
        "test": [f"test {i // 4}" for i in range(ROWS)],
        "aim": [("helpful", "harmless")[i % 2] for i in range(ROWS)],
        "p": np.full(ROWS, 0.1),
    }
    table = pa.table(columns)
    if text is None:
        return table
    last = table.slice(ROWS - 1).set_column(0, "text", pa.array([text]))
    return pa.concat_tables([table, last])


def read(path: Path, **roles: object) -> ca.Logs:
    """Return the log beside ``path`` with roles."""
    return ca.Logs.read(path, ca.Roles(**(roles or BASE)))


def fit_reward(path: Path, encoder: str = "hashing", **settings: object) -> object:
    """Fit a reward of some method and return it."""
    pairs = settings["method"] in ("pairwise", "within-tests")
    roles = GROUPED if pairs else BASE
    return ca.reward.choose(settings).fit(read(path, **roles), encoder)


def deconfound(name: str) -> Callable[[Path], object]:
    """Return the stage that deconfounds with a method."""

    def run(path: Path) -> object:
        method = ca.deconfound.METHODS[name]
        known = method.__dataclass_fields__
        settings = {"epochs": 3} if "epochs" in known else {}
        logs = read(path, **BASE, instruments=("cost",))
        if "instrument" in method.__doc__:
            logs = read(path, **{**BASE, "confounders": ("price",)}, instruments=("cost",))
        return ca.deconfound.adjust_logs(method(**settings), logs, "hashing")

    return run


def reward(method: str, encoder: str = "hashing", **settings: object) -> Callable[[Path], object]:
    """Return the stage that fits a reward and predicts with it."""

    def run(path: Path) -> object:
        fit = fit_reward(path, encoder, method=method, **settings)
        return fit.model.predict(read(path).completions)

    return run


def encode(name: str) -> Callable[[Path], object]:
    """Return the stage that encodes the texts, learning the encoder first where it learns."""

    def run(path: Path) -> object:
        return ca.lm.embed_logs(read(path), name)

    return run


def call(*arguments: str) -> None:
    """Call the command line; what it prints is not shown."""
    from causalign.cli import main

    try:
        main(list(arguments))
    except SystemExit as ended:
        if ended.code:
            raise


def run_recipe(path: Path) -> object:
    """Run a recipe from the log to its report, and say how long the pages are."""
    roles = {**GROUPED, "confounders": ["price", "week"]}
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "name": "long",
            "data": {"path": str(path), "roles": roles},
            "encoder": "style",
            "deconfound": {"method": "additive"},
            "reward": {"method": "ridge"},
            "evaluate": {"pairs_by": ["test"], "markers": ["free"]},
        }
        recipe = Path(folder) / "pipeline.yaml"
        recipe.write_text(yaml.safe_dump(settings), encoding="utf-8")
        run = ca.pipeline.run(ca.recipe.load(recipe), Path(folder) / "run", say=len).folder
        return [page.stat().st_size for page in run.rglob("report.*")]


def design(path: Path) -> object:
    """Design the next tests with a reward of the log."""
    logs = read(path, **GROUPED)
    model = ca.reward.WithinTests().fit(logs, "hashing").model
    return ca.experiment.design(logs, model, tests=4, readers=50)


def minimal_pairs(path: Path) -> object:
    """Edit every text so that one marker comes or goes."""
    texts = ca.experiment.Candidates.distinct(read(path).completions).texts
    return ca.experiment.make_minimal_pairs(texts, ["free", "!"])


def diagnostics(path: Path) -> object:
    """Judge a reward: calibration, dependence on confounders, payments for markers, pairs."""
    logs = read(path, **GROUPED)
    model = ca.reward.Ridge().fit(logs, "style").model
    return (
        ca.reward.diagnose(
            model.predict(logs.completions), logs.outcome, confounders=logs.confounders
        ),
        ca.evaluate.held_out(
            {"a": model, "b": model}, pairs=logs.pairs(), logs=logs, train=logs, markers=("free",)
        ),
    )


def worth(path: Path) -> object:
    """Ask what the log is worth beside experiments with the same texts."""
    logs = read(path)
    tests = read(path, completion="text", outcome="y", group="test")
    return (
        ca.evaluate.worth(logs, tests, "style"),
        ca.evaluate.bias_of_log(logs, tests, "style"),
    )


def policy_texts(path: Path) -> object:
    """Compare what policies write."""
    texts = read(path).completions
    shares = ca.evaluate.marker_shares(texts, texts[::-1], ["free", "today"])
    return shares, ca.evaluate.measure_diversity({"a": texts, "b": texts[::-1]})


def tokenise(path: Path) -> object:
    """Turn texts, each also as its prompt, into the tokens that a policy learns from."""
    from transformers import AutoTokenizer

    from causalign.lm.completions import tokenize
    from causalign.lm.transformer_encoder import minilm_folder

    texts = read(path).completions
    tokenizer = AutoTokenizer.from_pretrained(minilm_folder())
    tokenizer.eos_token = "[SEP]"
    return tokenize(tokenizer, texts, texts, max_length=128)


STAGES: dict[str, Callable[[Path], object]] = {
    "read parquet": lambda path: read(path),
    "read csv": lambda path: read(path.with_suffix(".csv")),
    "read jsonl": lambda path: read(path.with_suffix(".jsonl")),
    "of pandas": lambda path: ca.Logs.of(
        pa.parquet.read_table(path).to_pandas(), ca.Roles(**GROUPED)
    ),
    "of lists": lambda path: ca.Logs.of(
        pa.parquet.read_table(path).to_pydict(), ca.Roles(**GROUPED)
    ),
    "guess roles": lambda path: ca.logs.guess_roles(pa.parquet.read_table(path)),
    "describe": lambda path: repr(read(path)) + read(path)._repr_html_(),
    "save": lambda path: read(path).save(path.parent / "saved"),
    "pairs": lambda path: read(path, **GROUPED).pairs(),
    "stories": lambda path: ca.logs.find_stories(read(path, **GROUPED)),
    "doctor": lambda path: call("doctor", "--logs", str(path)),
    "doctor csv": lambda path: call("doctor", "--logs", str(path.with_suffix(".csv"))),
    "init": lambda path: call("init", str(path), "--out", str(path.parent / "made")),
    "tfidf": encode("tfidf"),
    "hashing": encode("hashing"),
    "style": encode("style"),
    "hashing+style": encode("hashing+style"),
    "minilm": encode("minilm"),
    "policy tokens": tokenise,
    "audit": lambda path: ca.audit.audit_logs(read(path, **GROUPED), "hashing"),
    "markers": lambda path: ca.audit.audit_markers(read(path)),
    "markers tests": lambda path: ca.audit.audit_markers(read(path, **GROUPED), sentiment=True),
    **{f"deconfound {name}": deconfound(name) for name in ca.deconfound.METHODS},
    "reward ridge": reward("ridge"),
    "reward ridge tfidf": reward("ridge", "tfidf"),
    "reward pairwise": reward("pairwise"),
    "reward within": reward("within-tests"),
    "reward network": reward("perceptron", training={"epochs": 3}),
    "confounder in text": lambda path: ca.reward.ConfounderInText().fit(
        read(path, **{**BASE, "confounders": ("price",)}), "hashing"
    ),
    "diagnostics": diagnostics,
    "worth": worth,
    "design": design,
    "minimal pairs": minimal_pairs,
    "policy texts": policy_texts,
    "recipe": run_recipe,
}


def measure(stage: str, path: str) -> None:
    """Run one stage and print its time in seconds of the processor and its peak memory."""
    started = time.process_time()
    STAGES[stage](Path(path))
    took = time.process_time() - started
    # Not ru_maxrss, which a child inherits from its parent.
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    peak = next(line for line in status if line.startswith("VmHWM")).split()[1]
    print(f"\n{took} {int(peak) / 1024}")


def run_stage(stage: str, path: Path) -> str:
    """Run one stage in a process of its own; return its time and memory, or why it failed."""
    command = [sys.executable, __file__, "--stage", stage, str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired:
        return "over 300 s"
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["killed"])[-1][:110]
    took, peak = map(float, done.stdout.strip().splitlines()[-1].split())
    return f"{took:6.1f} s {peak:6.0f} MB"


def long_text(kinds: list[str], stages: list[str]) -> None:
    """Print time and memory of each stage without the text, and with one of each kind."""
    texts = {"without": None, **make_texts()}
    with tempfile.TemporaryDirectory() as folder:
        for kind in kinds:
            place = Path(folder) / kind
            place.mkdir()
            table = make_log(texts[kind])
            pa.parquet.write_table(table, place / "log.parquet")
            pa.csv.write_csv(table, place / "log.csv")
            table.to_pandas().to_json(place / "log.jsonl", orient="records", lines=True)
        for stage in stages:
            print(f"{stage:32}", end="", flush=True)
            for kind in kinds:
                print(f"{run_stage(stage, Path(folder) / kind / 'log.parquet'):>20}", end="")
                sys.stdout.flush()
            print()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", default=["without", *KINDS])
    parser.add_argument("--stages", nargs="*", default=list(STAGES))
    parser.add_argument("--stage", nargs=1)
    given = parser.parse_args()
    if given.stage:
        measure(given.stage[0], given.kinds[0])
    else:
        long_text(given.kinds, given.stages)
