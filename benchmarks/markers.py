"""Are planted markers found and innocent ones left alone? And how long do 100,000 rows take?

    python benchmarks/markers.py draws --draws 100 --keep runs/markers.jsonl
    python benchmarks/markers.py speed --rows 100000
    python benchmarks/markers.py audit --rows 100000 --encoder hashing
    python benchmarks/markers.py logs
    python benchmarks/markers.py scale --sizes 20000 100000 1000000
    python benchmarks/markers.py candidates --rows 20000

In real texts (hacker_news, news, pizza_requests of CAUSALIGN_DATA) "Happy Monday!" is put before
80 % of the texts of a Monday and 2 % of the others; weekdays are drawn at random, and Mondays add
``strength`` standard deviations to the outcome. Markers that planting does not change are innocent:
they do not travel with the weekday. Once with the outcome as logged, once with it shuffled, where
no text does anything and every discovery of the naive test is false.
"""

import argparse
import json
import multiprocessing
import os
import resource
import tempfile
import time
from collections import defaultdict
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import sparse
from sklearn.feature_extraction.text import HashingVectorizer

from causalign import Logs, Roles
from causalign.audit import audit_markers, audit_with_markers
from causalign.audit.vocabulary import text_markers
from causalign.cli import main
from causalign.logs import scan_logs
from causalign.stats.confounder_part import confounder_part
from causalign.stats.estimates import q_values
from causalign.stats.fold_ridge import FoldRidge
from causalign.stats.folds import group_folds
from causalign.stats.marker_effects import marker_effects

FILES = {
    "hacker_news": ("title", lambda t: np.log1p(t["num_points"].to_numpy().astype(float))),
    "news": (
        "title",
        lambda t: np.array([np.log1p(len(a or "")) for a in t["abstract"].to_pylist()]),
    ),
    "pizza_requests": (
        "request_text",
        lambda t: np.array([str(v) == "true" for v in t["requester_received_pizza"].to_pylist()]),
    ),
}
STRENGTHS = (0.1, 0.2, 0.3, 0.5, 1.0)
ROWS = 4000
RARE = 20
MARKER = "Happy Monday! "
LEVEL = 0.05


def read(name: str) -> tuple[list[str], np.ndarray]:
    """Return texts and the outcome in standard deviations, of 4,000 rows at most."""
    column, outcome = FILES[name]
    table = pq.read_table(Path(os.environ["CAUSALIGN_DATA"]) / f"{name}.parquet")
    y = np.asarray(outcome(table), dtype=float)
    texts = [str(text or "") for text in table[column].to_pylist()]
    rows = np.random.default_rng(0).permutation(len(y))[:ROWS]
    return [texts[i] for i in rows], (y[rows] - y[rows].mean()) / y[rows].std()


def both_ways(texts: list[str]) -> tuple[tuple[str, ...], sparse.csr_array, sparse.csr_array]:
    """Return the names of all markers, and their columns without and with the greeting."""
    n = len(texts)
    found = text_markers([*texts, *(MARKER + text for text in texts)], rare=RARE, most=4000)
    rows = sparse.csr_array(found.columns)
    return found.names, rows[:n], rows[n:]


