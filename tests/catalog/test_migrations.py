"""Schemas change without losing a row, wholly or not at all."""

from __future__ import annotations

import errno
import os
import re
import shutil
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import text

from memstore import MemoryStore, StoreUnwritable
from memstore.catalog import migrate
from memstore.catalog.checksums import checksums_of, crc
from memstore.catalog.damage import CHECKED, damaged_rows
from memstore.catalog.engine import DATABASE, open_engine, reading, writing
from memstore.catalog.migrate import bring_up_to_date, migrating, migrations_folder
from memstore.catalog.tables import SCHEMA_VERSION, metadata
from memstore.errors import IndexDamaged, SchemaTooNew, StoreLocked
from memstore.store import opening

PROJECT = Path(__file__).parents[2]

HEADER = """
import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{down}"
branch_labels = None
depends_on = None
"""

RECREATE_MEMORY = """
def upgrade():
    kept = {"sqlite_autoincrement": True}
    with op.batch_alter_table("memory", recreate="always", table_kwargs=kept) as batch:
        batch.add_column(sa.Column("mood", sa.Text(), server_default="calm"))
"""

RECREATE_PARENTS = (
    RECREATE_MEMORY
    + """
    with op.batch_alter_table("passage", recreate="always", table_kwargs=kept) as batch:
        batch.add_column(sa.Column("note", sa.Text()))
    for parent in ("entity", "namespace", "source", "codec", "segment", "tombstone"):
        with op.batch_alter_table(parent, recreate="always") as batch:
            batch.add_column(sa.Column("note", sa.Text()))
"""
)

LOSE_THE_TRIGGER = """
def upgrade():
    kept = {"sqlite_autoincrement": True}
    with op.batch_alter_table("event", recreate="always", table_kwargs=kept) as batch:
        batch.add_column(sa.Column("note", sa.Text()))
"""

LOSE_AUTOINCREMENT = """
def upgrade():
    with op.batch_alter_table("memory", recreate="always") as batch:
        batch.add_column(sa.Column("mood", sa.Text()))
"""

BREAK_A_FOREIGN_KEY = """
def upgrade():
    op.create_table("extra", sa.Column("id", sa.Integer(), primary_key=True))
    op.execute("UPDATE memory SET text = 'changed'")
    op.execute("DELETE FROM namespace WHERE id = 2")
"""

WITHOUT_CHECKSUMS = "DROP INDEX ix_weights_profile;" + "".join(
    f'ALTER TABLE "{table.name}" DROP COLUMN {item.name};'
    for table in metadata.sorted_tables
    for item in checksums_of(table)
)

TO_THE_FIRST_SCHEMA = (
    WITHOUT_CHECKSUMS
    + """
DROP TABLE full_text;
DROP TABLE tombstone; DROP TABLE calibration; DROP TABLE weights; DROP TABLE page;
DROP INDEX ix_event_source_id;
DROP TABLE entity_alias;
CREATE TABLE entity_alias (alias TEXT NOT NULL PRIMARY KEY, entity_id INTEGER NOT NULL);
ALTER TABLE memory DROP COLUMN prior;
UPDATE alembic_version SET version_num = '0001';
"""
)

STOP_HALFWAY = """
def upgrade():
    op.create_table("extra", sa.Column("id", sa.Integer(), primary_key=True))
    op.execute("UPDATE memory SET text = 'changed'")
    raise RuntimeError("stopped halfway")
"""


@pytest.fixture
def later(tmp_path, monkeypatch):
    """Write a revision behind the current ones, and make it the current schema."""

    def write(upgrade: str) -> Path:
        folder = tmp_path / "later"
        shutil.copytree(migrations_folder(), folder, ignore=shutil.ignore_patterns("__pycache__"))
        content = HEADER.format(down=SCHEMA_VERSION) + upgrade
        (folder / "versions" / "9999_later.py").write_text(content)
        monkeypatch.setattr(migrate, "migrations_folder", lambda: folder)
        monkeypatch.setattr(migrate, "SCHEMA_VERSION", "9999")
        return folder

    return write


