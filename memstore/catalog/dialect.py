"""SQLite as SQLAlchemy speaks it, with the compiled statements shared by all engines of a process.

Otherwise each engine compiles every statement again: three tenths of the time that a process
spends on creating one more store and asking it five things (docs/performance.md).
"""

from __future__ import annotations

from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.util import LRUCache

URL = "sqlite+memstore://"
# an execution option; its keys hold the dialect, the statement, and the columns that were asked for
SHARED_STATEMENTS: dict[str, object] = {"compiled_cache": LRUCache(1000)}


class StoreDialect(SQLiteDialect_pysqlite):
    """Equal to every other of its kind: what one has compiled, all may use."""

    supports_statement_cache = True

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self)

    def __hash__(self) -> int:
        return hash(type(self))


registry.register("sqlite.memstore", __name__, StoreDialect.__name__)
