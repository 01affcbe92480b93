"""YAML into the same frozen dataclasses that Python users construct: strict, with overrides."""

import dataclasses
import os
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from causalign.errors import SettingsError, UnreadableFile, hide_secrets, nearest

T = TypeVar("T")
# What a file of settings holds, and what dataclasses are built of.
Settings = Mapping[str, Any]
_VARIABLE = re.compile(r"\$\{?(\w+)")
# Addresses of databases whose path may be relative.
_FILES = ("sqlite:///", "duckdb:///")
_SHORTEST_VALUE = 3  # a shorter value of a variable stands in ordinary words too


# Far more than settings need; a text within them is read in well under a second.
MOST_BYTES = 64 << 10
DEEPEST = 20
MOST_ALIASES = 100


class _StrictLoader(yaml.SafeLoader):
    """Read YAML safely, in limits, and refuse a key that is written twice, which YAML forgets."""

    depth = aliases = 0

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.open: list[str] = []  # anchors whose value is being read
        self.holding: set[str] = set()  # anchors whose value holds an alias

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Refuse what would grow without limit before it is built."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        line = event.start_mark.line + 1
        anchor = getattr(event, "anchor", None)
        if isinstance(event, yaml.AliasEvent):
            self.aliases += 1
            self.holding |= set(self.open)
            # Programs that write YAML name a list that stands twice; aliases of aliases are bombs.
            if anchor in self.holding or self.aliases > MOST_ALIASES:
                raise SettingsError(f"Line {line} uses an alias (*); write the value out.")
            return super().compose_node(parent, index)
        if self.depth > DEEPEST:
            raise SettingsError(f"Line {line} is nested deeper than {DEEPEST} levels.")
        self.depth += 1
        self.open += [anchor] if anchor else []
        node: yaml.Node | None = super().compose_node(parent, index)
        if anchor:
            self.open.remove(anchor)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        seen: set[object] = set()
        for name, _ in node.value:
            key = self.construct_object(name, deep=True)
            if not isinstance(key, str | int | float | bool | None) or key in seen:
                what = "written twice" if isinstance(key, str | int | float) else "not one word"
                line = node.start_mark.line + 1
                raise SettingsError(f"The key {key!r} is {what} (mapping at line {line}).")
            seen.add(key)
        return super().construct_mapping(node, deep)


def _load(text: str, what: str) -> Any:
    """Return what YAML says; raise `SettingsError` for what is wrong with it, or too much."""
    if len(text) > MOST_BYTES:
        raise SettingsError(f"{what} is longer than {MOST_BYTES >> 10} KiB; no settings are.")
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506  (a SafeLoader)
    except SettingsError as error:
        raise SettingsError(f"{what}: {error}") from error
    # A date or a number may have the form of one and no value.
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        detail = " ".join(str(error).split())[:300]
        raise SettingsError(f"{what} is not valid YAML: {detail}") from error


