"""Cross-fitted outcome models."""

import numpy as np
import pytest

from causalign.errors import InputError
from causalign.logs import CrossFitted


def test_cross_fitted_models_never_predict_their_own_rows():
    models = tuple(lambda c, p, k=k: np.full(len(c), float(k)) for k in range(3))
    fitted = CrossFitted(models, np.array([0, 1, 2, 2]))
    assert fitted.predict_logged(list("abcd")).tolist() == [0, 1, 2, 2]
    assert fitted(["new"]).tolist() == [pytest.approx((0 + 1 + 2 + 2) / 4)]
    with pytest.raises(InputError, match="fold"):
        CrossFitted(models, np.array([3]))
