"""How scores become log-odds in this store: per scorer, fitted to it, replaced by a refit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select
from sqlalchemy.dialects.sqlite import insert as upsert

from memstore.catalog.checksums import intact
from memstore.catalog.tables import calibration
from memstore.errors import IndexDamaged


@dataclass(frozen=True, slots=True)
class CalibrationRow:
    """A stored calibration; `fitted_at` in UTC microseconds."""

    scorer: str
    kind: str
    parameters: Mapping[str, Any]
    evidence: Mapping[str, Any]
    fitted_at: int


def find_calibration(connection: Connection, scorer: str) -> CalibrationRow | None:
    """Return the calibration of a scorer, None where it was never fitted in this store."""
    row = connection.execute(select(calibration).where(calibration.c.scorer == scorer))
    found = row.one_or_none()
    return None if found is None else _calibration(found)


def list_calibrations(connection: Connection) -> list[CalibrationRow]:
    """Return all of them, by scorer; those of encoders the store had before too."""
    rows = connection.execute(select(calibration).order_by(calibration.c.scorer))
    return [_calibration(row) for row in rows]


def write_calibration(connection: Connection, row: CalibrationRow) -> None:
    """Store the calibration of a scorer in place of its earlier one."""
    values = {
        "kind": row.kind,
        "parameters": json.dumps(dict(row.parameters)),
        "evidence": json.dumps(dict(row.evidence)),
        "fitted_at": row.fitted_at,
    }
    statement = upsert(calibration).values(scorer=row.scorer, **values)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[calibration.c.scorer],
            set_={**values, "checksum": statement.excluded.checksum},
        )
    )


def _calibration(row: Row[Any]) -> CalibrationRow:
    if not intact(calibration, row):
        raise IndexDamaged(
            f"The calibration of {row.scorer!r} is not as it was written. Fit it anew:\n"
            "    memstore calibrate"
        )
    parameters, evidence = json.loads(row.parameters), json.loads(row.evidence)
    return CalibrationRow(row.scorer, row.kind, parameters, evidence, row.fitted_at)
