"""A store of a data set's memories that is gone when the comparison is done."""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memstore.encoders import Encoder
from memstore.errors import BadInput
from memstore.evaluation.known_keys import nothing_known
from memstore.settings import DEFAULT_NAMESPACE, Settings
from memstore.store import MemoryStore
from memstore.store.drafts import Draft
from memstore.store.ingesting import Defaults, read
from memstore.store.opening import check_settings
from memstore.types import IngestReport, LineError

if TYPE_CHECKING:
    from memstore.evaluation.comparing import Progress
    from memstore.evaluation.datasets import Dataset
    from memstore.evaluation.questions import Question

_NEVER = 1 << 62  # tokens: more than any store has


@contextlib.contextmanager
def temporary_store(
    *,
    encoder: str | Encoder | None = None,
    device: str | None = None,
    settings: Settings | Mapping[str, Any] | None = None,
) -> Iterator[MemoryStore]:
    """Open an empty store, and remove it at the end, whatever happens.

    What is stored stays uncompressed until `ingest_corpus` is done, or `compact` is called:
    compressed while it grows, it would depend on the speed of the machine.
    """
    unsealed = dataclasses.replace(check_settings(settings), hot_tokens=_NEVER)
    with temporary_folder() as folder:
        path = folder / "eval.mem"
        with MemoryStore.open(path, encoder=encoder, device=device, settings=unsealed) as store:
            yield store


@contextlib.contextmanager
def temporary_copy(store: MemoryStore) -> Iterator[MemoryStore]:
    """Open a copy of a store that may be changed, and remove it at the end, whatever happens."""
    opened = store._opened
    with temporary_folder() as folder:
        path = store.backup(folder / "copy.mem")
        unsealed = dataclasses.replace(opened.settings, hot_tokens=_NEVER)
        with MemoryStore.open(
            path, encoder=opened.encoder, device=opened.device, settings=unsealed
        ) as copy:
            yield copy


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a folder, and remove it at the end, whatever happens."""
    # named before it is made: what `tempfile` makes stays if a signal ends the process just then
    folder = Path(tempfile.gettempdir(), f"memstore-eval-{secrets.token_hex(8)}")
    try:
        folder.mkdir(mode=0o700)
        yield folder
    finally:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(folder)


def ingest_corpus(
    store: MemoryStore,
    dataset: Dataset,
    *,
    namespace: str = DEFAULT_NAMESPACE,
    timezone: tzinfo | None = None,
    hot_tokens: int | None = None,
    progress: Progress | None = None,
) -> IngestReport:
    """Store the memories of a data set.

    Args:
        namespace: of memories without one, where questions without one look for them.
        timezone: of times without an offset.
        hot_tokens: beyond so many token vectors all are compressed; by default the setting's.

    Raises:
        BadInput: there is no corpus, or none of the keys that are judged relevant is in it.
    """
    corpus = dataset.corpus
    if corpus is None:
        raise BadInput(
            f"{dataset.name} has no corpus.jsonl. Add it, or ask a store that has the memories."
        )
    count = _count(corpus, dataset.questions, timezone)

    def ingested(report: IngestReport) -> None:
        if progress is not None:
            progress("ingesting", report.added + report.unchanged, count)

    report = store.ingest(
        corpus,
        # a question may look everywhere; a memory is in one place
        namespace=DEFAULT_NAMESPACE if namespace == "*" else namespace,
        timezone=timezone,
        progress=ingested,
    )
    most = Settings().hot_tokens if hot_tokens is None else hot_tokens
    if store.stats().vectors > most:
        store.compact(progress=progress)
    return report


def _count(corpus: Path, questions: Sequence[Question], timezone: tzinfo | None) -> int:
    """Return the number of memories in a corpus, some of which have to be relevant."""
    keys: set[str | None] = set()
    errors: list[LineError] = []
    for _, item in read(corpus, Defaults(timezone=timezone)):
        if isinstance(item, Draft):
            keys.add(item.key)
        elif isinstance(item, LineError):
            errors.append(item)
    wanted = sorted(set().union(*(question.answers for question in questions)))
    if keys.isdisjoint(wanted):
        unreadable = f" {len(errors)} of its lines cannot be read: {errors[0]}" if errors else ""
        raise nothing_known(wanted, str(corpus), also=unreadable)
    return len(keys)