def text_vectors(texts: list[str]) -> np.ndarray:
    """Return 100 directions of the words of each text."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    counted = TfidfVectorizer(min_df=5, sublinear_tf=True).fit_transform(texts)
    return TruncatedSVD(100, random_state=0).fit_transform(counted)


def draw(
    seed: int,
    y: np.ndarray,
    markers: tuple,
    vectors: np.ndarray,
    arm: str,
    strengths: tuple[float, ...],
) -> list[dict]:
    """Return what one draw gave, for every strength."""
    names, plain, planted = markers
    generator = np.random.default_rng(seed)
    n = len(y)
    day = generator.integers(7, size=n)
    greeted = generator.random(n) < np.where(day == 0, 0.8, 0.02)
    base = generator.permutation(y) if arm == "shuffled" else y
    pick = sparse.diags_array(greeted * 1.0)
    columns = sparse.csc_array(plain + pick @ (planted - plain))
    changed = np.diff(sparse.csc_array(abs(planted - plain) > 1e-9).indptr) > 0
    texts = np.diff(columns.indptr)
    kept = np.flatnonzero((texts >= RARE) & ((texts <= n - RARE) | (texts == n)))
    X, innocent = columns[:, kept], ~changed[kept]
    greeting = int(np.flatnonzero(np.array(names)[kept] == "happy monday")[0])
    features = np.where(greeted[:, None], vectors[n:], vectors[:n])
    text = FoldRidge.of(features, group_folds(n, 5, seed))
    basis = (day[:, None] == np.arange(7)) * 1.0
    found = []
    for strength in strengths:
        outcome = base + strength * (day == 0)
        part = confounder_part(outcome, basis, text=text)
        effects = marker_effects(X, outcome, part)
        called = q_values(effects.distance.p_value) <= LEVEL
        naive = q_values(effects.naive.p_value) <= LEVEL
        after = q_values(effects.deconfounded.p_value) <= LEVEL
        found.append(
            {
                "arm": arm,
                "seed": seed,
                "strength": strength,
                "tested": len(kept),
                "innocent": int(innocent.sum()),
                "found": bool(called[greeting]),
                "false": int((called & innocent).sum()),
                "called": int(called.sum()),
                "naive greeting": bool(naive[greeting]),
                "naive called": int(naive.sum()),
                "after greeting": bool(after[greeting]),
                "after called": int(after.sum()),
                "small p": float((effects.distance.p_value[innocent] < 0.05).mean()),
            }
        )
    return found


def draws(count: int, keep: Path) -> None:
    """Make the draws that the file lacks, then print the table."""
    keep.parent.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in keep.read_text().splitlines()] if keep.exists() else []
    done = {(r["file"], r["arm"], r["seed"], r["strength"]) for r in rows}
    for name in FILES:
        wanted = {
            (arm, seed): tuple(x for x in STRENGTHS if (name, arm, seed, x) not in done)
            for seed in range(count)
            for arm in ("logged", "shuffled")
        }
        if not any(wanted.values()):
            continue
        texts, y = read(name)
        markers, vectors = both_ways(texts), text_vectors([*texts, *(MARKER + t for t in texts)])
        for (arm, seed), left in wanted.items():
            new = [{"file": name, **r} for r in draw(seed, y, markers, vectors, arm, left)]
            with keep.open("a") as file:
                file.writelines(json.dumps(r) + "\n" for r in new)
            rows += new
    show(rows)


def show(rows: list[dict]) -> None:
    """Print a line for each file, arm and strength."""
    groups = defaultdict(list)
    for r in rows:
        groups[r["file"], r["arm"], r["strength"]].append(r)
    print("| texts | outcome | strength | draws | innocent | power | false discoveries | "
          "innocent p < .05 | naive calls the greeting | deconfounded calls it | "
          "naive discoveries | deconfounded discoveries |")  # fmt: skip
    print("| --- " * 12 + "|")
    for (name, arm, strength), group in sorted(groups.items()):
        mean = lambda f: float(np.mean([f(r) for r in group]))  # noqa: B023, E731
        print(
            f"| {name} | {arm} | {strength} | {len(group)} | {mean(lambda r: r['innocent']):.0f} | "
            f"{mean(lambda r: r['found']):.2f} | "
            f"{mean(lambda r: r['false'] / max(r['called'], 1)):.4f} | "
            f"{mean(lambda r: r['small p']):.3f} | {mean(lambda r: r['naive greeting']):.2f} | "
            f"{mean(lambda r: r['after greeting']):.2f} | "
            f"{mean(lambda r: r['naive called']):.1f} | "
            f"{mean(lambda r: r['after called']):.1f} |"
        )


def real_logs() -> dict[str, Logs]:
    """Return four observational logs with the confounders that they record."""

    def table(name: str) -> pd.DataFrame:
        return pd.read_parquet(Path(os.environ["CAUSALIGN_DATA"]) / f"{name}.parquet")

    toronto = table("airbnb_toronto").dropna(subset=["name", "price"])
    toronto["reviews"] = np.log1p(toronto["number_of_reviews_ltm"])
    bristol = table("airbnb_bristol").dropna(subset=["name", "description", "price"])
    bristol["text"] = bristol["name"] + ". " + bristol["description"]
    bristol["price"] = bristol["price"].str.replace(r"[$,]", "", regex=True).astype(float)
    bristol["days"] = bristol["estimated_occupancy_l365d"].astype(float)
    pizza = table("pizza_requests")
    pizza["text"] = pizza["request_title"].fillna("") + " " + pizza["request_text"].fillna("")
    pizza["pizza"] = (pizza["requester_received_pizza"].astype(str) == "true") * 1.0
    when = pd.to_datetime(pizza["unix_timestamp_of_request_utc"], unit="s")
    pizza["hour"], pizza["month"] = when.dt.hour.astype(str), when.dt.strftime("%Y-%m")
    pizza["karma"] = pizza["requester_upvotes_minus_downvotes_at_request"]
    pizza["age"] = pizza["requester_account_age_in_days_at_request"]
    hacker = table("hacker_news")
    hacker["points"] = np.log1p(hacker["num_points"])
    when = pd.to_datetime(hacker["created_at"], format="%m/%d/%Y %H:%M")
    hacker["hour"], hacker["weekday"] = when.dt.hour.astype(str), when.dt.day_name()
    hacker["month"] = when.dt.strftime("%Y-%m")
    place = ("price", "room_type", "neighbourhood")
    home = ("price", "room_type", "accommodates", "neighbourhood_cleansed")
    return {
        "airbnb_toronto": Logs.of(
            toronto, Roles("name", "reviews", confounders=place, cluster="host_id")
        ),
        "airbnb_bristol": Logs.of(bristol, Roles("text", "days", confounders=home)),
        "pizza_requests": Logs.of(
            pizza, Roles("text", "pizza", confounders=("hour", "month", "karma", "age"))
        ),
        "hacker_news": Logs.of(
            hacker, Roles("title", "points", confounders=("hour", "weekday", "month"))
        ),
    }


def logs() -> None:
    """Print what the audit finds in real logs, and what becomes of words that one asks about."""
    asked = ("affordable", "luxury", "cozy", "please", "thank", "show hn", "ask hn")
    for name, log in real_logs().items():
        found = audit_markers(log, text_features=text_vectors(log.completions))
        print(f"\n## {name}: {len(log):,} rows, {log.roles.confounders}\n{found.answer()}")
        rows = found.table().to_pylist()
        for i, r in enumerate(rows):
            words = {r["marker"], *r["variants"].split(", ")}
            if i in found.leads[:12] or words & set(asked):
                told = [
                    f"{column} {r[column]:+.3f} [{r[column + ' lower']:+.3f} "
                    f"{r[column + ' upper']:+.3f}]"
                    for column in ("naive", "deconfounded", "alone")
                ]
                print(f"{r['marker']:28} {r['texts']:6} {'; '.join(told)}; q {r['q']:.2g}")


def speed(rows: int) -> None:
    """Audit a log of ``rows`` texts, each two titles of hacker_news, and print the seconds.

    The text features are random numbers, as many as the default encoder has: what it takes to
    encode the texts is another benchmark's.
    """
    table = pq.read_table(Path(os.environ["CAUSALIGN_DATA"]) / "hacker_news.parquet")
    titles = table["title"].to_pylist()
    generator = np.random.default_rng(0)
    pairs = generator.integers(len(titles), size=(rows, 2))
    log = {
        "title": [f"{titles[a]} {titles[b]}" for a, b in pairs],
        "y": generator.normal(size=rows),
        "day": generator.integers(7, size=rows),
    }
    roles = Roles("title", "y", confounders=("day",), categorical=("day",))
    logs = Logs.of(pa.table(log), roles)
    for width in (0, 384):
        features = generator.normal(size=(rows, width)) if width else None
        started, used = time.perf_counter(), time.process_time()
        found = audit_markers(logs, text_features=features, progress=True)
        print(
            f"{rows:,} rows, {len(found.markers)} markers, {width} text features: "
            f"{time.perf_counter() - started:.0f} s, {time.process_time() - used:.0f} s of "
            f"processors, peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB"
        )


def audit_at_the_command_line(rows: int, encoder: str) -> None:
    """Run `causalign audit` and `causalign report` on ``rows`` texts; print seconds and sizes.

    Each text is two titles of hacker_news, on Mondays often after the greeting; weekday, hour and
    price are confounders, 20,000 authors are clusters, and the time spans two years.
    """
    titles = pq.read_table(Path(os.environ["CAUSALIGN_DATA"]) / "hacker_news.parquet")["title"]
    generator = np.random.default_rng(0)
    day, hour = generator.integers(7, size=rows), generator.integers(24, size=rows)
    days = generator.integers(0, 104, rows) * 7 + day
    when = np.datetime64("2024-01-01T00:00") + 60 * (24 * days + hour).astype("timedelta64[m]")
    greeted = generator.random(rows) < np.where(day == 0, 0.8, 0.02)
    pairs = generator.integers(len(titles), size=(rows, 2))
    known = titles.to_pylist()
    log = {
        "title": [
            MARKER * int(g) + f"{known[a]} {known[b]}"
            for g, (a, b) in zip(greeted, pairs, strict=True)
        ],
        "points": generator.normal(size=rows) + 0.5 * (day == 0),
        "weekday": day.astype(str),
        "hour": hour.astype(str),
        "price": generator.gamma(2, size=rows),
        "author": generator.integers(20_000, size=rows),
        "when": when.astype("datetime64[us]"),
    }
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        pq.write_table(pa.table(log), place / "logs.parquet")
        roles = ["--completion", "title", "--outcome", "points", "--cluster", "author", "--time"]
        roles += ["when", "--confounder", "weekday", "--confounder", "hour", "--confounder"]
        kept = ["--encoder", encoder, "--out", str(place / "run" / "1-audit")]
        started, used = time.perf_counter(), time.process_time()
        for arguments in (
            ["audit", str(place / "logs.parquet"), *roles, "price", *kept],
            ["report", str(place / "run")],
        ):
            try:
                main(arguments)
            except SystemExit as done:
                print(f"{arguments[0]}: exit {done.code}")
        page = next((place / "run").rglob("*.html"))
        print(
            f"{rows:,} rows, {len(set(log['title'])):,} distinct texts, {encoder}: "
            f"{time.perf_counter() - started:.0f} s, {time.process_time() - used:.0f} s of "
            f"processors, peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB, "
            f"report {page.stat().st_size / 1e6:.2f} MB"
        )


def short_texts(rows: int, shortest: int = 6, longest: int = 15) -> pa.Table:
    """Return short texts of Zipf's words, 1,000 weeks of which some are busy, and a price.

    "Happy Monday!" travels with every seventh week.
    """
    generator = np.random.default_rng(0)
    words = np.array([f"w{i}" for i in range(20_000)], dtype=object)
    share = 1 / np.arange(10, len(words) + 10)
    lengths = generator.integers(shortest, longest + 1, rows)
    drawn = words[generator.choice(len(words), lengths.sum(), p=share / share.sum())].tolist()
    week, price = generator.integers(0, 1000, rows), generator.normal(size=rows)
    busy = week % 7 == 0
    greeted = generator.random(rows) < 0.2 + 0.6 * busy
    ends = np.cumsum(lengths).tolist()
    texts = [
        MARKER * bool(g) + " ".join(drawn[a:b]) + "."
        for g, a, b in zip(greeted, [0, *ends], ends, strict=False)
    ]
    outcome = 0.5 * busy + 0.2 * price + generator.normal(size=rows)
    weeks = [f"week {k}" for k in week]
    return pa.table({"text": texts, "y": outcome, "week": weeks, "price": price})


def audit_short_texts(path: str, send: Connection) -> None:
    """Audit a file with markers and send seconds of the clock and of processors, and the peak."""
    roles = Roles("text", "y", confounders=("week", "price"))
    started, used = time.perf_counter(), time.process_time()
    logs = scan_logs(path, roles)
    section = audit_with_markers(logs, "hashing+style")
    took = time.perf_counter() - started, time.process_time() - used
    counted, texts = time.process_time(), pq.read_table(path)["text"].to_pylist()
    HashingVectorizer(ngram_range=(1, 2)).transform(texts)
    counted = time.process_time() - counted
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    send.send((*took, counted, peak, section.numbers["markers tested"]))


def scale(sizes: list[int]) -> None:
    """Audit with markers at several sizes, each in a process of its own; print time and memory.

    Beside it stands what scikit-learn takes to count the same words and pairs of words, once.
    """
    before = None
    for rows in sizes:
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "logs.parquet")
            pq.write_table(short_texts(rows), path)
            receive, send = multiprocessing.Pipe(duplex=False)
            child = multiprocessing.get_context("spawn").Process(
                target=audit_short_texts, args=(path, send)
            )
            child.start()
            clock, used, counted, peak, markers = receive.recv()
            child.join()
        exponent = np.nan if before is None else np.log(used / before[1]) / np.log(rows / before[0])
        before = rows, used
        print(
            f"{rows:>9,} rows, {markers} markers: {clock:.0f} s, {used:.0f} s of processors, "
            f"{used / counted:.1f} times HashingVectorizer's, peak {peak:.2f} GB, time grows as "
            f"rows to the {exponent:.2f}",
            flush=True,
        )


def candidates(rows: int) -> None:
    """Test every word and phrase that two texts hold, up to 100,000."""
    texts = short_texts(rows, shortest=30, longest=90)
    logs = Logs.of(texts, Roles("text", "y", confounders=("week", "price")))
    features = np.random.default_rng(1).normal(size=(rows, 24))
    started, used = time.perf_counter(), time.process_time()
    found = audit_markers(logs, text_features=features, rare=2, most=100_000, progress=True)
    tested = len(found.markers) + sum(map(len, found.markers.variants))
    print(
        f"{rows:,} rows, {tested:,} candidates, {len(found.markers):,} told apart, "
        f"{len(found.spurious)} spurious: {time.perf_counter() - started:.0f} s, "
        f"{time.process_time() - used:.0f} s of processors, "
        f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB"
    )
    print(found.answer())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["draws", "speed", "audit", "logs", "scale", "candidates"])
    parser.add_argument("--sizes", type=int, nargs="*", default=[20_000, 100_000, 1_000_000])
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--keep", type=Path, default=Path("runs/markers.jsonl"))
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--encoder", default="hashing")
    given = parser.parse_args()
    if given.what == "draws":
        draws(given.draws, given.keep)
    elif given.what == "speed":
        speed(given.rows)
    elif given.what == "scale":
        scale(given.sizes)
    elif given.what == "candidates":
        candidates(given.rows)
    elif given.what == "audit":
        audit_at_the_command_line(given.rows, given.encoder)
    else:
        logs()
