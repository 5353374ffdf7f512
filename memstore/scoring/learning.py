"""Weights of a profile learned from what was used of the pages that queries showed.

The model is the sum before its cap: of two memories on a page, the one that was used is preferred
with log-odds `a (ds + w dphi)`, ds and dphi being the differences of their semantic log-odds and of
their components. `a` is how far users follow the score at all: where they do not, it goes to zero,
and the weights stay as they are. An update counts only if all conditions of `Evidence` hold.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memstore.scoring.cognitive import COMPONENTS, adjust
from memstore.scoring.profiles import Profile

LEAST_PAIRS = 200
LEAST_QUERIES = 50
LEAST_SESSIONS = 3
LARGEST_SOURCE_SHARE = 0.3
LARGEST_DROP = 0.005  # nDCG@10 or a share: half a point
LARGEST_STEP = 0.25  # nats per unit of a component, of one weight in one update
HELD_SHARE = 0.3  # of the pages, the latest: an update is judged on what came after its data
RESAMPLES = 10_000
_AT_ONCE = 100  # resamples: all together could fill the memory
_PRIOR_PAIRS = 200  # that the shipped weights are worth
_LEAST_PROPENSITY = 0.1
_SLOPES = (1e-3, 10.0)
_DEPTH = 10


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A page that was shown, and what became of its hits; arrays are (hits,).

    `semantic` is log-odds, `values` (hits, components) in the order of COMPONENTS, `ranks` where
    they were shown, from 1 on. A hit may be `used` or `rejected`; `sources` say who used it. `at`
    is when it was shown, UTC microseconds.
    """

    query: str
    session: str | None
    at: int
    semantic: NDArray[np.float64]
    values: NDArray[np.float64]
    ranks: NDArray[np.int64]
    used: NDArray[np.bool_]
    rejected: NDArray[np.bool_]
    sources: tuple[str | None, ...]

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Places of the preferred and of the other memory: what was used, and what was not."""
        preferred = np.flatnonzero(self.used & ~self.rejected).tolist()
        others = np.flatnonzero(~self.used).tolist()
        return [(one, other) for one in preferred for other in others]


@dataclass(frozen=True, slots=True)
class Condition:
    """Something an update needs: the value found, and the bound it must be on the right side of."""

    name: str
    value: float
    bound: float
    holds: bool

    def __str__(self) -> str:
        return f"{self.name} is {self.value:.4g}, needed: {self.bound:g}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """Whether an update of weights may be made: every condition must hold."""

    conditions: tuple[Condition, ...]

    @property
    def holds(self) -> bool:
        return all(condition.holds for condition in self.conditions)

    @property
    def unmet(self) -> tuple[Condition, ...]:
        return tuple(condition for condition in self.conditions if not condition.holds)


def split(pages: Sequence[Shown]) -> tuple[list[Shown], list[Shown]]:
    """Return the earlier pages, to learn from, and the later ones, to judge by.

    Only pages that prefer something count. Pages of the same moment stay together.
    """
    ordered = sorted((page for page in pages if page.pairs), key=lambda page: page.at)
    if not ordered:
        return [], []
    moment = ordered[int(len(ordered) * (1.0 - HELD_SHARE))].at
    earlier = [page for page in ordered if page.at < moment]
    return earlier, ordered[len(earlier) :]


def fit_weights(pages: Sequence[Shown], *, shipped: Profile, current: Profile) -> Profile:
    """Return the current profile with the weights that the pages speak for.

    They are drawn towards the shipped ones as strongly as 200 pairs draw, and go no further from
    the current ones than a single update may. The cap stays.

    Source: Joachims, Swaminathan and Schnabel, Unbiased learning-to-rank with biased feedback,
    WSDM 2017, for counting a use the more, the further down it was found.
    """
    from scipy.optimize import minimize  # half a second that only learning pays

    semantic, values, counts = _differences(pages)
    if not len(semantic):
        return current
    pull = _PRIOR_PAIRS / len(semantic)
    towards, now = _weights(shipped), _weights(current)

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        slope, weights = parameters[0], parameters[1:]
        margin = semantic + values @ weights
        wrong = counts / (1.0 + np.exp(np.clip(slope * margin, -700.0, 700.0)))
        apart = weights - towards
        gradient = np.concatenate(
            [[-np.sum(wrong * margin)], -slope * (values.T @ wrong) + 2.0 * pull * apart]
        )
        value = np.sum(counts * np.logaddexp(0.0, -slope * margin)) + pull * apart @ apart
        return float(value), gradient

    most = [1.0 if name == "entity" else np.inf for name in COMPONENTS]
    bounds = [_SLOPES] + [
        (max(0.0, weight - LARGEST_STEP), min(limit, weight + LARGEST_STEP))
        for weight, limit in zip(now.tolist(), most, strict=True)
    ]
    start = np.concatenate([[1.0], now])
    options = {"maxiter": 1_000, "ftol": 1e-14, "gtol": 1e-9}
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
    learned = dict(zip(COMPONENTS, found[1:].tolist(), strict=True))
    return dataclasses.replace(current, **learned)


def _differences(
    pages: Sequence[Shown],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return of every pair the differences of log-odds (pairs,) and of components (pairs,
    components), and what it counts (pairs,), all together 1.
    """
    semantic, values, counts = [], [], []
    for page in pages:
        for one, other in page.pairs:
            semantic.append(page.semantic[one] - page.semantic[other])
            values.append(page.values[one] - page.values[other])
            counts.append(1.0 / max(1.0 / page.ranks[one], _LEAST_PROPENSITY))
    total = sum(counts)
    return (
        np.array(semantic),
        np.array(values).reshape(-1, len(COMPONENTS)),
        np.array(counts) / total if counts else np.empty(0),
    )


