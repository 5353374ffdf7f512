"""A filter in SQL means what its documentation says, read as plain Python."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from catalog.filter_oracle import (
    ALIASES,
    NUMBER_FIELDS,
    TEXT_FIELDS,
    TIME_FIELDS,
    Name,
    canonical,
    fields_of,
    holds,
)
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from memstore.catalog import memories
from memstore.catalog.aliases import add_alias
from memstore.catalog.filters import FIELDS, MAX_CONDITIONS, MAX_DEPTH, OPERATORS, compile_filter
from memstore.catalog.links import link_entities
from memstore.errors import BadInput
from memstore.times import from_microseconds

# what memories and filters are made of

keys = st.sampled_from(["a", "b", "ä ö", "it's", "k\\z", "%", "_", "$", "a\nb", "0", "😀", "A"])
numbers = st.one_of(
    st.sampled_from([0, 1, 1.0, -1, -0.0, 0.1, 0.30000000000000004, 5, 8.0, 2**53 + 1]),
    st.sampled_from([float(2**53), 2**63 - 1, 2**63, -(2**63), 1e30, 10**30, 10**400, 5e-324]),
    st.integers(-3, 10),
    st.floats(allow_nan=False, allow_infinity=False),
)
letters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
strings = st.one_of(
    st.sampled_from(["", "a", "A", "ab", "ä", "1", "true", "null", "it's", '"', "%", "_", "a\nb"]),
    st.sampled_from(["x' OR '1'='1", "$.a", "😀", "\\", "*", "[]"]),
    st.text(letters, max_size=4),
)
scalars = st.one_of(st.booleans(), numbers, strings)
values = st.recursive(
    st.none() | scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)
some_strings = st.sampled_from(["a", "A", "ab", "b", "it's", "100%", "a_b", "äß", "😀 x", "-- x"])
names = st.sampled_from(["ana", "robert", "porto", "são paulo", "x' or '1'='1"])
asked_names = names | names.map(str.upper) | st.sampled_from(["Bob", "nobody", "%", "a%"])
moments = st.sampled_from([0, 1, -1, 86_400_000_000, 1_700_000_000_000_000])
confidences = st.sampled_from([(1.0, 1.0), (1.6, 0.4), (0.0, 2.0), (2.0, 0.0), (1.0, 2.0)])
importances = st.sampled_from([0.0, 0.5, -1.0, 1.0])

new_memories = st.fixed_dictionaries(
    {"text": some_strings, "recorded_at": moments},
    optional={
        "namespace": some_strings,
        "key": some_strings,
        "kind": some_strings,
        "session": some_strings,
        "title": some_strings,
        "superseded_by": some_strings,
        "source": some_strings,
        "occurred_at": moments,
        "valid_from": moments,
        "valid_to": moments,
        "importance": importances,
        "confidence": confidences,
        "metadata": st.dictionaries(keys, values, max_size=4),
        "entities": st.lists(names, max_size=3, unique=True),
    },
)


@st.composite
def times(draw: st.DrawFn) -> datetime | str:
    """An instant in any zone, as a datetime or as a string."""
    zone = timezone(timedelta(minutes=draw(st.sampled_from([0, 60, -330, 845]))))
    moment = from_microseconds(draw(moments)).astimezone(zone)
    return moment.isoformat() if draw(st.booleans()) else moment


ORDERS = ["gt", "gte", "lt", "lte"]


def operations(
    values: st.SearchStrategy[Any], ordered: st.SearchStrategy[Any] | None, *, contains: Any = None
) -> st.SearchStrategy[Any]:
    """A bare value, or one or two operators with operands that they take."""
    maybe = st.none() | values
    known: dict[str, st.SearchStrategy[Any]] = {
        "eq": maybe,
        "ne": maybe,
        "in": st.lists(maybe, max_size=4),
        "nin": st.lists(maybe, max_size=4),
        "exists": st.booleans(),
    }
    if ordered is not None:
        known |= dict.fromkeys(ORDERS, ordered)
    if contains is not None:
        known["contains"] = contains
    return maybe | st.sampled_from(sorted(known)).flatmap(
        lambda first: st.sampled_from(sorted(known)).flatmap(
            lambda second: st.fixed_dictionaries({first: known[first], second: known[second]})
        )
    )


def one(names: st.SearchStrategy[str], operands: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(names, operands, min_size=1, max_size=1)


paths = st.lists(keys, min_size=1, max_size=2).map(lambda parts: ".".join(["metadata", *parts]))
number_operands = st.sampled_from([0, 5, 5.0, 8, 10, -1, 0.5, 2**70, 10**400, math.inf, math.nan])
conditions = st.one_of(
    one(st.sampled_from(TEXT_FIELDS), operations(some_strings, some_strings, contains=strings)),
    one(st.sampled_from(NUMBER_FIELDS), operations(number_operands, number_operands)),
    one(st.sampled_from(TIME_FIELDS), operations(times(), times())),
    one(st.just("entity"), operations(asked_names, None, contains=asked_names)),
    one(paths, operations(scalars, numbers | strings, contains=scalars)),
    one(paths, operations(scalars, numbers | strings, contains=scalars)),
)
filters = st.recursive(
    conditions | st.just({}),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"or": parts}),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"and": parts}),
        inner.map(lambda part: {"not": part}),
        st.tuples(inner, inner).map(lambda parts: {**parts[0], **parts[1]}),
    ),
    max_leaves=6,
)


def store_all(connection: Any, add_memory: Any, given: list[dict[str, Any]]) -> dict[int, Any]:
    """Store memories; return row → the fields that a filter may ask for."""
    for alias, canon in ALIASES.items():
        add_alias(connection, memories.namespace_id(connection, "team"), alias, canon)
    entities = {}
    for columns in given:
        columns = dict(columns)
        linked = columns.pop("entities", [])
        alpha, beta = columns.pop("confidence", (1.0, 1.0))
        row = add_memory(connection, alpha=alpha, beta=beta, **columns)
        namespace = memories.namespace_id(connection, columns.get("namespace", "default"))
        link_entities(connection, [(row, namespace, [Name(canon) for canon in linked])])
        entities[row] = set(linked)
    return fields_of(connection, entities)


@pytest.fixture
def rolled_back(engine) -> Iterator[Any]:
    """Begin transactions that leave nothing behind, many in one test."""

    @contextmanager
    def begin() -> Iterator[Any]:
        with engine.connect() as connection, connection.begin() as transaction:
            yield connection
            transaction.rollback()

    return begin


@settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(given_memories=st.lists(new_memories, min_size=1, max_size=5), where=filters)
@example([{"text": "a", "recorded_at": 0, "metadata": {"a": 2**53 + 1}}], {"metadata.a": 2.0**53})
@example([{"text": "a", "recorded_at": 0, "metadata": {"a": 1}}], {"metadata.a": {"in": [True]}})
@example([{"text": "a", "recorded_at": 0, "metadata": {"a": "1"}}], {"metadata.a": {"gte": 1}})
@example([{"text": "a", "recorded_at": 0}], {"not": {"source": {"gt": "a"}}})
def test_a_filter_in_sql_is_the_filter_in_python(rolled_back, add_memory, given_memories, where):
    with rolled_back() as connection:
        stored = store_all(connection, add_memory, given_memories)
        found = memories.matching_rows(connection, compile_filter(where, canonical=canonical))
        expected = [row for row, fields in stored.items() if holds(where, fields)]
    assert found == expected


@pytest.mark.parametrize("where", [None, {}])
def test_no_filter_matches_everything(connection, add_memory, where):
    row = add_memory(connection)
    assert matching(connection, where) == [row]


def matching(connection: Any, where: Any) -> list[int]:
    return memories.matching_rows(connection, compile_filter(where, canonical=canonical))


def test_a_filter_also_works_where_the_statement_joins_the_same_tables(connection, add_memory):
    row = add_memory(connection, source="crm", namespace="team")
    where = {"source": "crm", "namespace": {"in": ["team"]}, "entity": None}
    page = memories.load_page(connection, compile_filter(where, canonical=canonical), 0, 10)
    assert [found for found, _ in page] == [row]


def test_forgotten_memories_match_no_filter(connection, add_memory):
    row = add_memory(connection, source="crm")
    memories.update_memory(connection, row, forgotten_at=5)
    assert matching(connection, {"source": "crm"}) == []


def test_in_takes_any_number_of_values(connection, add_memory):
    row = add_memory(connection, id="wanted", key="k", metadata={"n": 39_999, "s": "39999"})
    add_memory(connection, metadata={"n": -1, "s": "-1"})
    many = range(40_000)
    texts = [str(number) for number in many]
    for where in (
        {"id": {"in": [*texts, "wanted"]}},
        {"metadata.n": {"in": list(many)}},
        {"metadata.s": {"in": texts}},
        {"importance": {"in": list(many)}, "key": {"nin": texts}, "metadata.n": {"gt": 0}},
    ):
        assert matching(connection, where) == [row]


def test_as_many_conditions_as_are_allowed_can_be_asked_for(connection, add_memory):
    row = add_memory(connection, source="crm")
    half = MAX_CONDITIONS // 2
    parts = [{"metadata.x": {"ne": number}} for number in range(half)]
    inner: dict[str, Any] = {"or": [{"source": str(number)} for number in range(half - 1)]}
    inner["or"].append({"source": "crm"})
    for _ in range(MAX_DEPTH // 2 - 1):
        inner = {"not": {"not": inner}}
    assert matching(connection, {"and": [{"or": [{"and": [*parts, {}]}]}], **inner}) == [row]


def test_more_conditions_than_sqlite_can_parse_are_refused():
    parts = [{"source": str(number)} for number in range(MAX_CONDITIONS + 1)]
    for where in ({"or": parts}, {"and": parts}, {"not": {"and": [{"or": parts}]}}):
        with pytest.raises(BadInput, match=f"more than {MAX_CONDITIONS} conditions.*'in'"):
            compile_filter(where, canonical=canonical)


@pytest.mark.parametrize("layer", [lambda w: {"not": w}, lambda w: {"or": [w]}])
def test_a_filter_nested_too_deep_is_refused(layer):
    where: dict[str, Any] = {"source": "crm"}
    for _ in range(MAX_DEPTH):
        where = layer(where)
    compile_filter(where, canonical=canonical)
    with pytest.raises(BadInput, match=f"more than {MAX_DEPTH} deep"):
        compile_filter(layer(where), canonical=canonical)


def test_a_filter_that_holds_itself_is_refused():
    where: dict[str, Any] = {"source": "crm"}
    where["not"] = where
    with pytest.raises(BadInput, match=f"more than {MAX_DEPTH} deep"):
        compile_filter(where, canonical=canonical)


@pytest.mark.parametrize("name", ["sorce", "metadata", "metadata.", "entities", "", 5, None, "OR"])
@pytest.mark.parametrize("operand", ["x", {"in": []}, {"exists": True}, {"in": ["x"]}, None])
def test_an_unknown_field_is_refused_with_the_known_ones(name, operand):
    with pytest.raises(BadInput, match="Known fields") as refused:
        compile_filter({name: operand}, canonical=canonical)
    assert repr(name) in str(refused.value)
    assert all(field in str(refused.value) for field in FIELDS)


@pytest.mark.parametrize("name", ["source", "metadata.a", "entity", "confidence", "occurred_at"])
@pytest.mark.parametrize("operator", ["equals", "", "$gt", 5, None, "EQ"])
def test_an_unknown_operator_is_refused_with_the_known_ones(name, operator):
    with pytest.raises(BadInput, match="Known operators") as refused:
        compile_filter({name: {operator: "x"}}, canonical=canonical)
    assert repr(operator) in str(refused.value)
    assert all(known in str(refused.value) for known in OPERATORS)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ([], "mapping.*list"),
        ("", "mapping.*str"),
        ("source=crm", "mapping.*str"),
        (0, "mapping.*int"),
        ({"or": []}, "'or'.*list of filters"),
        ({"and": {}}, "'and'.*list of filters"),
        ({"or": "source"}, "'or'.*list of filters"),
        ({"or": [1]}, "mapping.*int"),
        ({"not": [{}]}, "mapping.*list"),
        ({"source": {}}, "'source' is empty.*Known operators"),
        ({"source": {"in": "crm"}}, "'in' on 'source' takes a list"),
        ({"source": {"nin": "crm"}}, "'nin' on 'source' takes a list"),
        ({"metadata.a": {"in": b"crm"}}, "'in' on 'metadata.a' takes a list"),
        ({"entity": {"in": "Ana"}}, "'in' on 'entity' takes a list"),
        ({"source": {"exists": 1}}, "'exists' on 'source' takes true or false"),
        ({"source": 5}, "'source' is text.*5"),
        ({"source": {"in": ["a", 5]}}, "'source' is text.*5"),
        ({"source": {"gt": None}}, "'source' is text.*None"),
        ({"source": {"contains": 5}}, "'source' is text.*5"),
        ({"confidence": "high"}, "'confidence' is a number.*'high'"),
        ({"confidence": True}, "'confidence' is a number.*True"),
        ({"confidence": {"in": [[1]]}}, r"'confidence' is a number.*\[1\]"),
        ({"importance": {"contains": 1}}, "'contains' is for text and lists.*'importance'"),
        ({"occurred_at": {"contains": "2026"}}, "'contains' is for text and lists"),
        ({"occurred_at": 2026}, "'occurred_at' is a time.*2026"),
        ({"occurred_at": {"gte": "2026-01-01T00:00:00"}}, "filter on occurred_at.*no UTC offset"),
        ({"occurred_at": {"in": ["soon"]}}, "filter on occurred_at.*ISO-8601"),
        ({"valid_to": {"lt": datetime(2026, 1, 1)}}, "filter on valid_to.*no UTC offset"),
        ({"entity": 5}, "'entity' is text.*5"),
        ({"entity": {"gt": "Ana"}}, "'gt' on 'entity'"),
        ({"metadata.a": {"gt": True}}, "'gt' on 'metadata.a' cannot order true and false"),
        ({"metadata.a": {"gt": None}}, "'gt' on 'metadata.a' needs a value.*exists"),
        ({"metadata.a": [1]}, r"'metadata.a'.*\[1\].*contains"),
        ({"metadata.a": {"in": [{}]}}, r"'metadata.a'.*\{\}"),
        ({"metadata.a": {"contains": [1]}}, r"'contains' on 'metadata.a'.*\[1\]"),
        ({"metadata.a": datetime(2026, 1, 1, tzinfo=UTC)}, "'metadata.a' compares it with"),
        ({"metadata.a..b": 1}, "'metadata.a..b' has an empty part"),
        ({'metadata.a"b': 1}, "quotation mark"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_values(where, message):
    with pytest.raises(BadInput, match=message):
        compile_filter(where, canonical=canonical)


@pytest.mark.parametrize(
    "name", ["source", "metadata.a", "entity", "metadata.\ud800", "metadata.\0"]
)
@pytest.mark.parametrize("operand", ["\ud800", "a\0b", {"in": ["a\0b"]}, {"contains": "\ud83d"}])
def test_strings_that_cannot_be_stored_cannot_be_asked_for(name, operand):
    with pytest.raises(BadInput, match="NUL or half of a surrogate"):
        compile_filter({name: operand}, canonical=canonical)


INJECTIONS = ["x' OR '1'='1", "x') OR 1=1 --", "'; DROP TABLE memory; --", "%", "*", "x\\' OR 1=1"]


@pytest.mark.parametrize("injection", INJECTIONS)
def test_values_and_names_are_data_and_never_sql(connection, add_memory, injection):
    row = add_memory(connection, source="crm", metadata={"a": ["b"], "c": "d"})
    for where in (
        {"source": injection},
        {"key": {"in": [injection]}},
        {"text": {"contains": injection}},
        {"entity": injection},
        {f"metadata.{injection}": "d"},
        {f"metadata.{injection}": {"exists": True}},
        {"metadata.c": injection},
        {"metadata.a": {"contains": injection}},
        {"metadata.c": {"in": [injection]}},
    ):
        assert matching(connection, where) == [], where
    with pytest.raises(BadInput, match="Known fields"):
        compile_filter({injection: "x"}, canonical=canonical)
    with pytest.raises(BadInput, match="Known operators"):
        compile_filter({"source": {injection: "x"}}, canonical=canonical)
    assert matching(connection, {}) == [row]


def test_the_documented_example_reads_as_documented(connection, add_memory):
    row = add_memory(
        connection, source="crm", alpha=1.6, beta=0.4, metadata={"topic": "tax", "n": 1}
    )
    add_memory(connection, source="crm", metadata={"topic": "tax", "n": 1})
    link_entities(connection, [(row, 1, [Name("ana")])])
    where = json.loads(
        """{"source": "crm", "metadata.topic": {"in": ["billing", "tax"]},
            "confidence": {"gte": 6}, "entity": "Ana",
            "or": [{"metadata.n": 1}, {"metadata.n": 2}], "not": {"key": {"exists": true}}}"""
    )
    assert matching(connection, where) == [row]
