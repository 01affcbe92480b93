"""Write an adapter so that plain peft loads it, and nothing in it names this machine."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from causalign.lm.language_model import LanguageModel
from causalign.lm.quiet import quiet_transformers

__all__ = ["write_adapter"]


def write_adapter(
    language_model: LanguageModel, folder: Path, weights: Mapping[str, Any] | None = None
) -> None:
    """Write the adapter as peft does, under the name by which others find the base model.

    ``weights`` are written instead of those in the network where it has been split.
    """
    given = {} if weights is None else {"state_dict": weights}
    with quiet_transformers():
        language_model.model.save_pretrained(str(folder), save_embedding_layers=False, **given)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    named = config | {"base_model_name_or_path": language_model.public_name}
    path.write_text(json.dumps(named, indent=2) + "\n", encoding="utf-8")
