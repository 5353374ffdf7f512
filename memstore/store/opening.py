"""From a path to an open store: created, upgraded or refused."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from memstore.catalog import log
from memstore.catalog.engine import DATABASE, open_engine, reading, writing
from memstore.catalog.migrate import bring_up_to_date, stored_version, too_new
from memstore.catalog.tables import SCHEMA_VERSION
from memstore.encoders import Encoder, EncoderIdentity, open_encoder
from memstore.entities import EntityExtractor, open_extractor
from memstore.errors import (
    BadInput,
    EncoderMismatch,
    IndexDamaged,
    StoreNotFound,
    StoreUnwritable,
)
from memstore.settings import DEFAULT_ENCODER, Settings
from memstore.store.snapshot import Snapshot

_ENCODER = "encoder"


@dataclass(slots=True)
class OpenStore:
    """What every operation of the store works on. Parts that cost time are made on first use."""

    path: Path
    engine: Engine
    settings: Settings
    read_only: bool
    identity: EncoderIdentity
    device: str
    snapshot: Snapshot
    _encoder: Encoder | None = None
    _extractor: EntityExtractor | None = None
    _making: threading.Lock = field(default_factory=threading.Lock)

    @property
    def encoder(self) -> Encoder:
        """The store's encoder.

        Raises:
            EncoderUnavailable: its weights cannot be loaded.
            EncoderMismatch: what loads under its name makes other vectors than the stored ones.
        """
        with self._making:
            if self._encoder is None:
                encoder = open_encoder(self.identity.name, device=self.device)
                check_identity(self.path, self.identity, encoder.identity)
                self._encoder = encoder
            return self._encoder

    @property
    def extractor(self) -> EntityExtractor:
        """The entity extractor of the settings."""
        with self._making:
            if self._extractor is None:
                self._extractor = open_extractor(self.settings.extractor)
            return self._extractor

    def adopt(self, encoder: Encoder) -> None:
        """Use another encoder from now on (the stored vectors were just made by it)."""
        self.identity = encoder.identity
        self.snapshot = Snapshot(encoder.identity.dim)
        self._encoder = encoder

    def check_writable(self) -> None:
        """Refuse a write to a store opened for reading."""
        if self.read_only:
            raise StoreUnwritable(
                f"{self.path} was opened with read_only=True. Open it without to change it."
            )


def open_store(
    path: str | os.PathLike[str],
    *,
    create: bool,
    read_only: bool,
    encoder: str | Encoder | None,
    device: str | None,
    settings: Settings | Mapping[str, Any] | None,
) -> OpenStore:
    """Open a store, creating or upgrading it where that is asked for and needed."""
    store = Path(path)
    chosen = check_settings(settings)
    device = device or "auto"
    exists = _exists(store)
    if not exists:
        if read_only or not create:
            raise StoreNotFound(
                f"There is no store at {store}. Create it:\n    memstore --store {store} init"
            )
        if isinstance(encoder, str) or encoder is None:
            # before anything is written: an unknown encoder leaves no empty store behind
            encoder = open_encoder(encoder or DEFAULT_ENCODER, device=device)
        _make_folder(store)
    engine = open_engine(store, read_only=read_only, lock_timeout=chosen.lock_timeout)
    try:
        identity = _identity(engine, store, encoder, device, chosen, read_only)
    except BaseException:
        engine.dispose()
        raise
    opened = OpenStore(
        path=store,
        engine=engine,
        settings=chosen,
        read_only=read_only,
        identity=identity,
        device=device,
        snapshot=Snapshot(identity.dim),
    )
    if encoder is not None and not isinstance(encoder, str):
        opened._encoder = encoder
    return opened


def check_settings(settings: Settings | Mapping[str, Any] | None) -> Settings:
    """Return the settings, from a mapping too; an unknown one is refused by name."""
    if settings is None:
        return Settings()
    if isinstance(settings, Settings):
        return settings
    known = [item.name for item in dataclasses.fields(Settings)]
    for name in settings:
        if name not in known:
            raise BadInput(f"Setting {name!r} is unknown. Known: {', '.join(known)}.")
    return Settings(**settings)


def check_identity(store: Path, stored: EncoderIdentity, asked: EncoderIdentity) -> None:
    """Refuse an encoder whose vectors are not comparable with the stored ones."""
    if stored.fingerprint == asked.fingerprint:
        return
    if stored.name != asked.name:
        raise _mismatch(store, stored.name, asked.name)
    raise EncoderMismatch(
        f"{store} was built with encoder {stored.name!r} of fingerprint {stored.fingerprint[:12]}; "
        f"the one that loads now has {asked.fingerprint[:12]}: other weights or settings. "
        "Bring the old ones back, or re-encode the store:\n"
        f"    memstore --store {store} rebuild --encoder {asked.name}"
    )


def write_identity(connection: Any, identity: EncoderIdentity) -> None:
    """Record whose vectors the store holds."""
    value = {item.name: getattr(identity, item.name) for item in dataclasses.fields(identity)}
    log.write_setting(connection, _ENCODER, {**value, "options": dict(identity.options)})


def _mismatch(store: Path, stored: str, asked: str) -> EncoderMismatch:
    return EncoderMismatch(
        f"{store} was built with encoder {stored!r}, but {asked!r} was asked for.\n"
        f"Open it with encoder={stored!r}, or re-encode it:\n"
        f"    memstore --store {store} rebuild --encoder {asked}"
    )


def _exists(store: Path) -> bool:
    if store.is_file() or (store.exists() and not store.is_dir()):
        raise BadInput(f"{store} is a file. A store is a folder: give another path.")
    if not store.exists():
        return False
    if (store / DATABASE).exists():
        return True
    if any(store.iterdir()):
        raise BadInput(
            f"{store} is a folder with other files and no {DATABASE}. Give the path of a store, "
            "or of a new or empty folder."
        )
    return False


def _make_folder(store: Path) -> None:
    try:
        store.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnwritable(
            f"The store {store} cannot be created: {error.strerror}. Give a path you may write to."
        ) from error


def _identity(
    engine: Engine,
    store: Path,
    encoder: str | Encoder | None,
    device: str,
    settings: Settings,
    read_only: bool,
) -> EncoderIdentity:
    """Return whose vectors the store holds, after bringing its schema up to date."""
    with reading(engine, store) as connection:
        version = stored_version(connection)
        stored = None if version is None else log.read_setting(connection, _ENCODER)
    if version is not None and version > SCHEMA_VERSION:
        raise too_new(store, version)
    if version != SCHEMA_VERSION:
        if read_only:
            raise StoreUnwritable(
                f"{store} has the older schema {version}; reading it needs an upgrade first. "
                "Open it once without read_only=True."
            )
        bring_up_to_date(store, lock_timeout=settings.lock_timeout)
    if stored is None:  # new, or its creation was interrupted
        if read_only:
            raise IndexDamaged(f"{store} was never finished. Open it once without read_only=True.")
        if encoder is None or isinstance(encoder, str):
            encoder = open_encoder(encoder or DEFAULT_ENCODER, device=device)
        with writing(engine, store) as connection:
            stored = log.read_setting(connection, _ENCODER)
            if stored is None:
                write_identity(connection, encoder.identity)
                now = time.time_ns() // 1000
                log.append_event(connection, log.STORE, "create", now=now)
                return encoder.identity
    identity = EncoderIdentity(**stored)
    if isinstance(encoder, str) and encoder != identity.name:
        raise _mismatch(store, identity.name, encoder)
    if encoder is not None and not isinstance(encoder, str):
        check_identity(store, identity, encoder.identity)
    return identity
