"""Score Parquet logs of any size: part by part, each written whole, here or on Ray's workers.

The work is cut into parts before it starts, and a part is scored by the same function wherever it
runs. So the numbers do not depend on the engine, and a run that was killed goes on with the parts
that are missing.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq

from causalign import artifacts
from causalign.errors import (
    ArtifactError,
    ColumnNotFound,
    InputError,
    UnreadableFile,
    nearest,
)
from causalign.files import hash_file, read_json, write_json, write_whole
from causalign.lm.processes import set_threads, thread_count
from causalign.lm.progress import show_progress
from causalign.logs.database import write_table
from causalign.logs.listing import LogFile, list_files
from causalign.logs.reading import require_one_schema, settle_text
from causalign.logs.remote import open_locally
from causalign.logs.workers import Engine, map_on_workers, require_engine
from causalign.results import Finding, Result, Section
from causalign.reward.findings import texts_read_whole
from causalign.reward.model import RewardModel

_ROWS_IN_PART = 16_384
_PLAN = "_plan.json"  # what reads a folder of Parquet passes over such a name
_TRUNCATED = b"causalign.truncated"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ScoredLogs(Result):
    """Where the scored rows lie, and how they were read.

    Attributes
    ----------
    folder : Path
    rows, parts : int
    without_text : int
        Rows whose text, and therefore whose reward, is missing.
    truncated : int
        Texts whose end the encoder did not read.
    """

    folder: Path
    rows: int
    parts: int
    without_text: int
    truncated: int

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Whether all texts were read to their end."""
        return (texts_read_whole(self.truncated, self.rows - self.without_text),)

    def answer(self) -> str:
        """Return how many rows were scored, and where they lie."""
        without = f"; {self.without_text:,} have no text and no reward" * bool(self.without_text)
        return f"Scored {self.rows:,} rows in {self.parts:,} parts: {self.folder}{without}"

    def table(self) -> pa.Table:
        """Return the counts in one row: rows, parts, without_text, truncated."""
        names = ("rows", "parts", "without_text", "truncated")
        return pa.table({name: [getattr(self, name)] for name in names})

    def write(self, uri: str, table: str) -> None:
        """Write the scored rows to a new table of a database.

        Parameters
        ----------
        uri, table : str
            As in `causalign.logs.write_table`, which says what is raised.
        """
        parts = sorted(map(str, self.folder.glob("part-*.parquet")))
        rows = pa.dataset.dataset(parts, format="parquet").scanner().to_reader()
        write_table(rows, uri, table)

    def section(self) -> Section:
        """Return the counts as a section of the report."""
        numbers = {name: float(count) for name, count in self.table().to_pylist()[0].items()}
        return Section(
            stage="reward-scores",
            question="Were all rows scored?",
            answer=self.answer(),
            numbers=numbers,
            findings=self.findings,
        )


@dataclass(frozen=True, slots=True)
class _Part:
    """Name rows ``start ... stop`` of a file and the file that they are written to."""

    source: LogFile
    target: str
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class _Columns:
    """Name the columns that are read and the one that is added."""

    completion: str
    prompt: str | None
    reward: str


def score_logs(
    model: str | Path,
    logs: str | Path,
    out: str | Path,
    *,
    completion: str,
    prompt: str | None = None,
    column: str = "reward",
    engine: Engine = "batches",
    rows_in_part: int = _ROWS_IN_PART,
    progress: bool = False,
) -> ScoredLogs:
    """Write logs with one more column, the reward of each row.

    All columns are kept and rows stay in order. The cache of embeddings is not used: it would grow
    with the logs. A run that was killed continues; a finished one is not repeated.

    Parameters
    ----------
    model : path
        Folder of a reward model.
    logs : path
        A Parquet file, a folder or a glob of them, here or behind a URI; names of folders such as
        ``week=3`` are columns.
    out : path
        Folder for the scored parts.
    completion, prompt, column : str
        Columns that are read, and the one that is added.
    engine : {"batches", "ray"}
        "ray" spreads the parts over Ray's workers, which must see the same files; the numbers are
        the same.
    rows_in_part : int
        How many rows memory holds at a time.
    progress : bool

    Raises
    ------
    InputError, UnreadableFile, ArtifactError
        If a column is missing or no text, a file is no Parquet, or ``out`` is of another run.
    """
    require_engine(engine)
    scorer = RewardModel.load(model)
    if scorer.reads_prompt and prompt is None:
        raise InputError("This reward model reads prompts; name their column with prompt.")
    names = _Columns(completion, prompt if scorer.reads_prompt else None, column)
    with open_locally(logs) as place:
        sources = list_files(place, ("parquet",))
        schemas = [_check_columns(source, names) for source in sources]
        require_one_schema([source.path for source in sources], schemas)
        artifacts.require_apart(Path(out), place)
        _require_own(Path(out))
        folder = artifacts.open_run(Path(out))
        with artifacts.lock(folder):
            parts = _parts(sources, folder, rows_in_part)
            _agree_on_plan(folder, Path(model), sources, names, rows_in_part)
            missing = [part for part in parts if not Path(part.target).is_file()]
            run = _by_ray if engine == "ray" else _in_batches
            rows = sum(part.stop - part.start for part in missing)
            with show_progress("Scoring logs", rows, progress) as advance:
                for count in run(missing, Path(model), names):
                    advance(count)
            return _summary(folder, parts, names)


