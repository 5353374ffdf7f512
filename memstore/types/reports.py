"""What verbs of upkeep say they did: ingests, checks, imports and exports, counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LineError:
    """An input that could not be stored. `line` counts from 1; None for a whole file."""

    file: str
    line: int | None
    message: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestReport:
    """What an ingest did. `superseded` counts earlier memories that new ones replaced."""

    added: int
    unchanged: int
    superseded: int
    errors: tuple[LineError, ...]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetReport:
    """Which memories `forget` removed, or would remove in a dry run, and what went with them.

    `removed` counts by what: `memories`, `passages`, `entities` (names that no other memory
    mentions); of a purge also token `vectors`, `events`, `aliases`, `namespaces`, `sources` and
    logged `pages`, and once it is done `segments` of the index that were written anew and
    `centroids` that were replaced. Passages and vectors of earlier deletions count where segments
    held them still. A dry run of a store opened for reading counts memories only. `bytes_before`
    and `bytes_after` are the size of all files, None unless purged.
    """

    ids: tuple[str, ...]
    purged: bool
    dry_run: bool
    removed: Mapping[str, int]
    at: datetime
    bytes_before: int | None = None
    bytes_after: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something `verify` found wrong, and whether it was repaired."""

    code: str
    message: str
    repaired: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """`clean` is True when nothing is wrong any more; `checked` counts what was looked at."""

    findings: tuple[Finding, ...]
    checked: Mapping[str, int]

    @property
    def clean(self) -> bool:
        return all(finding.repaired for finding in self.findings)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactReport:
    """What sealing and merging did.

    `sealed` counts hot passages that are compressed now, `merged` segments that went into others,
    `dropped` deleted passages whose vectors are gone; `trained` says whether the codec is new.
    """

    sealed: int
    merged: int
    dropped: int
    trained: bool
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What an import did; `unchanged` were there already under the same id.

    `added` also counts memories that had been forgotten and are back. `superseded` counts earlier
    memories that those of another memory's export replaced, `errors` what of it could not be
    stored.
    """

    added: int
    unchanged: int
    superseded: int = 0
    errors: tuple[LineError, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportIndexReport:
    """What an import of an index folder did.

    `unchanged` memories were there already; `skipped` passages are deleted there or have no text.
    `vectors` counts the token vectors that were adopted.
    """

    added: int
    unchanged: int
    skipped: int
    vectors: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportIndexReport:
    """What an export to an index folder wrote; `vectors` counts token vectors.

    `encoded` of the passages were not sealed yet: their vectors were compressed for the export.
    """

    memories: int
    passages: int
    vectors: int
    encoded: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """Counts of live things, the encoder's name and the bytes on disk."""

    memories: int
    passages: int
    vectors: int
    namespaces: int
    entities: int
    hot_passages: int
    segments: int
    encoder: str
    schema_version: str
    size_bytes: int
    forgotten: int = 0
    sources: Mapping[str, int] = field(default_factory=dict)
