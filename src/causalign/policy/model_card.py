"""Keep a tuned model: an adapter that plain peft loads, or whole weights, and a card that tells."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from causalign import artifacts
from causalign.errors import ArtifactError
from causalign.lm.adapter_files import write_adapter
from causalign.lm.language_model import DESCRIPTION, LanguageModel
from causalign.lm.quiet import quiet_transformers
from causalign.policy.fitted import PolicyFit

__all__ = ["keep_model"]


def keep_model(
    model: LanguageModel,
    fit: PolicyFit,
    *,
    settings: Any,
    data: str,
    weights: Mapping[str, Any] | None = None,
) -> Path:
    """Write weights, tokenizer and card to ``fit.model_folder``, whole or not at all.

    ``weights`` are written instead of those in the network where it has been split.
    """
    target = fit.model_folder
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        _write_weights(model, partial, weights)
        described = {
            "base": model.name,
            "base_revision": model.revision.split("+")[0],
            "method": fit.method,
            "settings": settings,
            "data": data,
            "versions": artifacts.versions(),
        }
        artifacts.write_json(partial / DESCRIPTION, described)
        plain = artifacts.read_json(partial / DESCRIPTION)["settings"]
        (partial / "README.md").write_text(_card(model, fit, plain, data), encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)
        os.replace(partial, target)
    except Exception as failure:  # a full disk shows as OSError, RuntimeError or SafetensorError
        shutil.rmtree(partial, ignore_errors=True)
        raise ArtifactError(
            f"The tuned model cannot be written to {target}: {failure}. Free some space and run "
            "again: training continues from its last checkpoint."
        ) from failure
    return target


def _write_weights(model: LanguageModel, folder: Path, weights: Mapping[str, Any] | None) -> None:
    if model.has_adapter:
        write_adapter(model, folder, weights)
    with quiet_transformers():
        if not model.has_adapter:
            given = {} if weights is None else {"state_dict": weights}
            model.model.save_pretrained(str(folder), **given)
        model.tokenizer.save_pretrained(str(folder))


def _card(model: LanguageModel, fit: PolicyFit, settings: Any, data: str) -> str:
    """Return the model card: what was tuned on what, how, and what was found."""
    kind = "adapter" if model.has_adapter else "model"
    library = "peft" if model.has_adapter else "transformers"
    front = [
        "---",
        f"base_model: {model.public_name}",
        f"library_name: {library}",
        "tags: [causalign]",
        "---",
    ]
    numbers = [f"| {name.replace('_', ' ')} | {value:.6g} |" for name, value in fit.numbers.items()]
    lines = [
        *front,
        f"# {fit.method} {kind} for {model.public_name}",
        "",
        fit.answer(),
        "",
        f"**Assumption.** {fit.assumption}",
        "",
        f"**Data.** Hash of all tokens, outcomes and weights that were read: `{data}`.",
        "",
        "## Numbers",
        "",
        "| what | value |",
        "| --- | --- |",
        *numbers,
        "",
        "## Findings",
        "",
        *(f"- {finding.line()}" for finding in fit.findings),
        "",
        "## Settings",
        "",
        "```json",
        json.dumps(settings, indent=2, sort_keys=True),
        "```",
        "",
    ]
    return "\n".join(lines)
