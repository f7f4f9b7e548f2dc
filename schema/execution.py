"""From a prepared document to responses: run by a plan where there is one, else by graphql-core.

Strawberry's own `execute` is not used: it parses per request, and knows no operation as a whole.
"""

import logging
from collections.abc import AsyncGenerator, AsyncIterable
from inspect import isawaitable
from typing import Any

from graphql import (
    ExecutionResult,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    create_source_event_stream,
    execute,
    get_operation_ast,
)
from graphql import Executor as CoreExecutor
from graphql.execution.values import VariableValues, get_variable_values
from prometheus_client import Counter

from resolvers.context import Context
from schema.documents import Documents, GraphQLRequest, Prepared
from schema.engine import Engine
from schema.faults import formatted
from schema.limits import DocumentLimits
from schema.plan import Plan, Unplannable, make_plan
from schema.single_mutation import Outcome, SingleMutation
from schema.visibility import Visibility, visibility

logger = logging.getLogger(__name__)

# A document has a plan per combination of its @skip and @include variables; a client could ask for all of them.
_MOST_PLANS = 16

OPERATIONS = Counter(
    "streamcat_operations_total", "Queries and mutations by what ran them: a plan, or graphql-core", ["engine"]
)

_PLANNED = OPERATIONS.labels("planned")

Response = dict[str, Any]


