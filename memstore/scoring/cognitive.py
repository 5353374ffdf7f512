"""The one pass: `z = L + M tanh(A / M)`, with A the weighted sum of the components."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from memstore.scoring.calibration import check_finite
from memstore.scoring.components import Values
from memstore.scoring.profiles import Profile

COMPONENTS = ("currency", "use", "trust", "entity", "importance")


@dataclass(frozen=True, slots=True, eq=False)
class Adjustment:
    """Scores and what they are made of; arrays are (candidates,), in nats.

    `parts[name]` is what the component adds after the cap; the parts and the semantic log-odds
    sum to `scores`. `uncapped` is A, what the components would add without the cap, and `scale`,
    in (0, 1], the share of it that the cap leaves.
    """

    scores: Values
    parts: dict[str, Values]
    uncapped: Values
    scale: Values


def adjust(semantic: Values, components: dict[str, Values], profile: Profile) -> Adjustment:
    """Add the components to semantic log-odds, bounded by the profile's cap M.

    A memory more than 2M nats less relevant than another can never pass it. With M = 0, or all
    components neutral, the scores are the semantic ones bit for bit. A row's result depends on
    that row alone.

    Args:
        semantic: calibrated log-odds, in nats, finite.
        components: one array per name in COMPONENTS, finite.

    Raises:
        IndexDamaged: a semantic score is not a number or infinite.
    """
    check_finite(semantic)
    if profile.cap == 0.0:
        nothing = np.zeros(len(semantic))
        parts = {name: nothing.copy() for name in COMPONENTS}
        return Adjustment(semantic, parts, uncapped=nothing, scale=np.ones(len(semantic)))
    weighted = {name: getattr(profile, name) * components[name] for name in COMPONENTS}
    total = np.zeros(len(semantic))
    for name in COMPONENTS:
        total = total + weighted[name]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = total / profile.cap
        scale = np.where(np.abs(total) < 1e-12, 1.0, np.tanh(ratio) / ratio)
    parts = {name: values * scale for name, values in weighted.items()}
    # where nothing is said nothing is added: even -0.0 + 0.0 would change a bit
    adjusted = semantic + profile.cap * np.tanh(ratio)
    scores = np.where(total == 0.0, semantic, adjusted)
    return Adjustment(scores, parts, uncapped=total, scale=scale)
