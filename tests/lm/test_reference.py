"""What was computed by an earlier version is found on disk."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")

from causalign.lm.completions import Completions
from causalign.lm.reference import _key


def test_the_key_stays_as_it_is():
    model = SimpleNamespace(revision="r", model=SimpleNamespace(dtype="torch.float32"))
    texts = Completions(((1, 2), (4,)), ((3,), (5, 6)), np.zeros(2, dtype=bool))
    assert _key(model, texts) == "06d2c7f91f84c54629476170e30d77bb"