def _in_batches(parts: list[_Part], model: Path, names: _Columns) -> Iterator[int]:
    scorer = RewardModel.load(model)
    for part in parts:
        yield _score_part(scorer, part, names)


def _by_ray(parts: list[_Part], model: Path, names: _Columns) -> Iterator[int]:
    """Spread the parts over workers that compute on as many threads as this process."""
    threads = thread_count()

    def make() -> Callable[[_Part], int]:
        set_threads(threads)
        scorer = RewardModel.load(model)
        return lambda part: _score_part(scorer, part, names)

    yield from map_on_workers(make, parts, threads)


def _score_part(model: RewardModel, part: _Part, names: _Columns) -> int:
    """Read a part, score it, write it; return its number of rows."""
    table = _read_part(part)
    texts = _texts(table, names.completion, part)
    prompts = None if names.prompt is None else _texts(table, names.prompt, part)
    known = [
        i
        for i, text in enumerate(texts)
        if text is not None and (prompts is None or prompts[i] is not None)
    ]
    rewards, truncated = model.score(
        [texts[i] for i in known],  # type: ignore[misc]
        None if prompts is None else [prompts[i] for i in known],  # type: ignore[misc]
    )
    scores = np.full(len(texts), np.nan)
    scores[known] = rewards
    missing = np.ones(len(texts), dtype=bool)
    missing[known] = False
    scored = table.append_column(names.reward, pa.array(scores, mask=missing))
    metadata = dict(table.schema.metadata or {}) | {_TRUNCATED: str(truncated).encode()}
    _write(scored.replace_schema_metadata(metadata), Path(part.target))
    return len(texts)


