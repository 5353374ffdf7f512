"""Late interaction as the store computes it, with a gradient; and how wrong a ranking is."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

# Scores are cosines: what a difference of one is worth in log-odds.
SCALE = 25.0


def scores(
    queries: Sequence[torch.Tensor],
    documents: Sequence[torch.Tensor],
    factors: Sequence[torch.Tensor],
) -> torch.Tensor:
    """Return the weighted mean of every query's token maxima, (queries, documents).

    A token's weight is its factor times how far its best match lies above its mean match, among
    these documents. Weights are taken as they are: no gradient flows through them.
    """
    tokens = torch.cat(list(queries))
    lengths = torch.tensor([len(rows) for rows in documents], device=tokens.device)
    longest = int(lengths.max())
    firsts = torch.cumsum(lengths, 0) - lengths
    # a document's last vector stands in where it has fewer than the longest: no maximum changes
    inside = torch.minimum(
        torch.arange(longest, device=tokens.device)[None, :], lengths[:, None] - 1
    )
    similarities = tokens @ torch.cat(list(documents)).T
    places = (firsts[:, None] + inside).reshape(-1)
    maxima = similarities[:, places].view(len(tokens), len(documents), longest).amax(dim=2)
    rise = (maxima.amax(dim=1) - maxima.mean(dim=1)).detach().clamp_min(1e-4)
    weights = rise * torch.cat(list(factors)).to(tokens.device)
    counts = torch.tensor([len(rows) for rows in queries])
    owners = torch.repeat_interleave(torch.arange(len(queries)), counts).to(tokens.device)
    total = torch.zeros(len(queries), len(documents), device=tokens.device)
    total = total.index_add(0, owners, weights[:, None] * maxima)
    weight = torch.zeros(len(queries), device=tokens.device).index_add(0, owners, weights)
    return total / weight[:, None]


def loss(scored: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
    """Return the mean over questions of each answer's cross-entropy against all wrong documents.

    Answers do not compete with each other. Shapes: scored (queries, documents), answers the same,
    True where the document answers.
    """
    logits = scored * SCALE
    wrong = torch.logsumexp(logits.masked_fill(answers, -torch.inf), dim=1, keepdim=True)
    each = functional.softplus(wrong - logits) * answers
    return (each.sum(dim=1) / answers.sum(dim=1)).mean()


def ndcg(scored: torch.Tensor, answers: torch.Tensor, depth: int = 10) -> torch.Tensor:
    """Return nDCG at `depth` of every question, (queries,)."""
    discounts = 1.0 / torch.log2(torch.arange(2, depth + 2, dtype=torch.float32))
    best = scored.argsort(dim=1, descending=True)[:, :depth].cpu()
    found = answers.cpu().gather(1, best).float()
    ideal = torch.stack([discounts[: int(count)].sum() for count in answers.sum(dim=1)])
    return (found * discounts[: found.shape[1]]).sum(dim=1) / ideal
