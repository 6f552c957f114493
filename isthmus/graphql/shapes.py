"""What of a subscription's document decides its messages: the selection below the root field, and the variables used there.

The root field's own arguments choose which messages come, not what they look like. Documents that differ in nothing else (names,
white space, comments, argument values) have one shape.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from graphql import (
    ArgumentNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLSchema,
    InlineFragmentNode,
    NameNode,
    OperationDefinitionNode,
    SelectionSetNode,
    StringValueNode,
    VariableNode,
    Visitor,
    is_required_argument,
    print_ast,
    visit,
)

from isthmus.graphql.documents import Prepared, Refused
from isthmus.graphql.errors import BadUserInput

_KEPT_MAX = 512


@dataclass(frozen=True)
class Shape:
    """`document` is to be executed with the variables named, and no others."""

    document: DocumentNode
    text: str
    variables: tuple[str, ...]


class Shapes:
    def __init__(self, schema: GraphQLSchema) -> None:
        self._schema = schema
        self._kept: OrderedDict[tuple[str, str | None], Shape] = OrderedDict()

    def of(self, prepared: Prepared) -> Shape:
        """Raises Refused where the root field carries directives."""
        key = prepared.text, prepared.operation_name
        shape = self._kept.get(key)
        if shape is None:
            shape = self._kept[key] = shape_of(self._schema, prepared.document, prepared.operation)
            if len(self._kept) > _KEPT_MAX:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(key)
        return shape


def shape_of(schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode) -> Shape:
    fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
    (root,) = _fields(operation.selection_set, fragments)
    field = FieldNode(
        alias=root.alias,
        name=root.name,
        arguments=_placeholders(schema, root),
        directives=(),
        selection_set=root.selection_set,
    )
    used = _Used()
    waiting: list[FieldNode | FragmentDefinitionNode] = [field]
    kept: dict[str, FragmentDefinitionNode] = {}
    while waiting:
        visit(waiting.pop(), used)
        for name in sorted(used.fragments - kept.keys()):
            kept[name] = fragments[name]
            waiting.append(fragments[name])
    shaped = OperationDefinitionNode(
        operation=operation.operation,
        name=None,
        variable_definitions=tuple(
            one for one in operation.variable_definitions or () if one.variable.name.value in used.variables
        ),
        directives=(),
        selection_set=SelectionSetNode(selections=(field,)),
    )
    whole = DocumentNode(definitions=(shaped, *(kept[name] for name in sorted(kept))))
    return Shape(whole, print_ast(whole), tuple(sorted(used.variables)))


def _placeholders(schema: GraphQLSchema, root: FieldNode) -> tuple[ArgumentNode, ...]:
    """Arguments that must be there get a text that is nobody's: the value of a message does not ask for them."""
    assert schema.subscription_type is not None, "a subscription is valid"
    arguments = schema.subscription_type.fields[root.name.value].args
    return tuple(
        ArgumentNode(name=NameNode(value=name), value=StringValueNode(value=""))
        for name, argument in arguments.items()
        if is_required_argument(argument)
    )


def _fields(selections: SelectionSetNode, fragments: dict[str, FragmentDefinitionNode]) -> Iterator[FieldNode]:
    """The root fields: a valid subscription has one, perhaps inside fragments."""
    for node in selections.selections:
        if node.directives:
            raise Refused([BadUserInput("A subscription's root field takes no directives.")])
        if isinstance(node, FieldNode):
            yield node
        elif isinstance(node, InlineFragmentNode):
            yield from _fields(node.selection_set, fragments)
        elif isinstance(node, FragmentSpreadNode):
            yield from _fields(fragments[node.name.value].selection_set, fragments)


class _Used(Visitor):
    def __init__(self) -> None:
        super().__init__()
        self.variables: set[str] = set()
        self.fragments: set[str] = set()

    def enter_variable(self, node: VariableNode, *_: object) -> None:
        self.variables.add(node.name.value)

    def enter_fragment_spread(self, node: FragmentSpreadNode, *_: object) -> None:
        self.fragments.add(node.name.value)
