"""What precedes a memory in its session, and which ones were read with it before them."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from memstore.catalog import memories
from memstore.catalog.sessions import SessionTails, followers, session_tail
from memstore.catalog.tables import memory


def test_the_last_live_memories_of_a_session_precede_what_comes_next(connection, add_memory):
    rows = {text: add_memory(connection, text=text, session="s") for text in "abcd"}
    add_memory(connection, text="x", session="t")
    add_memory(connection, text="y", session="s", namespace="elsewhere")
    add_memory(connection, text="z")
    space = memories.namespace_id(connection, "default")
    assert session_tail(connection, space, "s", 2) == ("c", "d")
    assert session_tail(connection, space, "s", 9) == ("a", "b", "c", "d")
    assert session_tail(connection, space, "s", 2, before=rows["d"]) == ("b", "c")
    memories.update_memory(connection, rows["b"], forgotten_at=9)
    assert session_tail(connection, space, "s", 2, before=rows["d"]) == ("a", "c")
    assert session_tail(connection, space, "s", 0) == ()
    assert session_tail(connection, space, None, 2) == ()


def test_tails_that_are_followed_are_those_that_would_be_read(connection, add_memory):
    for text in "abc":
        add_memory(connection, text=text, session="s")
    space = memories.namespace_id(connection, "default")
    for count in (0, 1, 2, 9):
        tails = SessionTails(connection, count)
        for text, session in [("d", "s"), ("e", "t"), ("f", None), ("g", "s"), ("h", "t")]:
            expected = session_tail(connection, space, session, count)
            assert tails.before("default", session, space) == expected
            add_memory(connection, text=text, session=session)
            tails.follow("default", session, text)
    tails = SessionTails(connection, 2)
    assert tails.before("nobody", "s", None) == ()
    tails.follow("nobody", "s", "x")
    assert tails.before("nobody", "s", None) == ("x",)


def test_what_will_precede_a_memory_is_known_before_a_text_is_changed_or_gone(
    connection, add_memory
):
    rows = {text: add_memory(connection, text=text, session="s") for text in "abcd"}
    space = memories.namespace_id(connection, "default")

    def tail(becoming):
        return session_tail(connection, space, "s", 2, before=rows["d"], becoming=becoming)

    assert tail({rows["b"]: "B"}) == ("B", "c")
    assert tail({rows["c"]: None}) == ("a", "b")
    assert tail({rows["b"]: None, rows["c"]: None, rows["d"]: None}) == ("a",)


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["add", "add", "forget", "purge"]), st.integers(0, 9)),
        max_size=16,
    ),
    count=st.integers(0, 3),
)
def test_whatever_was_read_with_a_memory_before_it_is_among_its_followers(
    engine, add_memory, steps, count
):
    with engine.connect() as connection, connection.begin() as transaction:
        read_with: dict[int, set[int]] = {}  # row → rows whose texts it was read with
        for step, number in steps:
            if step == "add":
                row = add_memory(connection, session="s")
                space = memories.namespace_id(connection, "default")
                memories.update_memory(connection, row, text=str(row))
                tail = session_tail(connection, space, "s", count, before=row)
                read_with[row] = set(map(int, tail))
            elif read_with:
                row = sorted(read_with)[number % len(read_with)]
                if step == "forget":
                    memories.update_memory(connection, row, forgotten_at=9)
                    continue
                found = followers(connection, [row], count)
                live = set(connection.scalars(memory.select().where(memories.live)))
                assert {
                    other for other in read_with if row in read_with[other] and other in live
                } <= set(found)
                connection.execute(delete(memory).where(memory.c.row == row))
                del read_with[row]
                for other in found:  # they are read anew
                    tail = session_tail(connection, space, "s", count, before=other)
                    read_with[other] = set(map(int, tail))
        transaction.rollback()


def test_what_is_purged_together_is_not_read_anew(connection, add_memory):
    rows = [add_memory(connection, session="s") for _ in range(5)]
    add_memory(connection)
    assert followers(connection, rows[:3], 2) == rows[3:]
    assert followers(connection, rows, 2) == []
    assert followers(connection, rows[:1], 0) == []
