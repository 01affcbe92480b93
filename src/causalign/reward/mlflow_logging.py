"""Log a reward to MLflow, as a function that it stores, loads and serves."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from causalign.errors import needs_extra
from causalign.reward.saved_model import SavedModel

if TYPE_CHECKING:
    from mlflow.models.model import ModelInfo

_CODE = Path(__file__).with_name("mlflow_function.py")
_EXAMPLE = {"completion": "A text to be scored.", "prompt": "What it answers."}


def log_to_mlflow(
    model: SavedModel, name: str = "reward", *, registered_model_name: str | None = None
) -> ModelInfo:
    """Log a reward to the active MLflow run as a model of the flavour ``python_function``.

    ``mlflow.pyfunc.load_model(info.model_uri).predict(frame)`` scores the column ``completion``;
    a reward that reads prompts needs the column ``prompt`` too. Weights are stored as
    `RewardModel.save` writes them: nothing is pickled.

    Parameters
    ----------
    model : RewardModel
    name : str
        Of the logged model.
    registered_model_name : str, optional
        Also make it a version of this model in the registry.

    Returns
    -------
    mlflow.models.model.ModelInfo

    Raises
    ------
    ExtraNotInstalled
        Without MLflow; the extra ``mlflow`` installs its light edition.
    """
    with needs_extra("Logging a reward to MLflow", "`pip install 'causalign[mlflow]'`"):
        import mlflow
        import pandas as pd
        from mlflow.models import ModelSignature
        from mlflow.types import ColSpec, Schema
    columns = ["completion", *(["prompt"] if model.reads_prompt else [])]
    inputs = Schema([ColSpec("string", column) for column in columns])
    with TemporaryDirectory() as folder:
        return mlflow.pyfunc.log_model(
            name=name,
            python_model=_CODE,
            artifacts={"reward": str(model.save(Path(folder, "reward")))},
            signature=ModelSignature(inputs, Schema([ColSpec("double")])),
            input_example=pd.DataFrame([{column: _EXAMPLE[column] for column in columns}]),
            pip_requirements=[f"causalign[lm,mlflow]=={version('causalign')}"],
            registered_model_name=registered_model_name,
        )
