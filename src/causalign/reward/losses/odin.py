"""ODIN: what keeps the quality head away from a confounder, and gives it to a second head."""

from torch import Tensor

from causalign.reward.losses.weighted_mean import weighted_mean

__all__ = ["correlation", "disentangling", "unit_rows"]


def unit_rows(rows: Tensor) -> Tensor:
    """Return rows scaled to length one, over the last axis."""
    return rows / rows.norm(dim=-1, keepdim=True).clamp(min=1e-12)


def correlation(first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
    """Return weighted correlations over the last axis, ``(..., b) -> (...)``; 0 of constants."""
    a = first - weighted_mean(first, weight)[..., None]
    b = second - weighted_mean(second, weight)[..., None]
    spread = weighted_mean(a * a, weight) * weighted_mean(b * b, weight)
    # Where one side does not vary the root has no gradient; the clamp gives it zero.
    return weighted_mean(a * b, weight) / spread.clamp(min=1e-12).sqrt()


def disentangling(
    quality_row: Tensor,
    confounder_row: Tensor,
    quality: Tensor,
    rest: Tensor,
    confounder: Tensor,
    weight: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return the two penalties of ODIN, each ``(...,)``.

    ``|ŵ_Q·ŵ_L|`` of the unit rows ``(..., h)``, and ``(1 - corr(c, r_L)) + |corr(c, r_Q)|`` over
    the batch, for rewards and confounder ``(..., b)``. Reference: Chen et al. (2024),
    arXiv 2402.07319, with a confounder in the place of length.
    """
    orthogonal = (quality_row * confounder_row).sum(-1).abs()
    follows = 1 - correlation(confounder, rest, weight)
    return orthogonal, follows + correlation(confounder, quality, weight).abs()
