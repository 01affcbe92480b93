"""Two pages of the site that repeat code: the keys of a recipe, the options of each command."""

import dataclasses
import inspect
import re
import subprocess
import sys
import typing
from collections.abc import Iterator, Mapping

from griffe import Docstring, DocstringSectionKind

from causalign import deconfound, policy, recipe, reward
from causalign.lm.language_model import Lora
from causalign.lm.training import Training
from causalign.logs.roles import Roles

STAGES: dict[str, Mapping[str, type]] = {
    "deconfound": deconfound.METHODS,
    "reward": reward.METHODS,
    "policy": policy.METHODS,
}
# What the docstrings call it: what a recipe holds.
IN_YAML = {
    "Data": "the keys of `data`",
    "Roles": "the keys of `data.roles`",
    "Settings": "a method and its settings",
    "Experiments": "the keys of `experiments`",
    "Evaluation": "the keys of `evaluate`",
    "Generation": "the keys of `generate`",
    "tuple of str": "list of str",
    "bool": "true or false",
}
# What a docstring leaves to the type of a setting.
MEANINGS = {
    "batch_size": "Rows of one update.",
    "choose": "The rule that chooses the penalty.",
    "epochs": "Passes over the rows.",
    "folds": "Into how many parts rows are cut to choose the penalty.",
    "learning_rate": "The size of an update.",
    "lora": "The adapter that is trained; see `lora` below.",
    "loss": "What is made small.",
    "training": "How long and how fast; see `training` below.",
}
HEAD = """# Reference: the recipe

A recipe is a YAML file, by custom `pipeline.yaml`, that `causalign run` takes. Every key is below;
what has no default must be given. An unknown key is refused, with the nearest right one named.
`causalign init` drafts a recipe from a file; `--set data.held_out=0.5` overrides a key on the
command line.

"""
METHODS = """## Settings of methods

`deconfound`, `reward` and `policy` hold the name of a method and its settings:

```yaml
deconfound: {method: additive, penalty: 0.1}
```

`start` holds settings of `sft`. What is not named keeps the default of the method.

"""


def recipe_page() -> str:
    """Return the page of all keys of a recipe, made from the dataclasses that hold them."""
    parts = [HEAD, "## The whole recipe\n\n", _table(recipe.Recipe)]
    for title, cls in (
        ("data", recipe.Data),
        ("data.roles", Roles),
        ("experiments", recipe.Experiments),
        ("evaluate", recipe.Evaluation),
        ("generate", recipe.Generation),
    ):
        parts += [f"## `{title}`\n\n", _intro(cls), _table(cls)]
    parts.append(METHODS)
    for stage, methods in STAGES.items():
        parts.append(f"### `{stage}`\n\n")
        for name in methods:
            cls = methods[name]
            parts += [f"#### `method: {name}`\n\n", _intro(cls), _table(cls)]
    for title, cls in (
        ("`training`, of whatever trains a language model", Training),
        ("`training`, of networks on vectors", reward.NetworkTraining),
        ("`lora`", Lora),
    ):
        parts += [f"### {title}\n\n", _table(cls)]
    return "".join(parts)


def command_page() -> str:
    """Return the page of the command line, as typer writes it."""
    command = [sys.executable, "-m", "typer", "causalign.cli", "utils", "docs"]
    named = [*command, "--name", "causalign", "--title", "Reference: the command line"]
    text = subprocess.run(named, capture_output=True, text=True, check=True).stdout
    return text.replace("**Usage**:\n\n```console\n$ ", "```bash\n")


def _intro(cls: type) -> str:
    """Return the first line of a class's docstring."""
    return _plain((inspect.getdoc(cls) or "").partition("\n\n")[0]) + "\n\n"


def _table(cls: type) -> str:
    rows = ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    meanings = dict(_meanings(cls))
    types = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        kind, meaning = meanings.get(field.name, ("", ""))
        choices = _choices(types.get(field.name))
        kind = kind.removesuffix(", optional")
        kind = choices or IN_YAML.get(kind, kind) or str(field.type)
        meaning = meaning or MEANINGS.get(field.name, "")
        cells = (f"`{field.name}`", kind, _default(field), meaning)
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    if len(rows) == 2:
        return "No settings.\n\n"
    return "\n".join(rows) + "\n\n"


def _meanings(cls: type) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield what a class and those above it say of each parameter."""
    for base in reversed(cls.__mro__):
        text = inspect.cleandoc(base.__doc__ or "")
        for section in Docstring(text, parser="numpy").parse(warnings=False):
            if section.kind is DocstringSectionKind.parameters:
                for one in section.value:
                    yield one.name, (str(one.annotation or ""), _plain(one.description))


def _choices(annotation: object) -> str:
    """Return the words that a setting may be, or nothing where it may be more than some words."""
    if typing.get_origin(annotation) is not typing.Literal:
        return ""
    return ", ".join(f"`{word}`" for word in typing.get_args(annotation))


def _default(field: "dataclasses.Field[object]") -> str:
    value = field.default
    if field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    if value is dataclasses.MISSING:
        return "required"
    if value is None or value in ((), {}):
        return "none"
    if dataclasses.is_dataclass(value):
        return "see below"
    if isinstance(value, Mapping):
        return ", ".join(f"`{key}: {one}`" for key, one in value.items())
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{list(value) if isinstance(value, tuple) else value}`"


def _plain(text: str) -> str:
    """Return a docstring's words as Markdown: one line, code in single backticks."""
    return re.sub(r"``([^`]+)``", r"`\1`", " ".join(text.split()))
