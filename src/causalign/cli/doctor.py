"""``causalign doctor``: is everything there that the work needs?"""

import os
import shutil
from importlib.util import find_spec

import typer

from causalign import artifacts, lm
from causalign.cli.output import show_findings
from causalign.errors import CausalignError
from causalign.lm.cache import default_cache_folder
from causalign.lm.smollm2 import gguf_file
from causalign.results import Finding, Verdict

GIGABYTE = 1 << 30
MEGABYTE = 1 << 20
NEEDED_DISK = 2


def command() -> None:
    """Check Python, packages, the embedded models, the cache and the disk.

    Example: `causalign doctor`
    """
    findings = (_packages(), _encoder(), _language_model(), _cache(), _disk(), _cores())
    show_findings(findings)
    if any(f.verdict is Verdict.FAIL for f in findings):
        raise typer.Exit(1)


def _packages() -> Finding:
    told = ", ".join(f"{name} {number}" for name, number in artifacts.versions().items())
    return Finding("DR101", "Versions", Verdict.PASS, told)


def _encoder() -> Finding:
    try:
        encoder = lm.load_encoder("minilm")
        vector = lm.embed(["one sentence to try it"], encoder, cache=None).vectors
    except CausalignError as error:
        return Finding("DR102", "Text encoder", Verdict.WARN, str(error))
    told = f"{encoder.name} gives vectors of {vector.shape[1]} numbers."
    return Finding("DR102", "Text encoder", Verdict.PASS, told)


def _language_model() -> Finding:
    title = "Language model"
    try:
        size = gguf_file().stat().st_size
    except CausalignError as error:
        return Finding("DR106", title, Verdict.WARN, str(error))
    missing = [name for name in ("torch", "transformers", "gguf") if find_spec(name) is None]
    if missing:
        told = f"smollm2 needs {', '.join(missing)}: `pip install 'causalign[lm]'`."
        return Finding("DR106", title, Verdict.WARN, told)
    told = f"smollm2 is there ({size / MEGABYTE:.0f} MB); its first use writes 540 MB to the cache."
    return Finding("DR106", title, Verdict.PASS, told)


def _cache() -> Finding:
    folder = default_cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    return Finding(
        "DR103",
        "Cache",
        Verdict.PASS if writable else Verdict.FAIL,
        f"{folder} is {'writable' if writable else 'not writable: set CAUSALIGN_CACHE'}.",
    )


def _disk() -> Finding:
    free = shutil.disk_usage(".").free / GIGABYTE
    return Finding(
        "DR104",
        "Disk",
        Verdict.PASS if free > NEEDED_DISK else Verdict.WARN,
        f"{free:.0f} GB free here; a run needs up to {NEEDED_DISK}.",
    )


def _cores() -> Finding:
    return Finding("DR105", "Processor", Verdict.PASS, f"{os.cpu_count()} cores.")