def read_yaml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the mapping in a YAML file; raise `UnreadableFile` or `SettingsError`.

    In limits: 64 KiB, 20 levels, no aliases of aliases.
    """
    try:
        # A pipe would wait for ever, a device never end.
        if Path(path).exists() and not Path(path).is_file():
            raise UnreadableFile(f"The settings file {str(path)!r} is no file.")
        with Path(path).open("rb") as file:
            text = file.read(MOST_BYTES + 1).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise UnreadableFile(
            f"There is no settings file {str(path)!r}. `causalign init` writes one for a log."
        ) from error
    except UnicodeDecodeError as error:
        raise UnreadableFile(f"The settings file {str(path)!r} is no text in UTF-8.") from error
    except OSError as error:
        if isinstance(error, UnreadableFile):
            raise
        raise UnreadableFile(f"Cannot read the settings file {str(path)!r}: {error}") from error
    loaded = _load(text, repr(str(path)))
    if not isinstance(loaded, dict):
        raise SettingsError(f"{str(path)!r} must hold a mapping of settings.")
    return loaded


def override(settings: Settings, assignments: Sequence[str]) -> dict[str, Any]:
    """Return the settings with assignments such as ``reward.folds=10`` applied.

    The value is read as YAML, so ``[a, b]``, ``true`` and ``1e-3`` mean what they do in the file.
    """
    result = _copy(settings)
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not name.strip():
            raise SettingsError(f"Write an override as name.of.setting=value, not {assignment!r}.")
        *parents, last = name.strip().split(".")
        place = result
        for parent in parents:
            if not isinstance(place.get(parent), dict):
                place[parent] = {}
            place = place[parent]
        place[last] = _load(value, f"The value in {assignment[:200]!r}")
    return result


def construct(cls: type[T], settings: object, where: str = "") -> T:
    """Build the dataclass ``cls``, nested ones too, from a mapping.

    What a nested mapping does not name stays as it is in the default of that field: a method that
    has a learning rate of its own keeps it when only the number of steps is set.

    Raises `SettingsError` naming the nearest right key for an unknown one, and the setting, what
    was expected and what was found for a wrong type.
    """
    whole = _complete(cls, _check_keys(cls, settings, where))
    try:
        return TypeAdapter(cls).validate_python(whole)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(p) for p in (where, *first["loc"]) if p != "")
        raised = first.get("ctx", {}).get("error")
        if isinstance(raised, SettingsError):  # by the dataclass itself
            raise SettingsError(f"Setting {path!r}: {raised}" if path else str(raised)) from error
        raise SettingsError(f"Setting {path!r}: {_plain(first)}") from error


class Methods(Mapping[str, type[T]]):
    """Map the names of methods to their classes; a class is imported when it is asked for.

    ``package`` is the namespace that exports them, ``classes`` their names there, each alone or
    with words about the method for those who choose.
    """

    def __init__(self, package: str, classes: Mapping[str, str | tuple[str, str]]) -> None:
        self._package = package
        pairs = {n: (c, "") if isinstance(c, str) else c for n, c in classes.items()}
        self._classes = {name: cls for name, (cls, _) in pairs.items()}
        self._about = {name: about for name, (_, about) in pairs.items()}

    def about(self, name: str) -> str:
        """Return the words about a method."""
        return self._about[name]

    def __getitem__(self, name: str) -> type[T]:
        method: type[T] = getattr(import_module(self._package), self._classes[name])
        return method

    def __contains__(self, name: object) -> bool:
        return name in self._classes

    def __iter__(self) -> Iterator[str]:
        return iter(self._classes)

    def __len__(self) -> int:
        return len(self._classes)


def choose(methods: Mapping[str, type[T]], settings: Settings, where: str = "") -> T:
    """Build the method that ``settings['method']`` names, out of a closed set.

    ``where`` is what messages call the settings, such as "reward" in a recipe.
    """
    if not isinstance(settings, Mapping) or "method" not in settings:
        raise SettingsError(f"Setting {where!r} needs a 'method'; there are: {', '.join(methods)}")
    name = settings["method"]
    if not isinstance(name, str) or name not in methods:
        path = f"{where}.method" if where else "method"
        raise SettingsError(
            f"Setting {path!r}: unknown method {str(name)[:80]!r}; "
            f"{nearest(str(name)[:80], methods)}"
        )
    rest = {key: value for key, value in settings.items() if key != "method"}
    return construct(methods[name], rest, where)


def _plain(error: ErrorDetails) -> str:
    if error["type"] == "missing":
        return "is required and missing."
    return f"{error['msg']}, but found {hide_secrets(repr(error['input']))[:80]}."


def _copy(settings: Settings) -> dict[str, Any]:
    return {k: _copy(v) if isinstance(v, Mapping) else v for k, v in settings.items()}


def _tuples(value: object) -> object:
    """Turn YAML's lists into the tuples that frozen dataclasses hold."""
    if isinstance(value, Mapping):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _check_keys(cls: type, settings: object, where: str) -> Settings:
    """Return the settings as the mapping that they must be, of known keys at every depth."""
    if not isinstance(settings, Mapping):
        raise SettingsError(
            f"Setting {where or 'file'!r} must be a mapping, but holds "
            f"{hide_secrets(repr(settings))[:80]}."
        )
    known = {field.name for field in dataclasses.fields(cls)}
    hints = typing.get_type_hints(cls)
    for key, value in settings.items():
        path = f"{where}.{key}" if where else str(key)
        if key not in known:
            close = nearest(str(key)[:80], sorted(known))
            raise SettingsError(f"Unknown setting {path[:200]!r}; {close}")
        nested = _dataclass_in(hints[key])
        if nested is not None and value is not None:
            _check_keys(nested, value, path)
    return settings


def _complete(cls: type, settings: Settings, start: object = None) -> dict[str, object]:
    """Return the settings, nested ones filled up from the default of their field, or ``start``."""
    known = {field.name: field for field in dataclasses.fields(cls) if field.init}
    filled = {} if start is None else {name: getattr(start, name) for name in known}
    hints = typing.get_type_hints(cls)
    for key, value in settings.items():
        nested = _dataclass_in(hints[key])
        if nested is not None and isinstance(value, Mapping):
            before = filled[key] if key in filled else _default(known[key])
            value = _complete(nested, value, before if isinstance(before, nested) else None)
        filled[key] = _tuples(value)
    return filled


def _default(field: dataclasses.Field[object]) -> object:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _dataclass_in(hint: object) -> type | None:
    """Return the dataclass that a field's type is, or is when it is not None."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return hint
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return next((c for a in typing.get_args(hint) if (c := _dataclass_in(a))), None)
    return None


class FilledPath(str):
    """A path with its variables filled in, and how it was ``written``: messages show this."""

    __slots__ = ("written",)
    written: str

    def __new__(cls, path: str, written: str) -> "FilledPath":
        """Return the path with what was written."""
        filled = super().__new__(cls, path)
        filled.written = written
        return filled

    def __reduce__(self) -> tuple[type["FilledPath"], tuple[str, str]]:
        return FilledPath, (str(self), self.written)

    def replacements(self) -> list[tuple[str, str]]:
        """Return pairs of what no message shows and what stands in its place."""
        names = re.findall(_VARIABLE, self.written)
        values = [(os.environ.get(name, ""), f"${name}") for name in names]
        known = [(value, name) for value, name in values if len(value) > _SHORTEST_VALUE]
        return [(str(self), self.written), *known]


def resolve_path(path: str, base: Path) -> FilledPath:
    """Return a path with environment variables filled in, relative to the file that names it.

    A URI stays as it is, but for the file of a database.

    Raises `SettingsError` for a variable that is not set, and without a home folder for ``~``.
    """
    filled = os.path.expanduser(os.path.expandvars(path))
    if any(name not in os.environ for name in re.findall(_VARIABLE, path)):
        raise SettingsError(f"The path {path!r} uses an environment variable that is not set.")
    if "\0" in filled:
        raise SettingsError(f"The path {path!r} holds a null character.")
    if "://" in filled:
        return FilledPath(_resolve_database(filled, base), path)
    whole = str(Path(filled) if os.path.isabs(filled) else base / filled)
    return FilledPath(whole, path if filled != path else whole)


def _resolve_database(uri: str, base: Path) -> str:
    head, path = uri[: len(_FILES[0])], uri[len(_FILES[0]) :]
    is_relative = head in _FILES and not path.startswith(("/", "~"))
    return f"{head}{base.absolute() / path}" if is_relative else uri
