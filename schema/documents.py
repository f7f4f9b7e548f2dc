"""Documents: parsed and validated once, and remembered with what was made of them."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    OperationType,
    get_operation_ast,
    parse,
    specified_rules,
    validate,
)
from graphql.validation.validate import ValidationAbortedError
from prometheus_client import Counter

from schema.faults import formatted
from schema.limits import LIMITS, DocumentLimits, document_limits
from schema.plan import Plan, Unplannable, flag_names
from schema.single_mutation import SingleMutation

# What graphql-core limits by itself, known only by its words.
_LIMITS = {"Maximum introspection depth exceeded": "introspection"}
# Python's advice to whoever runs it, which is not the client.
_PYTHON_DIGITS = "set_int_max_str_digits"

DOCUMENTS = Counter("streamcat_documents_total", "Documents by whether they had been prepared before", ["cache"])
_HIT = DOCUMENTS.labels("hit")


@dataclass(frozen=True, slots=True)
class GraphQLRequest:
    """What a client asks. Source: GraphQL over HTTP, "Request parameters"."""

    # Both may hold passwords.
    query: str = field(repr=False)
    operation_name: str | None = None
    variables: Mapping[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A document that can be run, or the reasons why it cannot; and the plans made of it so far."""

    document: DocumentNode | None
    errors: tuple[GraphQLError, ...] = ()
    flag_names: tuple[str, ...] | None = None
    """Variables by which plans differ; null if the document cannot be planned."""
    plans: dict[Any, Plan | None] = field(default_factory=dict)
    mutations: dict[str | None, SingleMutation | None] = field(default_factory=dict)

    def operation_type(self, operation_name: str | None) -> OperationType | None:
        """Return what kind of operation is meant; null if that is not clear."""
        operation = get_operation_ast(self.document, operation_name) if self.document else None
        return operation.operation if operation else None

    def refusal(self) -> dict[str, Any]:
        """Return the response of a document that cannot be run."""
        return {"errors": formatted(self.errors)}


class Documents:
    """Prepares documents. `cache_characters` bounds the texts of all that are remembered together."""

    def __init__(self, schema: GraphQLSchema, limits: DocumentLimits, *, cache_characters: int) -> None:
        self._schema = schema
        self._limits = limits
        self._rules = [*specified_rules, document_limits(limits)]
        self._cache: OrderedDict[str, Prepared] = OrderedDict()
        self._cache_characters = cache_characters
        self._cached_characters = 0

    def prepare(self, text: str) -> Prepared:
        """Parse and validate, or remember. Invalid documents are not remembered: they would push out good ones."""
        known = self._cache.get(text)
        if known is not None:
            self._cache.move_to_end(text)
            _HIT.inc()
            return known
        DOCUMENTS.labels("miss").inc()
        prepared = self._prepare(text)
        if not prepared.errors and len(text) <= self._cache_characters:
            self._cache[text] = prepared
            self._cached_characters += len(text)
            while self._cached_characters > self._cache_characters:
                oldest, _ = self._cache.popitem(last=False)
                self._cached_characters -= len(oldest)
        return prepared

    def _prepare(self, text: str) -> Prepared:
        try:
            document = parse(text, max_tokens=self._limits.tokens)
        except GraphQLError as error:
            if "Parsing aborted" in error.message:
                LIMITS.labels("document_nesting" if "nested" in error.message else "document_tokens").inc()
                error.extensions = {"code": "TOO_COSTLY"}
            return Prepared(None, (error,))
        except RecursionError:
            LIMITS.labels("document_nesting").inc()
            return Prepared(None, (GraphQLError("The document nests too deep.", extensions={"code": "TOO_COSTLY"}),))
        faults = validate(self._schema, document, self._rules)
        for fault in faults:
            if isinstance(fault.original_error, ValueError) and _PYTHON_DIGITS in fault.message:
                fault.message = "A number has more digits than any type accepts."
            # A literal that Python cannot read is the client's fault.
            fault.original_error = None
            limit = "validation" if isinstance(fault, ValidationAbortedError) else _LIMITS.get(fault.message)
            if limit is not None:
                LIMITS.labels(f"document_{limit}").inc()
                fault.extensions = {"code": "TOO_COSTLY"}
        try:
            flags = None if faults else flag_names(document)
        except Unplannable:
            flags = None
        return Prepared(document, tuple(faults), flags)
