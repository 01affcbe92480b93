"""Time the embedding of texts against sentence-transformers in the same run; print ratios.

python benchmarks/embedding.py [--texts 1000] [--repeat 3]

Three kinds of texts: headlines (Upworthy), prompts with answers (hh_rlhf), and a mixture. Each is
encoded by both with the same weights (all-MiniLM-L6-v2), taking turns, and the shortest time of
each counts: of the processor, which neighbours on the machine disturb less than the clock. Cosines
are to the vectors of sentence-transformers in float32.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import typer
from rich.console import Console
from rich.table import Table

from causalign.lm import EmbeddingCache, embed, load_encoder
from causalign.lm.transformer_encoder import minilm_folder

Encode = Callable[[list[str]], np.ndarray]
PEER = "sentence-transformers"


def kinds_of_texts(folder: Path, count: int, seed: int = 0) -> dict[str, list[str]]:
    """Draw distinct headlines, prompts with answers, and half of each."""
    rows = pq.read_table(folder / "upworthy.parquet", columns=["headline"])
    headlines = drawn(rows["headline"].to_pylist(), count, seed)
    pairs = pq.read_table(folder / "hh_rlhf_relabeled.parquet", columns=["prompt", "response_a"])
    joined = [f"{row['prompt']}\n\n{row['response_a']}" for row in pairs.to_pylist()]
    # A long text costs as much as ten headlines.
    long = drawn(joined, max(count // 8, 2), seed)
    mixed = [*headlines[: count // 2], *long[: len(long) // 2]]
    return {"headlines": headlines, "prompts with answers": long, "mixed": mixed}


def drawn(texts: Sequence[str], count: int, seed: int) -> list[str]:
    """Return some of the distinct texts, in random order."""
    distinct = list(dict.fromkeys(texts))
    rows = np.random.default_rng(seed).permutation(len(distinct))[:count]
    return [distinct[row] for row in rows]


def encoders() -> dict[str, Encode]:
    """Return the peer and ourselves, each in float32 and bfloat16, and our default."""
    import torch
    from sentence_transformers import SentenceTransformer

    def peer(dtype: torch.dtype) -> Encode:
        model = SentenceTransformer(
            str(minilm_folder()), device="cpu", model_kwargs={"torch_dtype": dtype}
        )
        return lambda texts: model.encode(
            texts, show_progress_bar=False, normalize_embeddings=True, convert_to_numpy=True
        ).astype(np.float32)

    return {
        PEER: peer(torch.float32),
        "causalign, as it comes": load_encoder("minilm", device="cpu").encode,
        "causalign, float32": load_encoder("minilm:float32", device="cpu").encode,
        f"{PEER}, bfloat16": peer(torch.bfloat16),
    }


def taking_turns(
    work: dict[str, Encode], texts: list[str], repeat: int
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Return the shortest of several times of each, in seconds, and the vectors."""
    best, vectors = dict.fromkeys(work, np.inf), {}
    for _ in range(repeat):
        for name, encode in work.items():
            started = time.process_time()
            vectors[name] = encode(texts)
            best[name] = min(best[name], time.process_time() - started)
    return best, vectors


def from_cache(texts: list[str]) -> float:
    """Return the time of the second embedding of the same texts, in seconds."""
    encoder = load_encoder("minilm", device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        embed(texts, encoder, EmbeddingCache(folder))
        started = time.process_time()
        again = embed(texts, encoder, EmbeddingCache(folder))
        spent = time.process_time() - started
    assert again.cached == len(texts)
    return spent


def main(texts: int = 1000, repeat: int = 3) -> None:
    """Compare with SentenceTransformer.encode as it comes (batches of 32, float32)."""
    try:
        import sentence_transformers  # noqa: F401
    except ImportError:
        print(f"{PEER} is not installed: `pip install --no-deps {PEER}`.")
        sys.exit(0)
    folder = os.environ.get("CAUSALIGN_DATA")
    if not folder:
        print("The environment variable CAUSALIGN_DATA names no folder of real data.")
        sys.exit(0)
    work = encoders()
    table = Table("texts", "encoder", "seconds", "times as fast", "smallest cosine", box=None)
    for kind, some in kinds_of_texts(Path(folder), texts).items():
        best, vectors = taking_turns(work, some, repeat)
        for name, seconds in best.items():
            cosine = float((vectors[name] * vectors[PEER]).sum(axis=1).min())
            ratio = best[PEER] / seconds
            table.add_row(kind, name, f"{seconds:.2f}", f"{ratio:.2f}", f"{cosine:.5f}")
        cached = from_cache(some)
        table.add_row(kind, "causalign, second time", f"{cached:.3f}", f"{best[PEER] / cached:.0f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    typer.run(main)
