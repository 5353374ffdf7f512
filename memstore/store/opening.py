"""From a path to an open store: created, upgraded or refused."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine

from memstore.catalog import log
from memstore.catalog.engine import DATABASE, open_engine, reading, writing
from memstore.catalog.forking import no_fork
from memstore.catalog.migrate import bring_up_to_date, check_version, remove_copies, stored_version
from memstore.catalog.tables import SCHEMA_VERSION
from memstore.encoders import Encoder, EncoderIdentity, open_encoder
from memstore.entities import EntityExtractor, open_extractor
from memstore.errors import (
    BadInput,
    EncoderUnavailable,
    IndexDamaged,
    StoreNotFound,
    StoreUnwritable,
)
from memstore.private_files import create_folder, sync_folder
from memstore.rerank import Reranker
from memstore.settings import DEFAULT_ENCODER, Settings, VectorSettings
from memstore.store.identity import (
    check_current,
    check_identity,
    check_made_so,
    mend_identity,
    mismatch,
    read_identity,
    write_identity,
)
from memstore.store.rerankers import Rerankers
from memstore.store.snapshot import Snapshot

_LEAST = {
    "batch_size": 1,
    "session_context": 0,
    "overlap_tokens": 0,
    "passage_tokens": 1,
    "candidates": 1,
    "hot_tokens": 0,
    "threads": 1,
    "proposals": 0,
    "rerank_depth": 1,
    "rerank_batch_size": 1,
    "rerank_max_length": 16,
    "rerank_characters": 1,
    "service_retries": 0,
    "exact": 1,
    "exhaustive": 0,
    "nprobe": 1,
}
_VECTORS = tuple(item.name for item in dataclasses.fields(VectorSettings))
# None: chosen by the store
_OPTIONAL = ("exact", "exhaustive", "nprobe", "rerank_batch_size", *_VECTORS)
_BITS = (1, 2, 4, 8)
_POOLING = (1, 2, 3)
_FLAGS = ("lexical", "log_pages")
_SECONDS = {"lock_timeout": 0.0, "service_timeout": 0.001, "service_budget": 0.001}
_DTYPES = ("float32", "bfloat16", "float16")


@dataclass(slots=True)
class OpenStore:
    """What every operation of the store works on. Parts that cost time are made on first use."""

    path: Path
    engine: Engine
    settings: Settings
    read_only: bool
    identity: EncoderIdentity
    vector_settings: VectorSettings
    device: str
    snapshot: Snapshot
    rerankers: Rerankers
    reranker: str | Reranker | None = None  # of queries that name none
    _encoder: Encoder | None = None
    _extractor: EntityExtractor | None = None
    _making: threading.Lock = field(default_factory=threading.Lock)
    process: int = field(default_factory=os.getpid)

    @property
    def session_context(self) -> int:
        """How many memories of its session a memory is read with."""
        return self.vector_settings.context_of(self.identity.session_context)

    @property
    def encoder(self) -> Encoder:
        """The store's encoder.

        Raises:
            EncoderUnavailable: its weights cannot be loaded.
            EncoderMismatch: what loads under its name makes other vectors than the stored ones.
        """
        with no_fork(), self._making:
            return self._loaded()

    def current(self) -> tuple[Encoder, Snapshot]:
        """Return the encoder, and the snapshot of the vectors it made: they belong together."""
        with no_fork(), self._making:
            return self._loaded(), self.snapshot

    def _loaded(self) -> Encoder:
        if self._encoder is None:
            encoder = open_encoder(self.identity.name, device=self.device)
            check_identity(self.path, self.identity, encoder.identity)
            self._encoder = encoder
        return self._encoder

    @property
    def extractor(self) -> EntityExtractor:
        """The entity extractor of the settings."""
        with no_fork(), self._making:  # a child would wait for ever for what is half imported
            if self._extractor is None:
                self._extractor = open_extractor(self.settings.extractor)
            return self._extractor

    @contextlib.contextmanager
    def replacing(self, encoder: Encoder, made: VectorSettings) -> Iterator[None]:
        """Use another encoder and other settings from now on, once the block has stored the vectors
        that they make.
        """
        with no_fork(), self._making:
            yield
            self.identity, self.vector_settings = encoder.identity, made
            self.snapshot = Snapshot(self.path, encoder.identity)
            self._encoder = encoder

    def check_encoder(self, connection: Connection, encoder: Encoder, made: VectorSettings) -> None:
        """Refuse to store vectors of an encoder, or made in a way, that is not the store's any
        more.
        """
        check_current(connection, self.path, encoder.identity, made)

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
    reranker: str | Reranker | None,
    device: str | None,
    settings: Settings | Mapping[str, Any] | None,
) -> OpenStore:
    """Open a store, creating or upgrading it where that is asked for and needed."""
    store = _path(path)
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
        identity, made = _identity(engine, store, encoder, device, chosen, read_only)
        check_made_so(store, made, chosen, identity)
        if isinstance(encoder, str) and encoder != identity.name:
            encoder = _under_another_name(store, identity, encoder, device)
        if encoder is not None and not isinstance(encoder, str):
            check_identity(store, identity, encoder.identity)
    except BaseException:
        engine.dispose()
        raise
    opened = OpenStore(
        path=store.absolute(),  # the process may change its working directory
        engine=engine,
        settings=chosen,
        read_only=read_only,
        identity=identity,
        vector_settings=made,
        device=device,
        snapshot=Snapshot(store.absolute(), identity),
        rerankers=Rerankers(device, chosen),
        reranker=reranker,
    )
    if encoder is not None and not isinstance(encoder, str):
        opened._encoder = encoder
    return opened


def check_settings(settings: Settings | Mapping[str, Any] | None) -> Settings:
    """Return the settings, from a mapping too; an unknown one is refused by name."""
    if settings is None:
        return Settings()
    if isinstance(settings, Settings):
        return _checked(settings)
    known = [item.name for item in dataclasses.fields(Settings)]
    for name in settings:
        if name not in known:
            raise BadInput(f"Setting {name!r} is unknown. Known: {', '.join(known)}.")
    return _checked(Settings(**settings))


def with_asked(made: VectorSettings, settings: Settings) -> VectorSettings:
    """Return how vectors are made, but for what is asked for otherwise."""
    asked = {name: getattr(settings, name) for name in _VECTORS}
    return dataclasses.replace(
        made, **{name: value for name, value in asked.items() if value is not None}
    )


def _checked(settings: Settings) -> Settings:
    for name, fewest in _SECONDS.items():
        wait = getattr(settings, name)
        if isinstance(wait, bool) or not isinstance(wait, (int, float)) or not fewest <= wait < 1e9:
            raise BadInput(f"Setting {name!r} is {wait!r}; give seconds, {fewest:g} or more.")
    for name, least in _LEAST.items():
        value = getattr(settings, name)
        if value is None and name in _OPTIONAL:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise BadInput(f"Setting {name!r} is {value!r}; give a whole number from {least}.")
    for name in _FLAGS:
        if not isinstance(getattr(settings, name), bool):
            raise BadInput(f"Setting {name!r} is {getattr(settings, name)!r}; give true or false.")
    spread = settings.spreading
    if isinstance(spread, bool) or not isinstance(spread, (int, float)) or not 0 <= spread <= 1:
        raise BadInput(f"Setting 'spreading' is {spread!r}; give a number from 0 to 1.")
    if settings.residual_bits not in (None, *_BITS):
        raise BadInput(f"Setting 'residual_bits' is {settings.residual_bits!r}; give 1, 2, 4 or 8.")
    if settings.pooling not in (None, *_POOLING):
        raise BadInput(f"Setting 'pooling' is {settings.pooling!r}; give 1, 2 or 3.")
    if settings.rerank_dtype not in _DTYPES:
        raise BadInput(
            f"Setting 'rerank_dtype' is {settings.rerank_dtype!r}; give {', '.join(_DTYPES)}."
        )
    return settings


def _path(path: str | os.PathLike[str]) -> Path:
    try:
        store = Path(path)
    except TypeError as error:
        raise BadInput(f"A store's path is a string or a Path, not {path!r}.") from error
    if not str(path).strip() or "\0" in str(path):  # '' would mean the current folder
        raise BadInput(f"{str(path)!r} is no path. Give the path of the store's folder.")
    return store


def _exists(store: Path) -> bool:
    try:
        if store.is_file() or (store.exists() and not store.is_dir()):
            raise BadInput(f"{store} is a file. A store is a folder: give another path.")
        if not store.exists():
            return False
        if (store / DATABASE).is_symlink():
            raise BadInput(
                f"{store / DATABASE} is a symbolic link, which is not followed. To keep a store "
                "elsewhere, move all of its folder."
            )
        if (store / DATABASE).exists():
            return True
        others = any(store.iterdir())
    except OSError as error:
        raise StoreUnwritable(
            f"The store {store} cannot be looked at: {error.strerror}. Give a path you may read."
        ) from error
    if others:
        raise BadInput(
            f"{store} is a folder with other files and no {DATABASE}. Give the path of a store, "
            "or of a new or empty folder."
        )
    return False


def _make_folder(store: Path) -> None:
    new = [folder for folder in (store, *store.absolute().parents) if not folder.exists()]
    try:
        create_folder(store, exist_ok=True)
        for folder in new:
            sync_folder(folder.absolute().parent)  # or a power cut takes the whole store
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
) -> tuple[EncoderIdentity, VectorSettings]:
    """Return whose vectors the store holds, and how they are made, after bringing its schema up to
    date.
    """
    with reading(engine, store) as connection:
        version = stored_version(connection)
        if version is not None:
            check_version(store, version)  # before a table is read that it may not have any more
    if version is None and read_only:
        raise _unfinished(store)
    if version != SCHEMA_VERSION:
        if read_only:
            raise StoreUnwritable(
                f"{store} has the older schema {version}; reading it needs an upgrade first. "
                "Open it once without read_only=True."
            )
        bring_up_to_date(store, lock_timeout=settings.lock_timeout)
    elif not read_only:
        remove_copies(store)
    found = _stored_identity(engine, store, read_only)
    if found is None and read_only:
        raise _unfinished(store)
    if found is None:  # new, or its creation was interrupted
        if encoder is None or isinstance(encoder, str):
            encoder = open_encoder(encoder or DEFAULT_ENCODER, device=device)
        with writing(engine, store) as connection:
            found = read_identity(connection)
            if found is None:
                if log.any_event(connection):  # the first of all says that the store was created
                    raise IndexDamaged(
                        f"{store} has lost the setting that says which encoder made its vectors. "
                        "Restore a backup."
                    )
                made = with_asked(VectorSettings(), settings)
                write_identity(connection, encoder.identity, made)
                now = time.time_ns() // 1000
                log.append_event(connection, log.STORE, "create", now=now)
                return encoder.identity, made
    return found


def _unfinished(store: Path) -> IndexDamaged:
    return IndexDamaged(f"{store} was never finished. Open it once without read_only=True.")


def _stored_identity(
    engine: Engine, store: Path, read_only: bool
) -> tuple[EncoderIdentity, VectorSettings] | None:
    """Return whose vectors the store holds; a flipped bit of it is mended here, since without it
    nothing can be opened.
    """
    try:
        with reading(engine, store) as connection:
            return read_identity(connection)
    except IndexDamaged as error:
        if read_only or not mend_identity(engine, store):
            raise IndexDamaged(
                f"{store}: {error}\nIf that cannot open it either, restore a backup."
            ) from error
    with reading(engine, store) as connection:
        return read_identity(connection)


def _under_another_name(store: Path, identity: EncoderIdentity, name: str, device: str) -> Encoder:
    """Return the encoder of a name that is not the stored one: a folder or an alias of the same
    weights is as good.
    """
    try:
        made = open_encoder(name, device=device)
    except EncoderUnavailable as error:
        raise mismatch(store, identity.name, name) from error
    check_identity(store, identity, made.identity)
    return made
