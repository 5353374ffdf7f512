"""Every error memstore raises on purpose.

    MemstoreError
    ├── BadInput              an argument, file line or filter that cannot be accepted
    │   ├── MemoryNotFound    no memory has this id or key
    │   └── VersionConflict   the memory is not as the caller knew it
    ├── StoreNotFound         no store at this path
    ├── StoreLocked           another process kept the write lock longer than the wait
    ├── StoreUnwritable       the disk is full, the medium read-only, or I/O failed
    ├── SchemaTooNew          the store was written by a newer memstore
    ├── IndexDamaged          stored vectors or rows contradict each other
    ├── EncoderMismatch       the store's vectors come from another encoder
    ├── EncoderUnavailable    the encoder's weights cannot be loaded
    ├── RerankerUnavailable   a reranker cannot be loaded, or its scores cannot be used
    ├── MissingExtra          an optional package is not installed
    └── ServiceError          a hosted service refused a request or answered nonsense
        ├── KeyRefused            no API key is set, or the service does not accept it
        ├── RateLimited           too many requests, also after the last retry
        └── ServiceUnreachable    no answer, or only failures, within the time allowed

Each message says what happened, with its values, then what to do.
"""


class MemstoreError(Exception):
    """Anything memstore refuses or cannot do; catch this to catch all of them."""


class BadInput(MemstoreError):
    """The input cannot be accepted; the store is as it was before the call.

    Also of a store that was closed, or that this process inherited from the one it was forked from.
    """


class MemoryNotFound(BadInput):
    """No memory has the given id or key, or it was forgotten."""


class VersionConflict(BadInput):
    """A memory was changed since the caller read it; nothing was changed by this call."""


class StoreNotFound(MemstoreError):
    """There is no store at the path, and it was not to be created."""


class StoreLocked(MemstoreError):
    """Another process held the write lock for longer than the configured wait."""


class StoreUnwritable(MemstoreError):
    """The operating system refused a read or write: full disk, permissions, failing medium."""


class SchemaTooNew(MemstoreError):
    """The store's schema is newer than this version of memstore."""


class IndexDamaged(MemstoreError):
    """Stored vectors and rows contradict each other; `verify` lists what is wrong."""


class EncoderMismatch(MemstoreError):
    """The store holds the vectors of one encoder and another one was asked for."""


class EncoderUnavailable(MemstoreError):
    """An encoder is unknown, or its weights are missing, altered or unreachable."""


class RerankerUnavailable(MemstoreError):
    """A reranker's weights are missing, incomplete or unreachable, or its scores are no numbers."""


class MissingExtra(MemstoreError):
    """An optional dependency that this call needs is not installed."""


class ServiceError(MemstoreError):
    """A hosted service refused a request, or its answer cannot be understood."""


class KeyRefused(ServiceError):
    """No API key is set in the environment, or the service does not accept it."""


class RateLimited(ServiceError):
    """The service said that there are too many requests, also after the last retry."""


class ServiceUnreachable(ServiceError):
    """The service could not be reached, or only failed, within the time allowed."""
