"""What the tools take: the schemas that an agent reads, and the checks behind them.

A description costs every agent its tokens in every conversation: each says what the name does not.
None counts as not given, because some clients send it for every argument they leave out.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from memstore import BadInput
from memstore.json_input import parse_json

Kind = Literal["task", "state", "episodic", "event", "message", "fact", "preference", "evergreen"]
Verb = Literal["reinforce", "confirm", "contradict", "retract", "supersede", "importance"]
Clearable = Literal["kind", "metadata", "source", "valid_from", "valid_to"]

_TIME = "ISO-8601 with offset."
_OCCURRED = "When it happened: ISO-8601 with offset, or just a year, month or day."


WHERE = (
    'Filter: {"source": "crm", "metadata.topic": {"in": ["tax"]}, "occurred_at": '
    '{"gte": "2026-01-01T00:00:00Z"}}. Also ne, nin, gt, lt, lte, exists, contains; or, and, not.'
)


def _parsed(value: Any) -> Any:
    """Return an object or list that a client sent as a string of JSON, as some do."""
    return parse_json(value) if isinstance(value, str) else value


_FromJson = BeforeValidator(_parsed)
JsonObject = Annotated[dict[str, Any], _FromJson]


class Arguments(BaseModel):
    """Arguments of a tool; one that it does not have is an error."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _leave_out_none(cls, given: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in given.items() if value is not None}


class StoreArguments(Arguments):
    text: str = Field(
        description="One fact, decision or event, understandable without this conversation."
    )
    key: str | None = Field(
        None,
        description="Your name for a thing that may change, e.g. 'api.timeout': a new text under "
        "it replaces the old one and keeps its history.",
    )
    kind: Kind | None = Field(None, description="How fast it ages.")
    occurred_at: str | None = Field(None, description=_OCCURRED)
    valid_from: str | None = Field(None, description=_TIME)
    valid_to: str | None = Field(None, description=_TIME)
    metadata: JsonObject | None = Field(None, description="To filter by.")
    supersedes: str | None = Field(None, description="Id of the memory it replaces.")
    source: str | None = Field(None, description="Who or what says so.")
    session: str | None = Field(None, description="Conversation or document it is part of.")


class RecallArguments(Arguments):
    query: str = Field(description="A question or topic in plain words.")
    limit: int = Field(8, ge=1, le=100)
    max_tokens: int = Field(1500, ge=1, le=1_000_000, description="Budget of the result.")
    where: JsonObject | None = Field(None, description=WHERE)
    as_of: str | None = Field(None, description=f"What held then. {_TIME}")
    profile: Literal["semantic", "balanced", "recent", "trusted"] = Field(
        "balanced", description="What counts beside relevance."
    )
    explain: bool = Field(False, description="Say why each is there, and what held before.")


class UpdateArguments(Arguments):
    id: str
    text: str | None = None
    kind: Kind | None = None
    occurred_at: str | None = Field(None, description=_OCCURRED)
    valid_from: str | None = Field(None, description=_TIME)
    valid_to: str | None = Field(None, description=_TIME)
    metadata: JsonObject | None = Field(None, description="In place of all that is there.")
    source: str | None = None
    clear: Annotated[list[Clearable], _FromJson] = Field([], description="Fields to empty.")
    if_version: str | None = Field(
        None, description="Fail if the memory has another version by now."
    )


class ForgetArguments(Arguments):
    ids: Annotated[list[str], _FromJson] | None = Field(None, description="Forgotten at once.")
    query: str | None = Field(None, description="Or: what they are about,")
    where: JsonObject | None = Field(None, description="and/or a filter as in memory_recall.")
    limit: int = Field(5, ge=1, le=50, description="Most memories a query takes.")
    confirm: str | None = Field(
        None, description="What the first call with this query or filter returned as confirm."
    )
    purge: bool = Field(False, description="Leave no byte on disk. Slow.")


class GetArguments(Arguments):
    id: str | None = None
    key: str | None = Field(None, description="Instead of id: what holds under it.")
    history: bool = Field(False, description="Also what happened to it.")
    start: int = Field(0, ge=0, description="Character to begin at, in a long text.")


class FeedbackArguments(Arguments):
    id: str
    verb: Verb = Field(
        description="reinforce: it helped. confirm, contradict: `source` holds it true, false. "
        "retract: it never was true, for `reason`. supersede: `by` holds now. importance: as given."
    )
    source: str | None = None
    reason: str | None = None
    by: str | None = Field(None, description="Id of the newer memory.")
    importance: float | None = Field(None, ge=-1, le=1, description="1 pins it, 0 is usual.")
    page: str | None = Field(None, description="Of the recall that showed it, if it had one.")


class StatusArguments(Arguments):
    pass


def read_arguments(tool: str, model: type[Arguments], given: dict[str, Any]) -> Arguments:
    """Return the checked arguments of a call.

    Raises:
        BadInput: what is wrong with each, in words for who made the call.
    """
    try:
        return model.model_validate(given)
    except ValidationError as error:
        wrong = [
            f"{'.'.join(map(str, item['loc'])) or 'arguments'}: {item['msg']}"
            for item in error.errors(include_url=False, include_input=False)
        ]
    known = ", ".join(model.model_fields) or "none"
    raise BadInput(f"{tool} cannot be called so. {'; '.join(wrong)}. It takes: {known}.")


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """Return a model's JSON schema without what says nothing: generated titles, `null`s, and that
    there may be other fields, or in a result may not.
    """
    schema: dict[str, Any] = _plain(model.model_json_schema())
    schema.pop("description", None)  # the docstring of its class
    if issubclass(model, Arguments):
        schema["additionalProperties"] = False
    return schema


def _plain(node: Any) -> Any:
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {
        name: {field: _plain(schema) for field, schema in value.items()}
        if name in ("properties", "$defs")  # there names are fields, be one called "title"
        else _plain(value)
        for name, value in node.items()
        if name not in ("title", "additionalProperties")
        and not (name == "default" and value in (None, []))
    }
    options = kept.pop("anyOf", None)
    if options is not None:
        given = [option for option in options if option != {"type": "null"}]
        if len(given) == 1:
            return given[0] | kept
        kept["anyOf"] = given
    return kept
