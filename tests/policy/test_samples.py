"""A mixture with the reference bounds the weights of fresh texts."""

import numpy as np

from causalign.lm.completions import Completions
from causalign.policy.samples import mixture_logprob, pack_texts, unpack_texts


def test_a_defensive_mixture_bounds_the_weights():
    own, reference = np.array([-1.0, -50.0]), np.array([-3.0, -2.0])
    mixed = mixture_logprob(own, reference, 0.25)
    assert np.allclose(np.exp(mixed), 0.75 * np.exp(own) + 0.25 * np.exp(reference))
    assert mixture_logprob(own, reference, 0.0) is own


def test_texts_survive_a_checkpoint():
    texts = Completions(((1,), (1, 2)), ((3, 4, 2), (5,)), np.array([False, True]))
    again = unpack_texts(pack_texts(texts, "pool"), "pool")
    assert (again.prompts, again.completions) == (texts.prompts, texts.completions)
    assert again.cut.tolist() == [False, True]