def _read_part(part: _Part) -> pa.Table:
    """Read the rows of a part, touching only the row groups that hold them."""
    file = _open(part.source.path)
    edges = np.cumsum(
        [0] + [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    )
    groups = [
        i for i in range(file.num_row_groups) if edges[i] < part.stop and edges[i + 1] > part.start
    ]
    position, batches = int(edges[groups[0]]) if groups else 0, []
    try:
        for batch in file.iter_batches(batch_size=_ROWS_IN_PART, row_groups=groups):
            start, stop = max(part.start - position, 0), min(part.stop - position, len(batch))
            if start < stop:
                # A slice would keep the whole batch in memory.
                batches.append(batch.take(pa.array(np.arange(start, stop))))
            position += len(batch)
            if position >= part.stop:
                break
    except (OSError, pa.ArrowException) as damage:
        raise UnreadableFile(
            f"The file {str(part.source.path)!r} cannot be read: {damage}."
        ) from damage
    table = pa.Table.from_batches(batches, schema=file.schema_arrow)
    return part.source.add_partitions(table)


def _texts(table: pa.Table, name: str, part: _Part) -> list[str | None]:
    try:
        column = settle_text(table.select([name]))[name]
        texts: list[str | None] = column.cast(pa.large_string()).to_pylist()
        return texts
    except (pa.ArrowException, UnicodeDecodeError) as damage:
        raise InputError(
            f"The column {name!r} of {str(part.source.path)!r} holds something that is no text: "
            f"{damage}."
        ) from damage


def _write(table: pa.Table, target: Path) -> None:
    with write_whole(target) as partial:
        pq.write_table(table, partial, write_page_checksum=True)


def _open(source: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(source, page_checksum_verification=True)
    except FileNotFoundError:
        raise UnreadableFile(f"There is no file {str(source)!r}. Check the path.") from None
    except (OSError, pa.ArrowException) as damage:
        raise UnreadableFile(
            f"{str(source)!r} cannot be read as Parquet: {damage}. Write the logs as Parquet, for "
            "instance with pandas.DataFrame.to_parquet."
        ) from damage


def _check_columns(file: LogFile, names: _Columns) -> pa.Schema:
    """Return the columns that a file gives each of its parts; raise where one cannot be used."""
    source = file.path
    # Of the partitions that names of folders write, the columns that a part will have.
    schema = file.add_partitions(_open(source).schema_arrow.empty_table()).schema
    for name in filter(None, (names.completion, names.prompt)):
        if name not in schema.names:
            raise ColumnNotFound(
                f"{str(source)!r} has no column {name!r}; {nearest(name, schema.names)}"
            )
        kind = schema.field(name).type
        inner = kind.value_type if pa.types.is_dictionary(kind) else kind
        readable = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary)
        if not any(reads(inner) for reads in readable):
            raise InputError(f"The column {name!r} of {str(source)!r} holds {kind}, no text.")
    if names.reward in schema.names:
        raise InputError(
            f"{str(source)!r} already has a column {names.reward!r}. Choose another name "
            "for the new column."
        )
    return schema


def _parts(sources: Sequence[LogFile], folder: Path, size: int) -> list[_Part]:
    parts = []
    for number, source in enumerate(sources):
        total = _open(source.path).metadata.num_rows
        for start in range(0, max(total, 1), size):
            target = folder / f"part-{number:05d}-{start // size:06d}.parquet"
            parts.append(_Part(source, str(target), start, min(start + size, total)))
    return parts


def _require_own(folder: Path) -> None:
    """Raise ``ArtifactError`` when the folder holds files that are no scores."""
    if not folder.is_dir() or (folder / _PLAN).exists():
        return
    if any(p for p in folder.iterdir() if not p.name.startswith(".")):
        raise ArtifactError(
            f"The output folder {str(folder)!r} holds other files. Choose an empty one."
        )


def _agree_on_plan(
    folder: Path, model: Path, sources: Sequence[LogFile], names: _Columns, size: int
) -> None:
    """Record what the parts are made of; refuse a folder whose parts are made of other things.

    A file of which no part was scored may have changed: it was damaged, and is written again.
    """
    described = hash_file(model / "reward_model.json")
    # Statistics and sizes may agree where texts differ: only the content tells files apart.
    files = [
        artifacts.fingerprint(
            file.path.name,
            hash_file(file.path),
            *((name, str(value)) for name, value in file.partitions),
        )
        for file in sources
    ]
    plan = {"fingerprint": artifacts.fingerprint(described, names, size), "files": files}
    if (folder / _PLAN).exists():
        stored = read_json(folder / _PLAN)
        before = stored.get("files") if isinstance(stored, dict) else None
        before = before if isinstance(before, list) else []
        changed = [i for i, pair in enumerate(zip(before, files, strict=False)) if len({*pair}) > 1]
        is_same = stored.get("fingerprint") == plan["fingerprint"] and len(before) == len(files)
        if not is_same or any(any(folder.glob(f"part-{i:05d}-*")) for i in changed):
            raise ArtifactError(
                f"{str(folder)!r} holds the scores of another model or of other logs. Choose "
                "another output folder."
            )
    write_json(folder / _PLAN, plan)


def _summary(folder: Path, parts: list[_Part], names: _Columns) -> ScoredLogs:
    rows = missing = truncated = 0
    for part in parts:
        try:
            with pq.ParquetFile(part.target, page_checksum_verification=True) as file:
                rows += file.metadata.num_rows
                truncated += int((file.schema_arrow.metadata or {}).get(_TRUNCATED, b"0"))
                missing += file.read(columns=[names.reward])[names.reward].null_count
        except (LookupError, ValueError, OSError, pa.ArrowException) as damage:
            reason = " ".join(str(damage).split())[:200]
            raise ArtifactError(
                f"{part.target!r} is damaged: {reason}. Delete it and run again."
            ) from damage
    return ScoredLogs(folder, rows, len(parts), missing, truncated)
