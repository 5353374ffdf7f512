"""memstore: a hybrid memory store with late-interaction retrieval.

    from memstore import MemoryStore

    with MemoryStore.open("agent.mem") as store:
        store.add("Ana moved from Porto to Lisbon.", key="ana.city")
        print(store.query("where does Ana live?").hits[0].memory.text)

Names are loaded on first use (PEP 562): importing memstore costs milliseconds.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memstore.errors import (
        BadInput,
        EncoderMismatch,
        EncoderUnavailable,
        IndexDamaged,
        KeyRefused,
        MemoryNotFound,
        MemstoreError,
        MissingExtra,
        RateLimited,
        RerankerUnavailable,
        SchemaTooNew,
        ServiceError,
        ServiceUnreachable,
        StoreLocked,
        StoreNotFound,
        StoreUnwritable,
        VersionConflict,
    )
    from memstore.settings import Settings
    from memstore.store import MemoryStore
    from memstore.store.calibrating import CalibrationReport
    from memstore.store.judged_questions import Guard, JudgedQuestion
    from memstore.store.learning import LearnedWeights, LearnReport
    from memstore.types import (
        CompactReport,
        Dropped,
        Entity,
        Event,
        Explanation,
        ExportIndexReport,
        Finding,
        ForgetReport,
        Hit,
        ImportIndexReport,
        ImportReport,
        IngestReport,
        LineError,
        Memory,
        Namespace,
        Neighbour,
        NewMemory,
        Page,
        Part,
        Passage,
        Proposal,
        QueryResult,
        Relevance,
        Source,
        Stats,
        Suppressed,
        TemporalCue,
        TokenMatch,
        VerifyReport,
    )

__version__ = "0.1.0"

_HOMES = {
    "memstore.store": ("MemoryStore",),
    "memstore.store.calibrating": ("CalibrationReport",),
    "memstore.store.judged_questions": ("Guard", "JudgedQuestion"),
    "memstore.store.learning": ("LearnedWeights", "LearnReport"),
    "memstore.settings": ("Settings",),
    "memstore.types": (
        "CompactReport",
        "Dropped",
        "Entity",
        "Event",
        "Explanation",
        "ExportIndexReport",
        "Finding",
        "ForgetReport",
        "Hit",
        "ImportIndexReport",
        "ImportReport",
        "IngestReport",
        "LineError",
        "Memory",
        "Namespace",
        "Neighbour",
        "NewMemory",
        "Page",
        "Part",
        "Passage",
        "Proposal",
        "QueryResult",
        "Relevance",
        "Source",
        "Stats",
        "Suppressed",
        "TemporalCue",
        "TokenMatch",
        "VerifyReport",
    ),
    "memstore.errors": (
        "BadInput",
        "EncoderMismatch",
        "EncoderUnavailable",
        "IndexDamaged",
        "KeyRefused",
        "MemoryNotFound",
        "MemstoreError",
        "MissingExtra",
        "RateLimited",
        "RerankerUnavailable",
        "SchemaTooNew",
        "ServiceError",
        "ServiceUnreachable",
        "StoreLocked",
        "StoreNotFound",
        "StoreUnwritable",
        "VersionConflict",
    ),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "BadInput",
    "CalibrationReport",
    "CompactReport",
    "Dropped",
    "EncoderMismatch",
    "EncoderUnavailable",
    "Entity",
    "Event",
    "Explanation",
    "ExportIndexReport",
    "Finding",
    "ForgetReport",
    "Guard",
    "Hit",
    "ImportIndexReport",
    "ImportReport",
    "IndexDamaged",
    "IngestReport",
    "JudgedQuestion",
    "KeyRefused",
    "LearnReport",
    "LearnedWeights",
    "LineError",
    "Memory",
    "MemoryNotFound",
    "MemoryStore",
    "MemstoreError",
    "MissingExtra",
    "Namespace",
    "Neighbour",
    "NewMemory",
    "Page",
    "Part",
    "Passage",
    "Proposal",
    "QueryResult",
    "RateLimited",
    "Relevance",
    "RerankerUnavailable",
    "SchemaTooNew",
    "ServiceError",
    "ServiceUnreachable",
    "Settings",
    "Source",
    "Stats",
    "StoreLocked",
    "StoreNotFound",
    "StoreUnwritable",
    "Suppressed",
    "TemporalCue",
    "TokenMatch",
    "VerifyReport",
    "VersionConflict",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'memstore' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
