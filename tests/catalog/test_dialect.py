"""What one engine has compiled, the others of the process use."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import event, select

from memstore.catalog.dialect import StoreDialect
from memstore.catalog.engine import close_engine, open_engine, reading
from memstore.catalog.migrate import bring_up_to_date
from memstore.catalog.tables import memory


def test_a_second_engine_compiles_no_statement_again(tmp_path: Path) -> None:
    statement = select(memory.c.row).where(memory.c.id == "x").limit(7)
    hits = []
    for name in ("a.mem", "b.mem"):
        (tmp_path / name).mkdir()
        bring_up_to_date(tmp_path / name, lock_timeout=1)
        engine = open_engine(tmp_path / name)

        @event.listens_for(engine, "before_cursor_execute")
        def note(_connection, _cursor, sql, _parameters, context, _many) -> None:
            if "LIMIT" in sql:
                hits.append(context.cache_hit.name)

        with reading(engine, tmp_path / name) as connection:
            assert connection.execute(statement).all() == []
        close_engine(engine)
    assert hits == ["CACHE_MISS", "CACHE_HIT"]


def test_only_dialects_of_the_store_are_equal() -> None:
    assert StoreDialect() == StoreDialect()
    assert hash(StoreDialect()) == hash(StoreDialect())
    assert StoreDialect() != StoreDialect.__base__()
