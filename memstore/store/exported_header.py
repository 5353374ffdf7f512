"""The header of an export: what belongs to the store as a whole, written and taken over.

What a store was told or has learned itself counts more than what another one says.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from typing import Any, get_args

from sqlalchemy import Connection

from memstore.catalog import aliases, calibrations, feedback, learned_weights, log, memories
from memstore.catalog.calibrations import CalibrationRow
from memstore.catalog.engine import writing
from memstore.catalog.feedback import Reliability
from memstore.catalog.learned_weights import WeightsRow
from memstore.catalog.tables import SCHEMA_VERSION
from memstore.encoders import EncoderIdentity
from memstore.entities import canonical
from memstore.errors import BadInput, MemstoreError
from memstore.scoring.calibration import calibration_from
from memstore.scoring.cognitive import COMPONENTS
from memstore.store import drafts
from memstore.store.counters import recount
from memstore.store.identity import check_current
from memstore.store.opening import OpenStore
from memstore.times import from_microseconds, iso
from memstore.types import ScoreKind


def header_of(connection: Connection, identity: EncoderIdentity) -> dict[str, Any]:
    """Return what an export says before its memories."""
    spaces = memories.namespaces_under(connection, "*")
    return {
        "schema": SCHEMA_VERSION,
        "encoder": identity.name,
        "encoder_fingerprint": identity.fingerprint,
        "sources": [
            {"name": name, "said": said}
            for name, _, _ in feedback.named_sources(connection)
            if (said := _said_of(connection, name))
        ],
        "aliases": [
            {"namespace": path, "alias": alias, "canon": canon}
            for path, alias, canon in aliases.aliases(connection, spaces)
        ],
        "calibrations": [
            {
                "scorer": row.scorer,
                "kind": row.kind,
                "parameters": dict(row.parameters),
                "evidence": dict(row.evidence),
                "fitted_at": iso(from_microseconds(row.fitted_at)),
            }
            for row in calibrations.list_calibrations(connection)
        ],
        "weights": [
            {
                "version": row.version,
                "profile": row.profile,
                "weights": dict(row.weights),
                "parent": row.parent,
                "evidence": dict(row.evidence),
                "created_at": iso(from_microseconds(row.created_at)),
            }
            for row in learned_weights.list_weights(connection)
        ],
        "active_weights": learned_weights.active_versions(connection),
    }


def _said_of(connection: Connection, name: str) -> list[dict[str, Any]]:
    """Return how far a source was believed, from when on."""
    return [
        {
            "recorded_at": iso(from_microseconds(at)),
            "reliability": known.prior,
            "vote_weight": known.vote,
        }
        for at, known in feedback.reliability_history(connection, name)
    ]


def take_over(opened: OpenStore, header: Mapping[str, Any], place: str, *, now: int) -> None:
    """Store what a header says, in one transaction.

    Sources are believed as they were there, and names stand for each other as they did, where this
    store was not told otherwise. What was learned is that of one encoder and one store: it comes
    along where the encoder is the same, calibrations of scorers that have none here, and weights
    where none were learned.

    Raises:
        BadInput: it is not as `export` writes it; nothing was stored.
    """
    try:
        told = [
            (
                drafts.check_text(item["name"], "a source"),
                [_reliability(say) for say in item["said"]],
            )
            for item in header.get("sources", ())
        ]
        names = [
            (
                drafts.check_namespace(item["namespace"]),
                _canon(item["alias"], "an alias"),
                _canon(item["canon"], "a name"),
            )
            for item in header.get("aliases", ())
        ]
        fitted = [_calibration(item) for item in header.get("calibrations", ())]
        learned = [_weights(item) for item in header.get("weights", ())]
        active = _active(header.get("active_weights", {}), learned)
    except MemstoreError as error:
        raise BadInput(f"{place}: {error}") from error
    except (TypeError, KeyError, AttributeError, ValueError, OverflowError) as error:
        raise BadInput(f"{place}: not as export writes it: {error!r}.") from error
    if header.get("encoder_fingerprint") != opened.identity.fingerprint:
        fitted, learned = [], []
    if not (told or names or fitted or learned):
        return
    with writing(opened.engine, opened.path) as connection:
        if fitted or learned:
            check_current(connection, opened.path, opened.identity)
        for name, said in told:
            _believe(connection, name, said)
        _stand_for(connection, names, now)
        for row in fitted:
            if calibrations.find_calibration(connection, row.scorer) is None:
                calibrations.write_calibration(connection, row)
                payload = {"scorer": row.scorer}
                log.append_event(connection, log.STORE, log.CALIBRATE, now=now, payload=payload)
        if not learned_weights.list_weights(connection):
            for version in learned:
                learned_weights.restore_weights(connection, version)
            for profile, number in active.items() if learned else ():
                learned_weights.activate(connection, profile, number, now=now)


def _believe(connection: Connection, name: str, said: list[tuple[int, Reliability]]) -> None:
    source = memories.source_id(connection, name)
    if source is None or feedback.reliability_history(connection, name):
        return
    for at, reliability in said:
        feedback.write_reliability(connection, source, reliability, now=at)
    recount(connection, feedback.believing(connection, source))


def _canon(name: Any, what: str) -> str:
    canon = canonical(drafts.check_text(name, what))
    if not canon:
        raise BadInput(f"{what} is {name!r}, punctuation alone.")
    return canon


def _stand_for(connection: Connection, names: list[tuple[str, str, str]], now: int) -> None:
    spaces = memories.namespaces_under(connection, "*")
    there = {(path, alias) for path, alias, _ in aliases.aliases(connection, spaces)}
    added = False
    for path, alias, canon in names:
        if (path, alias) not in there:
            with contextlib.suppress(BadInput):  # they stand for each other here already
                aliases.add_alias(connection, memories.namespace_id(connection, path), alias, canon)
                added = True
    if added:
        log.append_event(connection, log.STORE, log.ALIAS, now=now)


def _reliability(item: Mapping[str, Any]) -> tuple[int, Reliability]:
    return _moment(item, "recorded_at"), Reliability(
        drafts.check_number(item["reliability"], "reliability", 0.0, 1.0),
        drafts.check_number(item["vote_weight"], "vote_weight", 0.0, 1.0),
    )


def _calibration(item: Mapping[str, Any]) -> CalibrationRow:
    kind = item["kind"]
    if kind not in get_args(ScoreKind):
        raise BadInput(f"a calibration is of the kind {kind!r}.")
    calibration_from(kind, item["parameters"])
    return CalibrationRow(
        scorer=drafts.check_text(item["scorer"], "a scorer"),
        kind=kind,
        parameters=item["parameters"],
        evidence=dict(item["evidence"]),
        fitted_at=_moment(item, "fitted_at"),
    )


def _weights(item: Mapping[str, Any]) -> WeightsRow:
    values = {name: float(value) for name, value in item["weights"].items()}
    if set(values) != set(COMPONENTS) or not all(map(math.isfinite, values.values())):
        raise BadInput(f"weights are {item['weights']!r}; give a number for each component.")
    return WeightsRow(
        version=_number(item["version"]),
        profile=drafts.check_text(item["profile"], "a profile"),
        weights=values,
        parent=None if item["parent"] is None else _number(item["parent"]),
        evidence=dict(item["evidence"]),
        created_at=_moment(item, "created_at"),
    )


def _active(given: Mapping[str, Any], learned: list[WeightsRow]) -> dict[str, int]:
    versions = {(row.profile, row.version) for row in learned}
    active = {profile: _number(version) for profile, version in given.items()}
    known = {row.version for row in learned}
    if not versions.issuperset(active.items()) or not known.issuperset(
        row.parent for row in learned if row.parent is not None
    ):
        raise BadInput("weights refer to versions that are not there.")
    return active


def _number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise BadInput(f"a version is {value!r}; it is a whole number from 1.")
    return value


def _moment(item: Mapping[str, Any], name: str) -> int:
    at = drafts.check_time(item[name], name)
    if at is None:
        raise BadInput(f"{name} is missing.")
    return at