@pytest.fixture
def filled(folder, fill_every_table):
    """A catalog with rows in every table."""
    engine = open_engine(folder)
    with writing(engine, folder) as connection:
        fill_every_table(connection)
    engine.dispose()
    return folder


def rows(folder):
    """Every row of every table, by table and column."""
    with closing(sqlite3.connect(folder / DATABASE)) as connection:
        connection.row_factory = sqlite3.Row
        found = {}
        for table in metadata.sorted_tables:
            names = [column.name for column in table.columns]
            written = ", ".join(f'"{name}"' for name in names)
            selected = connection.execute(f'SELECT {written} FROM "{table.name}"')
            found[table.name] = sorted(map(tuple, selected), key=repr)
    return found


def schema(folder):
    with closing(sqlite3.connect(folder / DATABASE)) as connection:
        return connection.execute(
            "SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2"
        ).fetchall()


def alembic(*arguments):
    line = [sys.executable, "-m", "alembic", *map(str, arguments)]
    return subprocess.run(line, cwd=PROJECT, capture_output=True, text=True, check=False)


def test_every_table_has_rows_in_these_tests(filled):
    assert all(len(found) == 2 for found in rows(filled).values())


RELEASED = [f"{number:04}" for number in range(1, int(SCHEMA_VERSION))]
ADDED_IN = {"0002": {"tombstone"}, "0003": {"calibration", "weights", "page"}}


@pytest.mark.parametrize("released", RELEASED)
def test_every_row_of_a_released_schema_is_there_in_the_present_one(tmp_path, released):
    old = filled_with_schema(tmp_path / "old.mem", released)
    before, tables = columns_and_rows(old), set(columns_and_rows(old))
    later = {name for at, names in ADDED_IN.items() if at > released for name in names}
    assert tables == {table.name for table in metadata.sorted_tables} - later
    bring_up_to_date(old, lock_timeout=5.0)
    after = columns_and_rows(old)
    for table in tables - ({"entity_alias"} if released < "0003" else set()):
        columns, rows_before = before[table]
        places = [after[table][0].index(name) for name in columns]
        found = [tuple(row[place] for place in places) for row in after[table][1]]
        assert found == rows_before, table
        assert len(found) == 2
    if released < "0003":
        # aliases are of every namespace that knew the entity
        assert [row[:3] for row in after["entity_alias"][1]] == [
            (1, "alias1", "canon1"),
            (2, "alias2", "canon2"),
        ]
        # the trust they had is what their writers gave them
        with closing(sqlite3.connect(old / DATABASE)) as connection:
            trust = connection.execute("SELECT alpha, beta, prior FROM memory").fetchall()
        assert trust == [(1, 1, None), (2, 2, None)]
    engine = open_engine(old)
    with reading(engine, old) as connection:
        assert not [row for table in CHECKED for row in damaged_rows(connection, table)]
        assert migrate.stored_version(connection) == SCHEMA_VERSION
        with pytest.raises(Exception, match="append-only"):
            connection.execute(text("UPDATE event SET at = 9"))
    engine.dispose()


def filled_with_schema(folder, version):
    """Make a catalog of an earlier schema, with two rows in every table."""
    folder.mkdir()
    run = alembic("-x", f"store={folder}", "upgrade", version)
    assert run.returncode == 0, run.stderr
    with closing(sqlite3.connect(folder / DATABASE)) as connection, connection:
        for table, (columns, _) in columns_and_rows(folder).items():
            kinds = connection.execute(f'PRAGMA table_info("{table}")').fetchall()
            for row in (1, 2):
                values = [
                    row if kind in ("INTEGER", "FLOAT", "BOOLEAN") else f"{name}{row}"
                    for _, name, kind, *_ in kinds
                ]
                given = dict(zip(columns, values, strict=True))
                for item in checksums_of(metadata.tables[table]):
                    if item.name in given:
                        place = columns.index(item.name)
                        values[place] = crc(given[name] for name in item.covers)
                marks = ", ".join("?" * len(columns))
                connection.execute(f'INSERT INTO "{table}" VALUES ({marks})', values)
    return folder


