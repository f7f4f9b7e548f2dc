"""Limits on documents, checked before anything runs. Each is a setting, an error with a code, and a count."""

from dataclasses import dataclass
from typing import Any, ClassVar

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    ValidationContext,
    ValidationRule,
)
from prometheus_client import Counter

LIMITS = Counter("streamcat_limit_reached_total", "Requests that a limit refused", ["limit"])


@dataclass(frozen=True, slots=True)
class DocumentLimits:
    """`tokens` of a text; `depth` of nested fields; `fields` and `aliases` counted after fragments are spread."""

    tokens: int = 2000
    depth: int = 12
    fields: int = 500
    aliases: int = 30


@dataclass(frozen=True, slots=True)
class _Size:
    depth: int = 0
    fields: int = 0
    aliases: int = 0


class DocumentLimitsRule(ValidationRule):
    """Refuses operations beyond `limits`.

    Each fragment is measured once, however often it is spread: measuring it at every spread, as the usual limiters do,
    takes time exponential in the length of the document.
    """

    limits: ClassVar[DocumentLimits]

    def __init__(self, context: ValidationContext) -> None:
        super().__init__(context)
        self._fragments: dict[str, _Size] = {}

    def enter_document(self, node: DocumentNode, *_args: Any) -> None:
        """Judge each operation."""
        for definition in node.definitions:
            if isinstance(definition, OperationDefinitionNode):
                self._judge(definition)

    def _judge(self, operation: OperationDefinitionNode) -> None:
        size = self._measure(operation.selection_set)
        for name in ("depth", "fields", "aliases"):
            found, allowed = getattr(size, name), getattr(self.limits, name)
            if found > allowed:
                LIMITS.labels(f"document_{name}").inc()
                message = f"The operation has {name} {found}; at most {allowed} is accepted."
                self.report_error(GraphQLError(message, operation, extensions={"code": "TOO_COSTLY"}))

    def _fragment(self, name: str) -> _Size:
        if name not in self._fragments:
            # A fragment that spreads itself is another rule's error; here it must only come to an end.
            self._fragments[name] = _Size()
            definition = self.context.get_fragment(name)
            if isinstance(definition, FragmentDefinitionNode):
                self._fragments[name] = self._measure(definition.selection_set)
        return self._fragments[name]

    def _measure(self, selections: SelectionSetNode | None) -> _Size:
        depth = fields = aliases = 0
        for selection in selections.selections if selections else ():
            size = self._selection(selection)
            depth, fields, aliases = max(depth, size.depth), fields + size.fields, aliases + size.aliases
        return _Size(depth, fields, aliases)

    def _selection(self, selection: SelectionNode) -> _Size:
        if isinstance(selection, FragmentSpreadNode):
            return self._fragment(selection.name.value)
        if isinstance(selection, FieldNode):
            size = self._measure(selection.selection_set)
            # Introspection nests deeply by nature and is bounded by graphql-core itself.
            depth = 0 if selection.name.value.startswith("__") else size.depth + 1
            return _Size(depth, size.fields + 1, size.aliases + bool(selection.alias))
        return self._measure(selection.selection_set if isinstance(selection, InlineFragmentNode) else None)


def document_limits(limits: DocumentLimits) -> type[ValidationRule]:
    """Return the rule for these limits; make it once, since rules are compared by identity."""
    return type("DocumentLimitsRule", (DocumentLimitsRule,), {"limits": limits})
