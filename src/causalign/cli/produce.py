"""What every verb does at its end: do the work once, keep it in a folder, show it."""

from __future__ import annotations

import glob
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import typer

import causalign as ca
from causalign.cli.output import note, say_path, show_section

# Parameters that name what is read: what it holds counts, not where it lies.
READ = (
    *("candidates", "data", "encoder", "experiments", "files", "judge", "logs", "models"),
    *("pairs", "prompts", "reward_model", "samples", "written"),
)
# What may hold a password, and is not stored.
SECRET = ("judge_command", "writer_command")


def require_writable(out: Path | None, *inputs: str | Path | None) -> None:
    """Refuse an output folder that cannot be written or holds the inputs, before the work."""
    if out is not None:
        ca.artifacts.require_writable(out)
        ca.artifacts.require_apart(out, *inputs)
        ca.artifacts.require_free(out)


def produce(
    context: typer.Context,
    work: Callable[[Path], tuple[ca.results.Section, Callable[[Path], object] | None]],
    out: Path | None = None,
    *,
    strict: bool = False,
    shown: Callable[[ca.results.Section], ca.results.Section] = lambda section: section,
    closing: Callable[[], Mapping[str, Sequence[Path]]] = dict,
) -> ca.results.Section:
    """Do the work of a verb, keep it in the folder that was asked for, and show it.

    A folder that holds the same work already is read instead; one that holds other work is refused
    before anything costly runs. ``work`` gets a place of its own for what a killed command goes on
    from, and gives the section and what writes everything else. ``shown`` makes of a section what
    the terminal has room for, ``closing`` tells where things lie, by what they are. Exits with 1
    if ``strict`` asks so. Of several processes the main one reads and writes.
    """
    once = ca.lm.run_once
    if out is None:
        section = work(Path())[0]
    else:
        key = _fingerprint(context)
        place = out.parent / f".{out.name}.training-{key}"
        if once(lambda: _holds(out, key)):
            section = once(lambda: ca.artifacts.read_stage(out))
            once(lambda: note("done before"))
        else:
            section, payload = work(place)
            once(lambda: _write(context, out, section, key, payload))
        once(lambda: shutil.rmtree(place, ignore_errors=True))
    once(lambda: _show(section, shown(section), closing()))
    if strict and ca.results.worst(section.findings) is ca.results.Verdict.FAIL:
        raise typer.Exit(1)
    return section


def _holds(out: Path, key: str) -> bool:
    ca.files.remove_partial(out.parent, out.name)
    return ca.artifacts.is_done(out, key, replace=False)


def _write(
    context: typer.Context,
    out: Path,
    section: ca.results.Section,
    key: str,
    payload: Callable[[Path], object] | None,
) -> None:
    ca.artifacts.require_free(out)
    ca.artifacts.is_done(out, key, replace=False)  # another command may have written meanwhile
    asked = {n: _show_source(v) for n, v in _parameters(context).items() if n not in SECRET}
    ca.artifacts.write_stage(out, section, key=key, settings=asked, payload=payload)


def _show(
    section: ca.results.Section,
    shown: ca.results.Section,
    closing: Mapping[str, Sequence[Path]],
) -> None:
    show_section(section, shown)
    for name, paths in closing.items():
        say_path(name, *paths)


def _parameters(context: typer.Context) -> dict[str, object]:
    """Return the arguments and options that decide what comes out, as they were given."""
    return {n: v for n, v in context.params.items() if n not in ("out", "strict", "to", "table")}


def _show_source(value: object) -> object:
    """Return a value as it may be stored: addresses without what may be secret in them."""
    if isinstance(value, ca.config.FilledPath):
        return value.written
    return ca.errors.hide_secrets(value) if isinstance(value, str) else value


def _fingerprint(context: typer.Context) -> str:
    """Return a hash of the verb, its options, and what the files and models that it names hold."""
    given = {name: _identify(value, name in READ) for name, value in _parameters(context).items()}
    given.pop("query", None)  # what it returned counts
    if "encoder" in given and given["encoder"] is None:
        given["encoder"] = ca.lm.default_encoder()  # which depends on what is installed
    version = ca.artifacts.versions()["causalign"]
    return ca.artifacts.fingerprint(context.command_path.split()[1:], given, version)


def _identify(value: object, is_read: bool) -> object:
    """Return the hash of the content in the place of a path that is read."""
    if isinstance(value, list | tuple):
        return [_identify(one, is_read) for one in value]
    if isinstance(value, str) and value.startswith(("model=", "adapter=")):
        name, _, path = value.partition("=")
        return [name, _identify(path, is_read=True)]
    if not is_read or not isinstance(value, str | Path):
        return value
    if isinstance(value, str) and len(blocks := ca.lm.split_blocks(value)) > 1:
        return [_identify(block, is_read) for block in blocks]
    if isinstance(value, str) and "://" in value:
        return ca.artifacts.hash_table(ca.logs.read_table(value))
    place = Path(value).expanduser()
    if place.exists():
        return ca.files.hash_content(place)
    matching = [Path(name) for name in sorted(glob.glob(str(value), recursive=True))]
    return [(path.name, ca.files.hash_content(path)) for path in matching] or str(value)
