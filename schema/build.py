"""The schema, built from its three roots; its text is the file `schema.graphql`."""

from datetime import datetime
from typing import Any

import strawberry
from graphql import GraphQLError, GraphQLSchema
from strawberry.schema.config import StrawberryConfig

from schema.mutation import Mutation
from schema.query import Query
from schema.subscription import Subscription


def _parse(value: Any) -> datetime:
    # Any other error would be taken for one of ours.
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise GraphQLError("A DateTime is a text with an offset, as in 2026-11-23T12:00:00Z.")
    return moment


DateTime = strawberry.scalar(
    name="DateTime",
    description="Moment in time, as in 2026-11-23T12:00:00+00:00 (RFC 3339); always with an offset.",
    specified_by_url="https://datatracker.ietf.org/doc/html/rfc3339",
    serialize=lambda value: value.isoformat(),
    parse_value=_parse,
)

schema = strawberry.Schema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    config=StrawberryConfig(scalar_map={datetime: DateTime}),
)

sdl = schema.as_str() + "\n"

# Strawberry describes the types, graphql-core runs them: see `schema.execution`.
core_schema: GraphQLSchema = schema._schema  # noqa: SLF001 - there is no public way to it
