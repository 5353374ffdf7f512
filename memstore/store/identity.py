"""Whose vectors a store holds, and made how: written at creation and by `rebuild`, compared before
use.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from sqlalchemy import Connection, Engine, literal_column, update

from memstore.catalog import log
from memstore.catalog.checksums import stamps
from memstore.catalog.damage import damaged_rows, mend
from memstore.catalog.engine import reading, writing
from memstore.catalog.tables import setting
from memstore.encoders import EncoderIdentity
from memstore.errors import BadInput, EncoderMismatch
from memstore.settings import Settings, VectorSettings

_SETTING = "encoder"


def read_identity(connection: Connection) -> tuple[EncoderIdentity, VectorSettings] | None:
    """Return the identity of the encoder that made the stored vectors, and what else decided them;
    None before creation.
    """
    stored = log.read_setting(connection, _SETTING)
    if stored is None:
        return None
    made = VectorSettings(**stored.pop("vectors", {}))
    return EncoderIdentity(**stored), made


def mend_identity(engine: Engine, store: Path) -> bool:
    """Turn a flipped bit of the stored identity back; False if it is not just one."""
    with reading(engine, store) as connection:
        found = damaged_rows(connection, setting)
    for row in found:
        mended = mend(row)
        if mended is None:
            continue
        values = {name: row.value(name) for name in row.checksum.covers}
        if mended.column is not None:
            values[mended.column] = mended.value
        if values["name"] == _SETTING:
            with writing(engine, store) as connection:
                connection.exec_driver_sql("REINDEX setting")  # it may have the row's right name
                connection.execute(
                    update(setting)
                    .where(literal_column("rowid") == row.rowid)
                    .values(**values, **stamps(setting, values))
                )
            return True
    return False


def write_identity(connection: Connection, identity: EncoderIdentity, made: VectorSettings) -> None:
    """Record whose vectors the store holds, and what else decides them."""
    value = {item.name: getattr(identity, item.name) for item in dataclasses.fields(identity)}
    value["options"] = dict(identity.options)
    log.write_setting(connection, _SETTING, {**value, "vectors": dataclasses.asdict(made)})


def check_identity(store: Path, stored: EncoderIdentity, asked: EncoderIdentity) -> None:
    """Refuse an encoder whose vectors are not comparable with the stored ones."""
    if stored.fingerprint == asked.fingerprint:
        return
    if stored.name != asked.name:
        raise mismatch(store, stored.name, asked.name)
    raise EncoderMismatch(
        f"{store} was built with encoder {stored.name!r} of fingerprint {stored.fingerprint[:12]}; "
        f"the one that loads now has {asked.fingerprint[:12]}: other weights or settings. "
        "Bring the old ones back, or re-encode the store:\n"
        f"    memstore --store {store} rebuild --encoder {asked.name}"
    )


def check_made_so(
    store: Path, made: VectorSettings, settings: Settings, identity: EncoderIdentity
) -> None:
    """Refuse settings that are not those the stored vectors were made with."""
    for name, value in dataclasses.asdict(made).items():
        asked = getattr(settings, name)
        if name == "session_context":
            value = made.context_of(identity.session_context)
        if asked not in (None, value):
            raise BadInput(
                f"{store} was made with {name} {value}, but {name}={asked} was asked for.\n"
                "Leave it out, or re-encode the store:\n"
                f"    memstore --store {store} rebuild --{name.replace('_', '-')} {asked}"
            )


def check_current(
    connection: Connection,
    store: Path,
    used: EncoderIdentity,
    made: VectorSettings | None = None,
) -> None:
    """Refuse to mix vectors with those of another encoder that re-encoded the store meanwhile, or
    with others of the same one; `made` is None for who makes none.
    """
    found = read_identity(connection)
    if found is None:
        return
    stored, settings = found
    if stored.fingerprint == used.fingerprint and made not in (None, settings):
        raise EncoderMismatch(
            f"{store} was re-encoded with other settings while it was open here. Open the store "
            "again and repeat the call."
        )
    if stored.fingerprint != used.fingerprint:
        raise EncoderMismatch(
            f"{store} was re-encoded with {stored.name!r} while it was open here with "
            f"{used.name!r}. Open the store again and repeat the call."
        )


def mismatch(store: Path, stored: str, asked: str) -> EncoderMismatch:
    """Return the error for a store that was asked for under another encoder's name."""
    return EncoderMismatch(
        f"{store} was built with encoder {stored!r}, but {asked!r} was asked for.\n"
        f"Open it with encoder={stored!r}, or re-encode it:\n"
        f"    memstore --store {store} rebuild --encoder {asked}"
    )
