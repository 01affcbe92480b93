"""A language of 64 sentences: three words out of four. Every expectation is a finite sum."""

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from causalign.lm.completions import Completions
from causalign.lm.layout import Batch, lay_out
from causalign.lm.logprob import sequence_logprobs

WORDS, LENGTH = 4, 3
SENTENCES = tuple(product(range(WORDS), repeat=LENGTH))  # 64


@dataclass(frozen=True)
class Language:
    """Hold the sentences, their true mean outcomes, and who wrote the log.

    All are (64,): ``outcome`` E[Y | T], ``logged`` log P_R, ``reference`` log π_ref. The policy is
    a transformer whose probabilities of the 64 sentences sum to one.
    """

    policy: Any
    outcome: Tensor
    logged: Tensor
    reference: Tensor
    batch: Batch

    def logprob(self) -> Tensor:
        return sequence_logprobs(self.policy, self.batch)

    def gradient(self, value: Tensor) -> Tensor:
        self.policy.zero_grad()
        value.backward()
        return torch.cat([p.grad.ravel() for p in self.policy.parameters()])

    def value(self) -> Tensor:
        """Return V(π) = Σ π(t) E[Y | t], a finite sum."""
        return (self.logprob().exp() * self.outcome).sum()


def policy(seed: int):
    """Return a transformer that computes in float64 throughout."""
    from transformers import GPT2Config, GPT2LMHeadModel

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = GPT2Config(
            vocab_size=WORDS,
            n_embd=16,
            n_layer=1,
            n_head=2,
            n_positions=16,
            initializer_range=0.4,
            bos_token_id=0,
            eos_token_id=0,
        )
        return GPT2LMHeadModel(config).double().eval()


def sentences(prompt: int = 0, repeat: int = 1) -> Completions:
    rows = SENTENCES * repeat
    return Completions(((prompt,),) * len(rows), rows, np.zeros(len(rows), dtype=bool))


@pytest.fixture
def language() -> Language:
    generator = torch.Generator().manual_seed(7)
    batch = lay_out(sentences(), share_prompts=False)
    logged = torch.randn(64, generator=generator, dtype=torch.float64).log_softmax(0)
    outcome = torch.randn(64, generator=generator, dtype=torch.float64) + 1
    with torch.no_grad():
        reference = sequence_logprobs(policy(3), batch)
    return Language(policy(1), outcome, logged, reference, batch)
