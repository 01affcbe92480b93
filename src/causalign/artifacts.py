"""Folders of a run: one per stage, written whole or not at all, so that a killed run continues."""

import hashlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from filelock import FileLock, Timeout
from pydantic import TypeAdapter, ValidationError

from causalign.errors import ArtifactError
from causalign.files import (
    explain_failure,
    read_json,
    remove_partial,
    to_json,
    write_json,
    write_whole,
)
from causalign.results import Figure, Finding, Section, Verdict, file_stem

FORMAT = 1
_CHOOSE = "Choose another folder."
# What of a section is JSON as it is.
_PLAIN = ("stage", "question", "answer", "assumption", "numbers", "details")
RECORDED_PACKAGES = ("causalign", "numpy", "scipy", "scikit-learn", "pyarrow", "torch")


def open_run(folder: str | os.PathLike[str]) -> Path:
    """Make the run folder and prove that it can be written; raise `ArtifactError` if not."""
    path = Path(folder)
    require_writable(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(explain_failure(path, error)) from error
    return path


def require_writable(folder: Path) -> None:
    """Raise `ArtifactError` unless the folder can be written, or made; nothing is left behind."""
    try:
        if b"\0" in str(folder).encode():  # Arrow opens names in UTF-8 only
            raise ValueError("it holds a null character")
        place = folder
        while not os.path.lexists(place):
            place = place.parent
        if place.is_symlink() and not place.exists():
            raise ArtifactError(
                f"The output folder {str(folder)!r} lies behind a link to nothing: {str(place)!r}."
            )
        if not place.is_dir():
            where = "is" if place == folder else f"lies below {str(place)!r}, which is"
            raise ArtifactError(f"The output folder {str(folder)!r} {where} a file. {_CHOOSE}")
        with tempfile.TemporaryFile(dir=place):  # a name of its own, or none
            pass
    except ArtifactError:
        raise
    except OSError as error:
        raise ArtifactError(explain_failure(folder, error)) from error
    except ValueError as error:  # a null character, or not UTF-8
        raise ArtifactError(f"The output folder {str(folder)!r} is no path: {error}.") from error


def require_apart(folder: Path, *inputs: str | os.PathLike[str] | None) -> None:
    """Raise `ArtifactError` when what is written would lie among the files that are read.

    ``inputs`` are files, folders or globs; files in an output folder are no danger to it, nor is
    what an address names.
    """
    target = _real(folder)
    for given in inputs:
        if given is None or "://" in os.fspath(given):
            continue
        source = _real(given)
        whole = os.fspath(given)
        if "**" in whole:
            source = _real(whole.partition("**")[0] or ".")
        is_among = target == source or (source.is_dir() and source in target.parents)
        if is_among and not source.is_file():
            raise ArtifactError(
                f"The output folder {str(folder)!r} lies in {whole!r}, whose files are read: what "
                f"is written would be read with them. {_CHOOSE}"
            )


def _real(path: str | os.PathLike[str]) -> Path:
    try:
        return Path(path).expanduser().resolve()
    except (OSError, RuntimeError, ValueError):  # a circle of links, no home, a null character
        return Path(path)


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold the run folder for one process; the lock of a killed process lapses with it."""
    try:
        with FileLock(_lock_file(folder), timeout=0):
            remove_partial(folder)
            yield
    except Timeout as error:
        raise ArtifactError(
            f"Another process is working in {str(folder)!r}. Wait until it has ended, or choose "
            "another folder."
        ) from error


def _lock_file(folder: Path) -> Path:
    """Return the path of the lock; raise `ArtifactError` when it is not one of ours."""
    path = folder / ".lock"
    # The library empties the file that it locks.
    if path.is_symlink() or (path.exists() and (not path.is_file() or path.stat().st_size)):
        raise ArtifactError(f"{str(path)!r} is no lock of causalign. Move it away.")
    return path


def claim(folder: Path, key: str) -> None:
    """Say in ``run.json`` what the folder is made of; raise `ArtifactError` if of something else.

    ``key`` is the `fingerprint` of settings and data.
    """
    record = folder / "run.json"
    if not record.exists():
        write_json(record, {"fingerprint": key})
    elif read_json(record).get("fingerprint") != key:
        raise ArtifactError(
            f"{str(folder)!r} holds a run with other settings or data. Choose another folder, or "
            "delete it."
        )


def fingerprint(*parts: object) -> str:
    """Return a hash of settings and inputs that says whether a stage must be done again."""
    text = json.dumps([to_json(part) for part in parts], sort_keys=True, allow_nan=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def hash_table(table: pa.Table) -> str:
    """Return a hash of a table's names, types and contents, however it was chunked or stored."""
    digest = hashlib.sha256()
    for name, column in zip(table.column_names, table.columns, strict=True):
        digest.update(f"{name}:{column.type}:{len(column)}".encode())
        sink = pa.BufferOutputStream()
        whole = pa.table({"column": column}).combine_chunks()
        with pa.ipc.new_stream(sink, whole.schema) as writer:
            writer.write_table(whole)
        digest.update(sink.getvalue())
    return digest.hexdigest()[:16]


def is_done(
    folder: Path, key: str, *, replace: bool, advice: str = "Choose another output folder."
) -> bool:
    """Return whether the stage is there with this key.

    With another key it is an `ArtifactError`, since results would be lost, unless ``replace``;
    ``advice`` says what to do then, in the words of the door.
    """
    stored = folder / "result.json"
    if not stored.exists():
        return False
    if read_json(stored).get("fingerprint") == key:
        return True
    if replace:
        return False
    raise ArtifactError(
        f"{str(folder)!r} holds the result of another version of causalign, or of other settings "
        f"or data. {advice}"
    )


def _is_stage(folder: Path) -> bool:
    """Return whether a folder holds what `write_stage` wrote, and not just a file of that name."""
    stored = folder / "result.json"
    return stored.is_file() and {"format", "fingerprint"} <= read_json(stored).keys()


def require_free(folder: Path) -> None:
    """Raise `ArtifactError` when writing the folder would destroy what is not a stage's result."""
    if os.path.lexists(folder) and not folder.is_dir():
        raise ArtifactError(f"The output folder {str(folder)!r} is a file. {_CHOOSE}")
    if not folder.is_dir():
        return
    if any(folder.iterdir()) and not _is_stage(folder):
        raise ArtifactError(
            f"The output folder {str(folder)!r} holds other files, which would be lost. "
            "Choose a new or an empty one."
        )
    # A folder is written beside its place and then put there.
    if _real(folder) == Path.cwd() or os.path.ismount(folder):
        raise ArtifactError(
            f"The output folder {str(folder)!r} is the working folder or a mounted one, which "
            "cannot be replaced. Name a folder in it."
        )


def write_stage(
    folder: Path,
    section: Section,
    *,
    key: str,
    settings: object,
    payload: Callable[[Path], object] | None = None,
) -> None:
    """Write ``result.json``, ``summary.md``, tables and figures of a stage, all or nothing.

    ``payload`` writes what only this stage knows (adjusted logs, models).
    """
    require_free(folder)
    record = _record(section) | {
        "format": FORMAT,
        "fingerprint": key,
        "settings": to_json(settings),
        "versions": versions(),
    }
    with write_whole(folder) as partial:
        partial.mkdir()
        if payload is not None:
            payload(partial)
        for name, table in section.tables.items():
            pq.write_table(table, partial / f"{file_stem(name)}.parquet")
            pacsv.write_csv(_flat(table), partial / f"{file_stem(name)}.csv")
        for figure in section.figures:
            path = partial / f"{file_stem(figure.name)}.svg"
            path.write_text(figure.svg, encoding="utf-8")
        (partial / "summary.md").write_text(_summary(section), encoding="utf-8")
        text = json.dumps(record, indent=2, sort_keys=True, ensure_ascii=False)
        (partial / "result.json").write_text(text + "\n", encoding="utf-8")


def read_stage(folder: Path) -> Section:
    """Read a stage's section back; raise `ArtifactError` when it is damaged."""
    record = read_json(folder / "result.json")
    if record.get("format") != FORMAT:
        raise ArtifactError(
            f"{str(folder)!r} was written by another version of causalign. Delete it and run again."
        )
    try:
        TypeAdapter(_Record).validate_python(record)
        return Section(
            **{name: record[name] for name in _PLAIN},
            tables={n: pq.read_table(folder / f"{file_stem(n)}.parquet") for n in record["tables"]},
            figures=tuple(
                Figure(
                    svg=(folder / f"{file_stem(f['name'])}.svg").read_text(encoding="utf-8"), **f
                )
                for f in record["figures"]
            ),
            findings=tuple(
                Finding(**{**f, "verdict": Verdict(f["verdict"])}) for f in record["findings"]
            ),
        )
    except (LookupError, TypeError, ValueError, OSError, pa.ArrowException) as error:
        reason = str(error)
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            reason = f"{'.'.join(map(str, first['loc']))} in result.json: {first['msg']}"
        raise ArtifactError(
            f"{str(folder)!r} is damaged ({' '.join(reason.split())}). Delete it and run again."
        ) from error


@dataclass(frozen=True)
class _Record:
    """What ``result.json`` holds of a section."""

    stage: str
    question: str
    answer: str
    assumption: str
    numbers: dict[str, float | str | None]
    details: dict[str, object]
    tables: list[str]
    figures: list[dict[str, str]]
    findings: list[Finding]


def stages(run: Path) -> list[Path]:
    """Return the finished stage folders of a run, in their order; a stage's folder is its own."""
    if _is_stage(run):
        return [run]
    folders = [p for p in run.iterdir() if re.match(r"\d+-", p.name)]
    finished = [p for p in folders if (p / "result.json").exists()]
    return sorted(finished, key=lambda p: (int(p.name.split("-")[0]), p.name))


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that the numbers depend on."""
    known = {"python": sys.version.split()[0]}
    for name in RECORDED_PACKAGES:
        try:
            known[name] = version(name)
        except PackageNotFoundError:
            continue
    return known


def _record(section: Section) -> dict[str, object]:
    return {name: to_json(getattr(section, name)) for name in _PLAIN} | {
        "tables": list(section.tables),
        "figures": [{"name": f.name, "caption": f.caption, "alt": f.alt} for f in section.figures],
        "findings": [to_json(f) for f in section.findings],
    }


def _summary(section: Section) -> str:
    lines = [f"# {section.stage}", "", f"**{section.question}**", "", section.answer, ""]
    lines += [f"- {finding.line()}" for finding in section.findings]
    return _inert("\n".join(lines)).rstrip() + "\n"


# What commands a terminal or reorders words: escapes, controls but new lines, overrides; and what
# a spreadsheet takes for the beginning of a formula. RE2 and Python read both.
_COMMANDS = "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"
_FORMULA = "^([=+\\-@\t＝＋－＠])"


def _flat(table: pa.Table) -> pa.Table:
    """Make every column one that CSV can hold, and no word one that a reader's programs obey.

    Words that begin like a formula get an apostrophe, escape codes of terminals become ``�``; the
    Parquet file beside has them untouched.
    """
    columns = []
    for column in table.columns:
        if pa.types.is_nested(column.type):
            column = pa.array([json.dumps(v, default=str) for v in column.to_pylist()])
        if pa.types.is_dictionary(column.type) or pa.types.is_string_view(column.type):
            column = column.cast(pa.large_string())
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            plain = pc.replace_substring_regex(column, _COMMANDS, "\ufffd")
            column = pc.replace_substring_regex(plain, _FORMULA, r"'\1")
        columns.append(column)
    names = [re.sub(_COMMANDS, "\ufffd", name) for name in table.column_names]
    return pa.table(columns, names=[re.sub(_FORMULA, r"'\1", name) for name in names])


def _inert(words: str) -> str:
    """Return words from logs without HTML, links or characters that command a terminal."""
    plain = re.sub(_COMMANDS + "|[\t\ud800-\udfff]", "\ufffd", words)
    return plain.replace("<", "&lt;").replace("](", "]\\(")
