"""A reward that MLflow stored scores as the reward does, and nothing of it is pickled."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import causalign as ca
from causalign.errors import ExtraNotInstalled

LOGS = ca.simulate.Newsletter(rows=200, seed=2).simulate().logs


@pytest.fixture
def mlflow(tmp_path, monkeypatch):
    """A store of its own in a folder."""
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    library = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    library.set_tracking_uri((tmp_path / "store").as_uri())
    library.set_experiment("rewards")
    yield library
    library.set_tracking_uri(None)


@pytest.mark.filterwarnings("ignore:::mlflow")
@pytest.mark.parametrize("with_prompts", [False, True])
def test_the_loaded_function_gives_the_same_numbers(mlflow, tmp_path, with_prompts):
    prompts = ["to a reader", "to a buyer"] * 100
    columns = {"completion": LOGS.completions, "minutes": LOGS.outcome, "prompt": prompts}
    roles = ca.Roles("completion", "minutes", prompt="prompt" if with_prompts else None)
    model = ca.reward.Ridge().fit(ca.Logs.of(columns, roles), "tfidf").model
    with mlflow.start_run():
        stored = ca.reward.log_to_mlflow(model)
    frame = pd.DataFrame({name: columns[name] for name in ("completion", "prompt")})
    loaded = mlflow.pyfunc.load_model(stored.model_uri)
    expected = model(LOGS.completions, prompts if with_prompts else None)
    assert np.array_equal(loaded.predict(frame), expected)
    files = [path for path in Path(tmp_path, "store").rglob("*") if path.is_file()]
    assert any(path.name.startswith("head-") for path in files)
    assert not [path for path in files if path.suffix in (".pkl", ".pickle")]
    with pytest.raises(mlflow.exceptions.MlflowException, match="missing inputs"):
        loaded.predict(frame.rename(columns={"completion": "text"}))


def test_without_mlflow_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    model = ca.reward.Ridge().fit(LOGS, "hashing").model
    with pytest.raises(ExtraNotInstalled, match=r"MLflow needs mlflow.*causalign\[mlflow\]"):
        ca.reward.log_to_mlflow(model)
