"""``causalign doctor``: is everything there that the work needs?"""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec

import typer

import causalign as ca
from causalign.cli.output import show_findings

GIGABYTE = 1 << 30
MEGABYTE = 1 << 20
NEEDED_DISK = 2


def command() -> None:
    """Check Python, packages, the embedded models, the cache and the disk.

    Example: `causalign doctor`
    """
    findings = (_packages(), _encoder(), _language_model(), _cache(), _disk(), _cores())
    show_findings(findings)
    if any(f.verdict is ca.results.Verdict.FAIL for f in findings):
        raise typer.Exit(1)


def _packages() -> ca.results.Finding:
    message = ", ".join(f"{name} {number}" for name, number in ca.artifacts.versions().items())
    return ca.results.Finding("DR101", "Versions", ca.results.Verdict.PASS, message)


def _encoder() -> ca.results.Finding:
    try:
        encoder = ca.lm.load_encoder("minilm")
        vector = ca.lm.embed(["one sentence to try it"], encoder, cache=None).vectors
    except ca.errors.CausalignError as error:
        return ca.results.Finding("DR102", "Text encoder", ca.results.Verdict.WARN, str(error))
    message = f"{encoder.name} gives vectors of {vector.shape[1]} numbers."
    return ca.results.Finding("DR102", "Text encoder", ca.results.Verdict.PASS, message)


def _language_model() -> ca.results.Finding:
    title = "Language model"
    try:
        size = ca.lm.gguf_file().stat().st_size
    except ca.errors.CausalignError as error:
        return ca.results.Finding("DR106", title, ca.results.Verdict.WARN, str(error))
    missing = [name for name in ("torch", "transformers", "gguf") if find_spec(name) is None]
    if missing:
        message = f"smollm2 needs {', '.join(missing)}: `pip install 'causalign[lm]'`."
        return ca.results.Finding("DR106", title, ca.results.Verdict.WARN, message)
    message = (
        f"smollm2 is there ({size / MEGABYTE:.0f} MB); its first use writes 540 MB to the cache."
    )
    return ca.results.Finding("DR106", title, ca.results.Verdict.PASS, message)


def _cache() -> ca.results.Finding:
    folder = ca.lm.default_cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    return ca.results.Finding(
        "DR103",
        "Cache",
        ca.results.Verdict.PASS if writable else ca.results.Verdict.FAIL,
        f"{folder} is {'writable' if writable else 'not writable: set CAUSALIGN_CACHE'}.",
    )


def _disk() -> ca.results.Finding:
    free = shutil.disk_usage(".").free / GIGABYTE
    return ca.results.Finding(
        "DR104",
        "Disk",
        ca.results.Verdict.PASS if free > NEEDED_DISK else ca.results.Verdict.WARN,
        f"{free:.0f} GB free here; a run needs up to {NEEDED_DISK}.",
    )


def _cores() -> ca.results.Finding:
    return ca.results.Finding(
        "DR105", "Processor", ca.results.Verdict.PASS, f"{os.cpu_count()} cores."
    )