def columns_and_rows(folder):
    """Every table that holds rows of the store: the names of its columns, and its rows."""
    with closing(sqlite3.connect(folder / DATABASE)) as connection:
        names = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%CONSTRAINT%' "
            "AND name <> 'alembic_version'"
        ).fetchall()
        found = {}
        for (name,) in names:
            selected = connection.execute(f'SELECT * FROM "{name}" ORDER BY rowid')
            found[name] = ([column[0] for column in selected.description], selected.fetchall())
        return found


def copies(folder):
    return sorted(path.name for path in folder.glob("memstore.db.schema-*"))


def test_a_migration_leaves_no_copy_once_it_has_succeeded(tmp_path):
    old = filled_with_schema(tmp_path / "old.mem", "0003")
    bring_up_to_date(old, lock_timeout=5.0)
    assert copies(old) == []


def test_a_migration_that_fails_leaves_a_private_copy_and_names_it(filled, later):
    before = rows(filled)
    later(STOP_HALFWAY)
    with pytest.raises(IndexDamaged, match=f"memstore.db.schema-{SCHEMA_VERSION}"):
        bring_up_to_date(filled, lock_timeout=5.0)
    (name,) = copies(filled)
    assert (filled / name).stat().st_mode & 0o777 == 0o600
    (filled / DATABASE).unlink()
    (filled / name).rename(filled / DATABASE)
    assert rows(filled) == before


@pytest.mark.parametrize("way", ["open", "purge"])
def test_a_copy_left_by_a_kill_goes_with_the_next_write(made, way):
    left = made / "memstore.db.schema-0003"
    if way == "open":
        left.write_bytes(b"Ana lives in Porto.")
        MemoryStore.open(made, read_only=True).close()
        assert left.exists()
        MemoryStore.open(made).close()
    else:
        with MemoryStore.open(made) as store:
            left.write_bytes(b"Ana lives in Porto.")
            store.forget(store.list().memories[0].id, purge=True)
    assert not left.exists()


KILLED_THERE = """
import os, signal, sys
from pathlib import Path
from memstore.catalog import migrate

moment, store = sys.argv[1], Path(sys.argv[2])

def killing(function, *, after):
    def wrapped(*arguments, **options):
        result = function(*arguments, **options) if after else None
        os.kill(os.getpid(), signal.SIGKILL)
        return result
    return wrapped

if moment == "while copying":
    migrate.sync_file = killing(migrate.sync_file, after=False)
elif moment == "after copying":
    migrate._copy = killing(migrate._copy, after=True)
elif moment == "before the commit":
    migrate._restore_numbers = killing(migrate._restore_numbers, after=True)
elif moment == "after the commit":
    migrate.remove_copies = killing(migrate.remove_copies, after=False)
migrate.bring_up_to_date(store, lock_timeout=5.0)
"""


@pytest.mark.parametrize(
    ("moment", "version", "left"),
    [
        ("while copying", "0003", ["memstore.db.schema-0003.partial"]),
        ("after copying", "0003", ["memstore.db.schema-0003"]),
        ("before the commit", "0003", ["memstore.db.schema-0003"]),
        ("after the commit", SCHEMA_VERSION, ["memstore.db.schema-0003"]),
    ],
)
def test_a_kill_at_any_moment_leaves_the_old_store_or_the_new_one(tmp_path, moment, version, left):
    old = filled_with_schema(tmp_path / "old.mem", "0003")
    before = columns_and_rows(old)
    line = [sys.executable, "-c", KILLED_THERE, moment, str(old)]
    assert subprocess.run(line, cwd=PROJECT, check=False).returncode == -9
    assert copies(old) == left
    with closing(sqlite3.connect(old / DATABASE)) as connection:
        assert connection.execute("SELECT * FROM alembic_version").fetchall() == [(version,)]
    if version == "0003":
        assert columns_and_rows(old) == before
        bring_up_to_date(old, lock_timeout=5.0)
        assert copies(old) == []
    after = columns_and_rows(old)
    assert [row[:2] for row in after["setting"][1]] == before["setting"][1]


