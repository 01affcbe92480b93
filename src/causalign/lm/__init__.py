"""Language models. ``import causalign.lm`` itself needs no deep-learning library."""

from causalign.lm.cache import EmbeddingCache
from causalign.lm.embed import Embeddings, embed
from causalign.lm.encoder import Encoder, load_encoder
from causalign.lm.encoder_name import parse_encoder_name

__all__ = [
    "EmbeddingCache",
    "Embeddings",
    "Encoder",
    "embed",
    "load_encoder",
    "parse_encoder_name",
]
