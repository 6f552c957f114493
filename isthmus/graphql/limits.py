"""How much a document asks for, weighed after parsing and before validation: a hostile document must not reach either twice.

Each fragment is weighed once for all operations whose variables have the same defaults, so that exponential spreads cost nothing:
the work is at most operations times fragments, and the limit on tokens bounds both. A directive list or an argument list that is absent is
None in graphql-core 3.3, not empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
    get_named_type,
)

from isthmus.graphql.connections import FIRST_DEFAULT, FIRST_MAX
from isthmus.graphql.errors import QueryTooComplex

INTROSPECTION_DEPTH_MAX = 30
_PAGE_ARGUMENT = "first"
#: Answers that could be guessed, of which one operation gets one try.
ONCE = frozenset({"answerScaChallenge"})


@dataclass(frozen=True)
class Limits:
    """`once`: mutations of which one operation may hold only one, whatever it is called there, so that guesses cannot be bundled."""

    depth_max: int
    aliases_max: int
    root_fields_max: int
    directives_max: int
    cost_max: int
    once: frozenset[str] = ONCE


@dataclass(frozen=True)
class Weight:
    """`cost` is the number of listed objects that may be answered: the product of page sizes, summed over all lists.

    `fields` are those of this selection itself, fragments expanded; of them `meta` ask about the schema, `once` stand in Limits.once.
    """

    depth: int = 0
    aliases: int = 0
    directives: int = 0
    cost: int = 0
    fields: int = 0
    meta: int = 0
    once: int = 0

    def beside(self, other: Weight) -> Weight:
        return Weight(
            max(self.depth, other.depth),
            self.aliases + other.aliases,
            self.directives + other.directives,
            self.cost + other.cost,
            self.fields + other.fields,
            self.meta + other.meta,
            self.once + other.once,
        )


@dataclass(frozen=True)
class Weighed:
    """A document within the limits. `pages_vary`: its weight depends on the variables, so that it must be taken each time.
    `introspects`: it asks for `__schema` or `__type`; `only_introspects`: and for nothing that is not about the schema."""

    pages_vary: bool
    introspects: bool
    only_introspects: bool


class _Scales:
    def __init__(
        self, schema: GraphQLSchema, document: DocumentNode, variables: Mapping[str, Any], limits: Limits
    ) -> None:
        self._schema = schema
        self._variables = variables
        self._limits = limits
        self._fragments = {
            node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)
        }
        self._weighed: dict[str, Weight] = {}
        self._defaults: dict[str, int] = {}
        self.pages_vary = False
        self.introspects = False
        self.only_introspects = True

    def operation(self, node: OperationDefinitionNode) -> Weight:
        defaults = {
            definition.variable.name.value: _page(definition.default_value)
            for definition in node.variable_definitions or ()
            if definition.default_value is not None
        }
        if defaults != self._defaults:
            self._defaults, self._weighed = defaults, {}  # what a fragment weighs under one says nothing of the other
        root = self._schema.get_root_type(node.operation)
        weight = self._selections(node.selection_set, root, level=1, introspecting=False)
        if weight.fields > self._limits.root_fields_max:
            raise QueryTooComplex(f"An operation has more than {self._limits.root_fields_max} fields at its root.")
        if weight.once > 1:
            names = ", ".join(sorted(self._limits.once))
            raise QueryTooComplex(f"An operation holds at most one of: {names}.")
        self.only_introspects &= weight.fields == weight.meta
        return weight.beside(Weight(directives=len(node.directives or ())))

    def _selections(
        self, selections: SelectionSetNode | None, parent: GraphQLNamedType | None, level: int, introspecting: bool
    ) -> Weight:
        if selections is None:
            return Weight()
        if level > (INTROSPECTION_DEPTH_MAX if introspecting else self._limits.depth_max):
            raise QueryTooComplex(f"The query is deeper than {self._limits.depth_max} levels.")
        total = Weight()
        for node in selections.selections:
            own = Weight(directives=len(node.directives or ()))
            if isinstance(node, FieldNode):
                own = own.beside(self._field(node, parent, level, introspecting))
            elif isinstance(node, InlineFragmentNode):
                condition = node.type_condition
                inner = self._schema.get_type(condition.name.value) if condition else parent
                own = own.beside(self._selections(node.selection_set, inner, level, introspecting))
            elif isinstance(node, FragmentSpreadNode):
                own = own.beside(self._fragment(node.name.value, introspecting))
            total = total.beside(own)
        return total

    def _field(self, node: FieldNode, parent: GraphQLNamedType | None, level: int, introspecting: bool) -> Weight:
        name = node.name.value
        if name.startswith("__") and not introspecting:
            self.introspects |= name != "__typename"  # what a thing is called tells nothing of the schema
            inner = self._selections(node.selection_set, None, 1, introspecting=True)
            return Weight(1, inner.aliases + bool(node.alias), inner.directives, 0, fields=1, meta=1)
        field = self._definition(parent, name)
        named = get_named_type(field.type) if field is not None else None
        inner = self._selections(node.selection_set, named, level + 1, introspecting)
        pages = field is not None and _PAGE_ARGUMENT in field.args
        cost = self._page_size(node) * (1 + inner.cost) if pages else inner.cost
        once = int(name in self._limits.once and parent is self._schema.mutation_type)
        aliases = inner.aliases + bool(node.alias)
        return Weight(inner.depth + 1, aliases, inner.directives, cost, fields=1, once=once)

    def _fragment(self, name: str, introspecting: bool) -> Weight:
        known = self._weighed.get(name)
        if known is not None:
            return known
        self._weighed[name] = Weight()  # a circle weighs nothing: validation refuses it
        node = self._fragments.get(name)
        if node is None:
            return Weight()
        parent = self._schema.get_type(node.type_condition.name.value)
        weight = self._selections(node.selection_set, parent, 1, introspecting)
        weight = weight.beside(Weight(directives=len(node.directives or ())))
        self._weighed[name] = weight
        return weight

    def _definition(self, parent: GraphQLNamedType | None, name: str) -> GraphQLField | None:
        return parent.fields.get(name) if isinstance(parent, GraphQLObjectType | GraphQLInterfaceType) else None

    def _page_size(self, node: FieldNode) -> int:
        """What the resolver will take: the value, else the variable's, else the default. Out of range is its affair, not ours."""
        size = FIRST_DEFAULT
        for argument in node.arguments or ():
            if argument.name.value == _PAGE_ARGUMENT:
                given: Any = argument.value
                if isinstance(given, VariableNode):
                    self.pages_vary = True
                    given = self._variables.get(given.name.value, self._defaults.get(given.name.value))
                size = _page(given)
        return size