def test_a_disk_that_is_full_while_copying_changes_nothing(tmp_path, monkeypatch):
    old = filled_with_schema(tmp_path / "old.mem", "0003")
    before = columns_and_rows(old)

    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(migrate, "sync_file", full)
    with pytest.raises(StoreUnwritable, match=r"No space left on device.*Nothing was changed"):
        bring_up_to_date(old, lock_timeout=5.0)
    assert columns_and_rows(old) == before
    assert copies(old) == []


def test_a_file_system_that_cannot_sync_a_folder_keeps_no_store_from_its_upgrade(
    tmp_path, monkeypatch
):
    old = filled_with_schema(tmp_path / "old.mem", "0003")
    fsync = os.fsync

    def files_only(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", files_only)
    bring_up_to_date(old, lock_timeout=5.0)
    assert copies(old) == []


@pytest.mark.parametrize("command", ["stats", "verify"])
def test_a_newer_schema_is_refused_by_name_by_commands_that_look_at_a_store(
    made, run_memstore, command
):
    with closing(sqlite3.connect(made / DATABASE)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    run = run_memstore(made.parent, "--store", str(made), command)
    assert run.returncode != 0
    assert "has schema 9999" in run.stderr


def test_a_store_of_the_first_schema_goes_on_as_one_of_the_present(made):
    with closing(sqlite3.connect(made / DATABASE)) as connection:
        connection.executescript(TO_THE_FIRST_SCHEMA)
    with pytest.raises(StoreUnwritable, match="older schema 0001"):
        MemoryStore.open(made, read_only=True)
    with MemoryStore.open(made) as store:
        assert store.query("Porto").hits[0].memory.text == "Ana lives in Porto."
        assert store.compact().sealed == 1
        store.forget(store.list().memories[0].id)
        assert store.compact().dropped == 1
        assert store.verify().clean


def test_a_backup_of_the_first_schema_is_restored_as_one_of_the_present(made, tmp_path):
    with closing(sqlite3.connect(made / DATABASE)) as connection:
        connection.executescript(TO_THE_FIRST_SCHEMA)
    before = (made / DATABASE).read_bytes()
    assert MemoryStore.restore(made, tmp_path / "again.mem").checked["memories"] == 1
    assert (made / DATABASE).read_bytes() == before
    with MemoryStore.open(tmp_path / "again.mem", read_only=True) as store:
        assert store.query("Porto").hits[0].memory.text == "Ana lives in Porto."


def test_trust_given_under_an_earlier_schema_is_what_votes_are_added_to(made):
    with closing(sqlite3.connect(made / DATABASE)) as connection:
        connection.executescript(TO_THE_FIRST_SCHEMA + "UPDATE memory SET alpha = 1.6, beta = 0.4;")
    with MemoryStore.open(made) as store:
        memory = store.list().memories[0]
        assert memory.confidence == pytest.approx(8.0)
        assert store.verify().clean
        assert store.confirm(memory.id, source="Ana").alpha == pytest.approx(2.6)


def test_recreating_parent_tables_keeps_their_children(filled, later):
    before = rows(filled)
    later(RECREATE_PARENTS)
    bring_up_to_date(filled, lock_timeout=5.0)
    assert rows(filled) == before
    assert "mood" in str(schema(filled))


def test_the_alembic_command_keeps_children_too(filled, later, tmp_path):
    before = rows(filled)
    configuration = tmp_path / "alembic.ini"
    configuration.write_text(f"[alembic]\nscript_location = {later(RECREATE_PARENTS)}\n")
    run = alembic("-c", configuration, "-x", f"store={filled}", "upgrade", "head")
    assert run.returncode == 0, run.stderr
    assert rows(filled) == before
    assert "mood" in str(schema(filled))


def test_with_foreign_keys_on_such_a_migration_would_delete_the_children(filled, later):
    config = Config()
    config.set_main_option("script_location", str(later(RECREATE_MEMORY)))
    engine = open_engine(filled, foreign_keys=True)
    with engine.connect() as connection, connection.begin():
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        assert connection.scalar(text("SELECT count(*) FROM memory")) == 2
        assert connection.scalar(text("SELECT count(*) FROM passage")) == 0
    engine.dispose()


@pytest.mark.parametrize(
    ("upgrade", "error", "message"),
    [
        (BREAK_A_FOREIGN_KEY, IndexDamaged, "without their parent"),
        (STOP_HALFWAY, IndexDamaged, "halfway"),
        (LOSE_THE_TRIGGER, IndexDamaged, "lose the trigger event_is_append_only"),
        (LOSE_AUTOINCREMENT, IndexDamaged, "lose AUTOINCREMENT of memory"),
    ],
)
def test_a_migration_that_fails_is_rolled_back_wholly(filled, later, upgrade, error, message):
    before, schema_before = rows(filled), schema(filled)
    later(upgrade)
    with pytest.raises(error, match=message):
        bring_up_to_date(filled, lock_timeout=5.0)
    assert rows(filled) == before
    assert schema(filled) == schema_before


@pytest.mark.parametrize("left", [1, 0])
def test_numbers_of_deleted_rows_are_not_given_out_after_a_migration_either(filled, later, left):
    with closing(sqlite3.connect(filled / DATABASE)) as connection:
        for table in ("hot_vector", "passage", "memory_entity", "memory"):
            connection.execute(f"DELETE FROM {table} WHERE rowid > {left}")
        connection.commit()
    later(RECREATE_PARENTS)
    bring_up_to_date(filled, lock_timeout=5.0)
    with closing(sqlite3.connect(filled / DATABASE)) as connection:
        found = dict(connection.execute("SELECT name, seq FROM sqlite_sequence"))
    assert (found["memory"], found["passage"], found["event"]) == (2, 2, 2)


def test_the_alembic_command_rolls_a_broken_migration_back_too(filled, later, tmp_path):
    before, schema_before = rows(filled), schema(filled)
    configuration = tmp_path / "alembic.ini"
    configuration.write_text(f"[alembic]\nscript_location = {later(BREAK_A_FOREIGN_KEY)}\n")
    run = alembic("-c", configuration, "-x", f"store={filled}", "upgrade", "head")
    assert run.returncode != 0
    assert "without their parent" in run.stderr
    assert (rows(filled), schema(filled)) == (before, schema_before)


@pytest.fixture
def migrated(tmp_path):
    """A catalog that went through every migration, as a store of the first version has."""
    other = tmp_path / "migrated.mem"
    other.mkdir()
    run = alembic("-x", f"store={other}", "upgrade", "head")
    assert run.returncode == 0, run.stderr
    return other


def test_migrations_make_the_very_schema_that_a_new_store_has(folder, migrated):
    def definitions(place):
        # constraints may be declared in any order, and an added column has no line of its own
        return {
            (kind, name): sorted(piece.strip(" ,\t") for piece in re.split(r",?\s*\n|,\s+", sql))
            for kind, name, sql in schema(place)
            if sql is not None
        }

    def columns(place):
        with closing(sqlite3.connect(place / DATABASE)) as connection:
            tables = [name for kind, name, _ in schema(place) if kind == "table"]
            return {
                name: connection.execute(f'PRAGMA table_info("{name}")').fetchall()
                for name in tables
            }

    assert definitions(migrated) == definitions(folder)
    assert columns(migrated) == columns(folder)
    assert "AUTOINCREMENT" in str(definitions(folder)["table", "memory"])
    assert ("trigger", "event_is_append_only") in definitions(folder)


def test_the_alembic_command_asks_which_store():
    run = alembic("upgrade", "head")
    assert run.returncode != 0
    assert "-x store=PATH" in run.stderr


def test_migrations_wait_for_the_write_lock_no_longer_than_asked(folder):
    engine = open_engine(folder)
    with (
        writing(engine, folder),
        pytest.raises(StoreLocked),
        migrating(folder, lock_timeout=0.05),
    ):
        pass
    engine.dispose()


def test_migrations_produce_exactly_the_declared_tables(migrated):
    engine = open_engine(migrated)
    with reading(engine, migrated) as connection:
        options = {
            "compare_type": True,
            "compare_server_default": True,
            "include_name": lambda name, kind, _: kind != "table" or "full_text" not in name,
        }
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_every_constraint_and_index_has_a_name(folder):
    # SQLAlchemy writes the primary key of an autoincrement table inside its column, unnamed
    constraint = re.compile(
        r"(CONSTRAINT \w+ )?(PRIMARY KEY(?! AUTOINCREMENT)|FOREIGN KEY|UNIQUE|CHECK)\b"
    )
    for kind, name, sql in schema(folder):
        if kind == "table" and name.split("_")[0] != "sqlite" and "full_text" not in name:
            found = constraint.findall(sql)
            assert all(named for named, _ in found), sql
    for table in metadata.sorted_tables:
        for item in (*table.constraints, *table.indexes):
            assert item.name is not None
            assert str(item.name).startswith(("pk_", "fk_", "uq_", "ck_", "ix_"))


def test_migrations_are_numbered_one_after_the_other_up_to_the_schema_version():
    files = sorted(path.name for path in (migrations_folder() / "versions").glob("*.py"))
    assert [name[:4] for name in files] == [f"{n:04}" for n in range(1, len(files) + 1)]
    assert files[-1][:4] == SCHEMA_VERSION


@pytest.mark.parametrize("existing", [False, True])
def test_only_an_upgrade_imports_alembic(tmp_path, existing):
    path = tmp_path / "agent.mem"
    if existing:
        MemoryStore.open(path, encoder="hashed").close()
    code = """
import sys
from memstore import MemoryStore
with MemoryStore.open(sys.argv[1], encoder="hashed") as store:
    store.stats()
print("alembic" in sys.modules, "sqlalchemy" in sys.modules)
"""
    line = [sys.executable, "-c", code, str(path)]
    run = subprocess.run(line, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "True"]


@pytest.fixture
def made(tmp_path):
    """The path of a closed store that holds one memory."""
    path = tmp_path / "made.mem"
    with MemoryStore.open(path, encoder="hashed") as store:
        store.add("Ana lives in Porto.")
    return path


@pytest.mark.parametrize("read_only", [False, True])
def test_a_newer_schema_is_refused_by_its_number_and_left_as_it_is(made, read_only):
    with closing(sqlite3.connect(made / DATABASE)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0099'")
        connection.commit()
    before = (made / DATABASE).read_bytes()
    with pytest.raises(SchemaTooNew, match=f"0099.*{SCHEMA_VERSION}"):
        MemoryStore.open(made, read_only=read_only)
    with pytest.raises(SchemaTooNew, match="0099"):
        bring_up_to_date(made, lock_timeout=5.0)
    assert (made / DATABASE).read_bytes() == before


FLIPPED = [(int.from_bytes(SCHEMA_VERSION.encode()) ^ (1 << bit)).to_bytes(4) for bit in range(32)]


@pytest.mark.parametrize("read_only", [False, True])
def test_a_schema_version_with_a_flipped_bit_asks_for_a_backup(made, read_only):
    whole = (made / DATABASE).read_bytes()
    for number in FLIPPED:
        if number.isdigit() and b"0000" < number < SCHEMA_VERSION.encode():
            continue  # an older schema than the tables have: see below
        (made / DATABASE).write_bytes(whole)
        with closing(sqlite3.connect(made / DATABASE)) as connection, connection:
            connection.execute(
                f"UPDATE alembic_version SET version_num = CAST(x'{number.hex()}' AS TEXT)"
            )
        with pytest.raises((SchemaTooNew, IndexDamaged), match=r"damaged(.|\n)*backup") as error:
            MemoryStore.open(made, read_only=read_only)
        newer = number.isdigit() and number > SCHEMA_VERSION.encode()
        assert newer == isinstance(error.value, SchemaTooNew)
        assert copies(made) == []


@pytest.mark.parametrize("number", RELEASED)
def test_an_older_schema_than_the_tables_have_is_left_as_it_is(made, number):
    with closing(sqlite3.connect(made / DATABASE)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", [number])
    before = schema(made)
    with pytest.raises(IndexDamaged, match="restore a backup"):
        MemoryStore.open(made)
    assert schema(made) == before


def test_a_schema_version_is_no_way_out_of_the_store(made):
    outside = made.parent / "outside"
    outside.write_text("kept")
    number = "0/../../outside"
    (made / "memstore.db.schema-0").mkdir()
    with closing(sqlite3.connect(made / DATABASE)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", [number])
    for call in (MemoryStore.open, partial(bring_up_to_date, lock_timeout=5.0)):
        with pytest.raises(IndexDamaged, match="0001 to 9999"):
            call(made)
    assert outside.read_text() == "kept"


def test_a_schema_version_that_became_bytes_is_read_all_the_same(made):
    with closing(sqlite3.connect(made / DATABASE)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = CAST(version_num AS BLOB)")
    with MemoryStore.open(made) as store:
        assert store.verify().clean


def test_an_older_schema_is_upgraded_on_opening(made, later, monkeypatch):
    later(RECREATE_PARENTS)
    monkeypatch.setattr(opening, "SCHEMA_VERSION", "9999")
    with MemoryStore.open(made) as store:
        assert store.query("Porto").hits[0].memory.text == "Ana lives in Porto."
    assert "mood" in str(schema(made))


def test_an_older_schema_is_not_upgraded_by_a_reader(made, later, monkeypatch):
    later(RECREATE_PARENTS)
    monkeypatch.setattr(opening, "SCHEMA_VERSION", "9999")
    with pytest.raises(StoreUnwritable, match=SCHEMA_VERSION):
        MemoryStore.open(made, read_only=True)
    assert "mood" not in str(schema(made))


def empty_file(path):
    (path / DATABASE).touch()


def schema_without_settings(path):
    bring_up_to_date(path, lock_timeout=5.0)


@pytest.mark.parametrize("interrupted", [empty_file, schema_without_settings])
def test_an_interrupted_creation_is_finished_by_the_next_opening(tmp_path, interrupted):
    path = tmp_path / "begun.mem"
    path.mkdir()
    interrupted(path)
    with MemoryStore.open(path, encoder="hashed") as store:
        store.add("Ana lives in Porto.")
    with MemoryStore.open(path) as store:
        assert store.encoder == "hashed"
        assert store.stats().memories == 1


def test_a_database_of_something_else_is_refused_and_left_as_it_is(tmp_path):
    path = tmp_path / "other.mem"
    path.mkdir()
    with closing(sqlite3.connect(path / DATABASE)) as connection:
        connection.execute("CREATE TABLE memory (id INTEGER)")
    before = schema(path)
    with pytest.raises(IndexDamaged, match="no memstore database"):
        MemoryStore.open(path, encoder="hashed")
    assert schema(path) == before