def _weights(profile: Profile) -> NDArray[np.float64]:
    return np.array([getattr(profile, name) for name in COMPONENTS])


def evidence(
    pages: Sequence[Shown],
    *,
    current: Profile,
    learned: Profile,
    drops: Mapping[str, float],
    seed: int,
) -> Evidence:
    """Return whether weights learned from the earlier pages may replace the current ones.

    Args:
        pages: all of them; those `split` puts last are the judges.
        drops: by name of a guard set, how much lower its measure is with the learned weights.
        seed: of the bootstrap.
    """
    preferring = [page for page in pages if page.pairs]
    voices = Counter(page.sources[one] for page in preferring for one, _ in page.pairs)
    pairs = sum(voices.values())
    share = max(voices.values()) / pairs if pairs else 1.0
    sessions = {page.session for page in preferring if page.session is not None}
    _, held = split(pages)
    gain = lower_bound(gains(held, current, learned), seed=seed)
    step = float(np.max(np.abs(_weights(learned) - _weights(current))))
    queries = len({page.query for page in preferring})
    return Evidence(
        (
            Condition("pairs", pairs, LEAST_PAIRS, pairs >= LEAST_PAIRS),
            Condition("queries", queries, LEAST_QUERIES, queries >= LEAST_QUERIES),
            Condition("sessions", len(sessions), LEAST_SESSIONS, len(sessions) >= LEAST_SESSIONS),
            Condition(
                "largest share of a source",
                share,
                LARGEST_SOURCE_SHARE,
                share <= LARGEST_SOURCE_SHARE,
            ),
            Condition("lower bound of the gain in nDCG@10", gain, 0.0, gain > 0.0),
            *(
                Condition(f"drop of {name}", drop, LARGEST_DROP, drop <= LARGEST_DROP)
                for name, drop in drops.items()
            ),
            # the last bits of a weight at the end of its range are no step too far
            Condition("largest step", step, LARGEST_STEP, step <= LARGEST_STEP + 1e-9),
        )
    )


def gains(pages: Sequence[Shown], current: Profile, learned: Profile) -> NDArray[np.float64]:
    """Return how much the nDCG@10 of each page rises by the learned weights, (pages,)."""
    return np.array([_ndcg(page, learned) - _ndcg(page, current) for page in pages])


def lower_bound(differences: NDArray[np.float64], *, seed: int) -> float:
    """Return the lower end of the 95 % paired-bootstrap interval of a mean; -1 without any."""
    count = len(differences)
    if not count:
        return -1.0
    random = np.random.default_rng(seed)
    means = [
        np.mean(differences[random.integers(0, count, (_AT_ONCE, count))], axis=1)
        for _ in range(RESAMPLES // _AT_ONCE)
    ]
    return float(np.quantile(np.concatenate(means), 0.025))


def _ndcg(page: Shown, profile: Profile) -> float:
    """Return the nDCG@10 of a page in the order of a profile; what was used is relevant."""
    columns = {name: page.values[:, place] for place, name in enumerate(COMPONENTS)}
    order = np.argsort(-adjust(page.semantic, columns, profile).scores, kind="stable")
    relevant = (page.used & ~page.rejected).astype(np.float64)
    discounts = 1.0 / np.log2(np.arange(2, _DEPTH + 2))
    found = relevant[order][:_DEPTH]
    ideal = np.sort(relevant)[::-1][:_DEPTH]
    return float(found @ discounts[: len(found)]) / float(ideal @ discounts[: len(ideal)])
