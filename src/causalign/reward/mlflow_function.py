"""The code that MLflow stores with a reward and runs where it loads it: nothing is unpickled."""

from collections.abc import Mapping

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

from causalign.reward import RewardModel


class RewardFunction(PythonModel):  # type: ignore[misc]
    """Score the column ``completion`` of a frame, in answer to the column ``prompt`` if any."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the folder that `RewardModel.save` wrote."""
        self.model = RewardModel.load(context.artifacts["reward"])

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: Mapping[str, object] | None = None,
    ) -> list[float]:
        """Return the reward of each row."""
        del context, params  # the signature is the library's
        prompts = model_input["prompt"].tolist() if self.model.reads_prompt else None
        return list(map(float, self.model(model_input["completion"].tolist(), prompts)))


set_model(RewardFunction())