def _page(given: Any) -> int:
    """The size of a page that is given as a value, or as a literal."""
    if given is None:
        return FIRST_DEFAULT
    if isinstance(given, IntValueNode):
        given = int(given.value) if len(given.value) <= 10 else FIRST_MAX
    if not isinstance(given, int) or isinstance(given, bool):
        return FIRST_MAX
    return min(max(given, 1), FIRST_MAX)


def weigh(schema: GraphQLSchema, document: DocumentNode, variables: Mapping[str, Any], limits: Limits) -> Weighed:
    """Raises QueryTooComplex."""
    scales = _Scales(schema, document, variables, limits)
    total = Weight()
    for node in document.definitions:
        if isinstance(node, OperationDefinitionNode):
            total = total.beside(scales.operation(node))
    if total.depth > limits.depth_max:
        raise QueryTooComplex(f"The query is deeper than {limits.depth_max} levels.")
    if total.aliases > limits.aliases_max:
        raise QueryTooComplex(f"The query has more than {limits.aliases_max} aliases.")
    if total.directives > limits.directives_max:
        raise QueryTooComplex(f"The query has more than {limits.directives_max} directives.")
    if total.cost > limits.cost_max:
        raise QueryTooComplex(
            f"The query asks for more than {limits.cost_max} objects (the product of its page sizes)."
        )
    return Weighed(scales.pages_vary, scales.introspects, scales.only_introspects)