class Executor:
    """Prepares and runs operations; see `Documents` for the arguments."""

    def __init__(self, schema: GraphQLSchema, limits: DocumentLimits, *, cache_characters: int) -> None:
        self._schema = schema
        self._documents = Documents(schema, limits, cache_characters=cache_characters)

    def prepare(self, text: str) -> Prepared:
        """Parse and validate, or remember."""
        return self._documents.prepare(text)

    async def run(self, prepared: Prepared, request: GraphQLRequest, ctx: Context) -> Response:
        """Run a query or mutation."""
        if prepared.document is None or prepared.errors:
            return prepared.refusal()
        operation = get_operation_ast(prepared.document, request.operation_name)
        data = outcome = None
        if operation is not None and operation.operation is OperationType.QUERY:
            data = await self._run_query(prepared, operation, request, ctx)
        elif operation is not None and operation.operation is OperationType.MUTATION:
            data, outcome = await self._run_mutation(prepared, operation, request, ctx)
        if data is not None:
            return {"data": data}
        result = execute(
            self._schema,
            prepared.document,
            context_value=ctx,
            variable_values=dict(request.variables or {}),
            operation_name=request.operation_name,
            middleware=None if outcome is None else outcome.teller(),
        )
        return _response(await result if isawaitable(result) else result)

    async def _run_query(
        self, prepared: Prepared, operation: OperationDefinitionNode, request: GraphQLRequest, ctx: Context
    ) -> dict[str, Any] | None:
        """Return the data of a query that could be planned and met no error; else null, and nothing has happened."""
        variables = get_variable_values(
            self._schema, operation.variable_definitions or (), dict(request.variables or {})
        )
        if not isinstance(variables, VariableValues):
            return None
        plan = self._plan(prepared, operation, variables)
        if plan is None:
            OPERATIONS.labels("general").inc()
            return None
        try:
            data = await Engine(self._schema, plan, variables, ctx).run()
        except Exception as error:  # noqa: BLE001 - graphql-core runs it again and says what is wrong
            logger.debug("plan abandoned: %s: %s", type(error).__name__, error)
            OPERATIONS.labels("abandoned").inc()
            ctx.renew()
            return None
        _PLANNED.inc()
        return data

    async def _run_mutation(
        self, prepared: Prepared, operation: OperationDefinitionNode, request: GraphQLRequest, ctx: Context
    ) -> tuple[dict[str, Any] | None, Outcome | None]:
        """Return the data of a mutation that could be planned; else what became of it, null if nothing has happened."""
        mutation = self._mutation(prepared, operation)
        if mutation is None:
            OPERATIONS.labels("general").inc()
            return None, None
        try:
            arguments = mutation.arguments(request.variables or {})
        except Exception as error:  # noqa: BLE001 - graphql-core says what is wrong with them
            logger.debug("plan abandoned: %s", type(error).__name__)
            OPERATIONS.labels("abandoned").inc()
            return None, None
        data, outcome = await mutation.run(ctx, arguments)
        (_PLANNED if data is not None else OPERATIONS.labels("abandoned")).inc()
        return data, outcome

    def _mutation(self, prepared: Prepared, operation: OperationDefinitionNode) -> SingleMutation | None:
        name = operation.name.value if operation.name else None
        if prepared.document is None or prepared.flag_names != ():
            return None
        if name not in prepared.mutations:
            try:
                prepared.mutations[name] = SingleMutation(self._schema, prepared.document, operation)
            except Unplannable:
                prepared.mutations[name] = None
        return prepared.mutations[name]

    def _plan(self, prepared: Prepared, operation: OperationDefinitionNode, variables: VariableValues) -> Plan | None:
        if prepared.document is None or prepared.flag_names is None:
            return None
        flags = {name: bool(variables.coerced.get(name)) for name in prepared.flag_names}
        key = (operation.name.value if operation.name else None, *flags.values())
        if key not in prepared.plans:
            if len(prepared.plans) >= _MOST_PLANS:
                return None
            try:
                prepared.plans[key] = make_plan(self._schema, prepared.document, operation, flags)
            except Unplannable:
                prepared.plans[key] = None
        return prepared.plans[key]

    def visibility(self, prepared: Prepared, request: GraphQLRequest) -> Visibility:
        """Return with whom a run of the subscription is shared."""
        return visibility(self._subscription(prepared, request)[0])

    async def stream(
        self, prepared: Prepared, request: GraphQLRequest, ctx: Context
    ) -> AsyncGenerator[Response, None] | Response:
        """Start a subscription: a stream of responses, or one response if it cannot start."""
        if prepared.document is None or prepared.errors:
            return prepared.refusal()
        built = CoreExecutor.build(
            self._schema, prepared.document, None, ctx, dict(request.variables or {}), request.operation_name
        )
        if isinstance(built, list):
            return _response(ExecutionResult(None, errors=built))
        source = create_source_event_stream(built)
        started = await source if isawaitable(source) else source
        if isinstance(started, ExecutionResult):
            return _response(started)
        return self._responses(started, prepared, request, ctx)

    async def _responses(
        self, events: AsyncIterable[Any], prepared: Prepared, request: GraphQLRequest, ctx: Context
    ) -> AsyncGenerator[Response, None]:
        plan, variables = self._subscription(prepared, request)
        engine = None if plan is None else Engine(self._schema, plan, variables, ctx)
        try:
            async for event in events:
                yield await self._of_event(event, engine, prepared, request, ctx)
        except Exception as error:  # noqa: BLE001 - the source's own fault: shown or masked like a field's
            yield {"errors": formatted([GraphQLError(str(error), original_error=error)])}
        finally:
            await events.aclose()  # type: ignore[attr-defined]

    async def _of_event(
        self, event: Any, engine: Engine | None, prepared: Prepared, request: GraphQLRequest, ctx: Context
    ) -> Response:
        if engine is not None:
            try:
                return {"data": await engine.complete(event)}
            except Exception as error:  # noqa: BLE001 - graphql-core does it again and says what is wrong
                logger.debug("plan abandoned: %s: %s", type(error).__name__, error)
                ctx.renew()
        assert prepared.document is not None  # noqa: S101 - narrows the type: the subscription has started
        result = execute(
            self._schema,
            prepared.document,
            root_value=event,
            context_value=ctx,
            variable_values=dict(request.variables or {}),
            operation_name=request.operation_name,
        )
        return _response(await result if isawaitable(result) else result)

    def _subscription(self, prepared: Prepared, request: GraphQLRequest) -> tuple[Plan | None, VariableValues]:
        """Return the plan of a subscription, null without one, and its variables."""
        nothing = VariableValues({}, {})
        operation = get_operation_ast(prepared.document, request.operation_name) if prepared.document else None
        if operation is None or prepared.errors:
            return None, nothing
        variables = get_variable_values(
            self._schema, operation.variable_definitions or (), dict(request.variables or {})
        )
        if not isinstance(variables, VariableValues):
            return None, nothing
        return self._plan(prepared, operation, variables), variables


def _response(result: ExecutionResult) -> Response:
    response: Response = {}
    if result.errors:
        response["errors"] = formatted(result.errors)
    # A request error (say, a variable of the wrong type) has no `data` at all; a field error has at least null.
    if result.data is not None or any(error.path for error in result.errors or ()):
        response["data"] = result.data
    return response
