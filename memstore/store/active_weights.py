"""Which weights a profile has in this store: those learned here if they count, else as shipped."""

from __future__ import annotations

import dataclasses
from typing import Any

from sqlalchemy import Connection

from memstore.catalog.learned_weights import active_versions, find_weights
from memstore.errors import IndexDamaged
from memstore.scoring.cognitive import COMPONENTS
from memstore.scoring.profiles import Profile


def active_profile(connection: Connection, profile: Profile) -> Profile:
    """Return a profile as this store scores with it.

    One whose caller gave weights of their own, or that is a learned one already, stays as it is.
    """
    if profile.replaced or profile.learned is not None:
        return profile
    version = active_versions(connection).get(profile.name)
    if version is None:
        return profile
    row = find_weights(connection, version)
    if row is None or set(row.weights) != set(COMPONENTS):
        raise IndexDamaged(
            f"Version {version} of the learned weights of {profile.name!r} is missing or "
            f"incomplete. Go back:\n    memstore learn --profile {profile.name} --rollback shipped"
        )
    learned: dict[str, Any] = {name: float(value) for name, value in row.weights.items()}
    return dataclasses.replace(profile, learned=version, **learned)
