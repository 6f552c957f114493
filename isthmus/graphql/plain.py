"""Selections of what a value already holds, compiled once to functions.

Most live messages ask for attributes only: no resolver of their own, no argument, nothing to wait for. Completing such a selection
field by field is most of what a message costs (0.5 ms of 20 fields), and it comes out the same each time but for the values. Whatever
is not plain, a directive included, is left to the library's execution; so is every message that would have an error, since errors are
its affair.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    is_abstract_type,
    is_leaf_type,
)
from strawberry.types.field import StrawberryField

Complete = Callable[[Any], Any]


class NotPlain(Exception):
    """This selection, or this value of it, is for the library to complete."""


def compiled(schema: GraphQLSchema, document: DocumentNode) -> Complete | None:
    """From the value of the only root field of the document's only operation to the answer's `data`; None where it is not plain.

    `document` is valid. What the function raises, whatever it is, means that the library must execute this one.
    """
    (operation,) = (node for node in document.definitions if isinstance(node, OperationDefinitionNode))
    compiler = _Compiler(
        schema, {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
    )
    root = schema.get_root_type(operation.operation)
    assert root is not None, "a valid document's operation has a root type"
    try:
        ((key, nodes),) = compiler.fields(root, [operation.selection_set]).items()
        complete = compiler.completing(root.fields[nodes[0].name.value].type, nodes)
    except NotPlain:
        return None
    return lambda value: {key: complete(value)}


class _Compiler:
    def __init__(self, schema: GraphQLSchema, fragments: Mapping[str, FragmentDefinitionNode]) -> None:
        self._schema = schema
        self._fragments = fragments

    def completing(self, kind: GraphQLOutputType, nodes: Sequence[FieldNode]) -> Complete:
        if isinstance(kind, GraphQLNonNull):
            return _there(self.completing(kind.of_type, nodes))
        return _or_null(self._present(kind, nodes))

    def _present(self, kind: Any, nodes: Sequence[FieldNode]) -> Complete:
        """For a value that is not None."""
        if isinstance(kind, GraphQLList):
            item = self.completing(kind.of_type, nodes)
            return lambda values: [item(value) for value in values]
        if is_leaf_type(kind):
            coerce: Complete = kind.coerce_output_value
            return coerce
        below = [node.selection_set for node in nodes if node.selection_set is not None]
        if isinstance(kind, GraphQLObjectType):
            return self._object(kind, below)
        assert is_abstract_type(kind), "scalars, enums, lists and objects are done"
        by_name = {one.name: self._object(one, below) for one in self._schema.get_possible_types(kind)}
        return lambda value: by_name[type(value).__strawberry_definition__.name](value)

    def _object(self, kind: GraphQLObjectType, selections: Sequence[SelectionSetNode]) -> Complete:
        plan: list[tuple[str, str, Complete]] = []
        for key, nodes in self.fields(kind, selections).items():
            name = nodes[0].name.value
            if name == "__typename":
                plan.append((key, "__class__", _always(kind.name)))
                continue
            field = kind.fields[name]
            definition = field.extensions.get("strawberry-definition")
            if not isinstance(definition, StrawberryField) or not definition.is_basic_field:
                raise NotPlain(f"{kind.name}.{name}")
            plan.append((key, definition.python_name, self.completing(field.type, nodes)))
        return lambda value: {key: complete(getattr(value, name)) for key, name, complete in plan}

    def fields(self, kind: GraphQLObjectType, selections: Sequence[SelectionSetNode]) -> dict[str, list[FieldNode]]:
        """By response key, in the order of the answer."""
        found: dict[str, list[FieldNode]] = {}
        for selection in selections:
            for node in self._flat(kind, selection):
                found.setdefault((node.alias or node.name).value, []).append(node)
        return found

    def _flat(self, kind: GraphQLObjectType, selection: SelectionSetNode) -> Iterator[FieldNode]:
        for node in selection.selections:
            if node.directives:
                raise NotPlain("a directive")
            if isinstance(node, FieldNode):
                yield node
            elif isinstance(node, FragmentSpreadNode | InlineFragmentNode):
                fragment = self._fragments[node.name.value] if isinstance(node, FragmentSpreadNode) else node
                condition = fragment.type_condition
                if condition is None or self._covers(condition.name.value, kind):
                    yield from self._flat(kind, fragment.selection_set)

    def _covers(self, name: str, kind: GraphQLObjectType) -> bool:
        named = self._schema.get_type(name)
        return named is kind or (is_abstract_type(named) and self._schema.is_sub_type(named, kind))


def _there(complete: Complete) -> Complete:
    def completed(value: Any) -> Any:
        answer = complete(value)
        if answer is None:
            raise NotPlain("null where there must be something")
        return answer

    return completed


def _or_null(complete: Complete) -> Complete:
    return lambda value: None if value is None else complete(value)


def _always(answer: str) -> Complete:
    return lambda _: answer
