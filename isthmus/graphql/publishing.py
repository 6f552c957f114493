"""From a client's files to the documents that it will send: what `isthmus operations publish` registers, checked as a request would be.

Three kinds of files:

- GraphQL (any other name): registered as the whole text that it is, and each operation by itself with the fragments it uses, as
  GraphQL's own printer writes it. Fragments may stand in another of the files.
- JSON `{"<sha256>": "<text>"}`: what Relay's compiler (`persistConfig`) and GraphQL Code Generator's client preset write.
- JSON `{"format": "apollo-persisted-query-manifest", "version": 1, "operations": [{"id", "body", …}]}`: Apollo's.

A manifest's text is registered to the byte: it is what the client hashed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from graphql import (
    DocumentNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    Node,
    OperationDefinitionNode,
    Visitor,
    parse,
    print_ast,
    visit,
)

from isthmus.graphql.documents import Documents, Refused

_APOLLO = "apollo-persisted-query-manifest"


class Unpublishable(Exception):
    """`faults`: one sentence each, naming file and operation."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


@dataclass(frozen=True)
class Candidate:
    """`whole`: a file that holds several operations, registered as one text as well; it may be left out with a note."""

    origin: str
    text: str
    whole: bool = False

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.text.encode()).digest()


@dataclass(frozen=True)
class Accepted:
    origin: str
    digest: bytes
    text: str
    operations: tuple[str, ...]


@dataclass(frozen=True)
class _File:
    name: str
    text: str
    document: DocumentNode

    @property
    def operations(self) -> list[OperationDefinitionNode]:
        return [node for node in self.document.definitions if isinstance(node, OperationDefinitionNode)]

    @property
    def fragments(self) -> dict[str, FragmentDefinitionNode]:
        return {node.name.value: node for node in self.document.definitions if isinstance(node, FragmentDefinitionNode)}


def accept(files: Mapping[str, str], documents: Documents) -> tuple[list[Accepted], list[str]]:
    """What to register, each text once, and notes on what was left out. Raises Unpublishable with everything that is wrong."""
    found: dict[bytes, Accepted] = {}
    notes: list[str] = []
    faults: list[str] = []
    candidates, unreadable = _candidates(files)
    for candidate in candidates:
        try:
            names = documents.names_in(candidate.text)
        except Refused as refused:
            told = f"{candidate.origin}: {'; '.join(error.message for error in refused.errors)}"
            (notes if candidate.whole else faults).append(told)
            continue
        if not names:
            faults.append(f"{candidate.origin}: there is no operation in it")
            continue
        accepted = Accepted(candidate.origin, candidate.digest, candidate.text, tuple(names))
        found.setdefault(candidate.digest, accepted)
    if not found and not unreadable and not faults:
        faults.append("there is no operation in these files")
    if unreadable or faults:
        raise Unpublishable(unreadable + faults)
    return list(found.values()), notes


def _candidates(files: Mapping[str, str]) -> tuple[list[Candidate], list[str]]:
    candidates: list[Candidate] = []
    faults: list[str] = []
    sources: list[_File] = []
    for name, text in files.items():
        if name.endswith(".json"):
            try:
                candidates += _manifest(name, text)
            except ValueError as error:
                faults.append(f"{name}: {error}")
        else:
            try:
                sources.append(_File(name, text, parse(text)))
            except GraphQLError as error:
                place = f", line {error.locations[0].line}" if error.locations else ""
                faults.append(f"{name}{place}: {error.message}")
    for file in sources:
        try:
            candidates += _of_source(file, sources)
        except ValueError as error:
            faults.append(f"{file.name}: {error}")
    return candidates, faults


def _of_source(file: _File, files: list[_File]) -> Iterator[Candidate]:
    operations = file.operations
    if operations:
        yield Candidate(f"{file.name} (the whole file)", file.text, whole=True)
    for operation in operations:
        name = operation.name.value if operation.name else "the operation without a name"
        fragments = _used(operation, file, files)
        text = "\n\n".join(print_ast(node) for node in (operation, *fragments))
        yield Candidate(f"{file.name}, {name}", text)


def _used(operation: OperationDefinitionNode, file: _File, files: list[_File]) -> list[FragmentDefinitionNode]:
    """In the order in which they are met, as clients append them. Raises ValueError."""
    found: dict[str, FragmentDefinitionNode] = {}
    waiting: list[Node] = [operation]
    while waiting:
        for name in _spread_in(waiting.pop(0)):
            if name not in found:
                fragment = found[name] = _fragment(name, file, files)
                waiting.append(fragment)
    return list(found.values())


def _fragment(name: str, file: _File, files: list[_File]) -> FragmentDefinitionNode:
    """The file's own first. Raises ValueError."""
    own = file.fragments.get(name)
    if own is not None:
        return own
    others = {print_ast(other.fragments[name]): other.fragments[name] for other in files if name in other.fragments}
    if len(others) != 1:
        raise ValueError(f"fragment {name} is {'in no file' if not others else 'in several files, and not the same'}")
    return next(iter(others.values()))


def _spread_in(node: Node) -> list[str]:
    names: list[str] = []

    class Spreads(Visitor):
        def enter_fragment_spread(self, spread: FragmentSpreadNode, *_: Any) -> None:
            names.append(spread.name.value)

    visit(node, Spreads())
    return names


def _manifest(name: str, text: str) -> Iterator[Candidate]:
    """Raises ValueError."""
    content = json.loads(text)
    if not isinstance(content, dict):
        raise ValueError("a manifest is a JSON object")
    if "format" in content or isinstance(content.get("operations"), list):
        if content.get("format") != _APOLLO or content.get("version") != 1:
            raise ValueError(f"the format must be {_APOLLO}, version 1")
        pairs = [(entry.get("id"), entry.get("body")) for entry in content["operations"] if isinstance(entry, dict)]
    else:
        pairs = list(content.items())
    for key, body in pairs:
        if not isinstance(key, str) or not isinstance(body, str):
            raise ValueError("each entry is the SHA-256 of a document's text and that text")
        candidate = Candidate(f"{name}, {key[:12]}", body)
        if key.removeprefix("sha256:").lower() != candidate.digest.hex():
            raise ValueError(
                f"{key[:80]} is not the SHA-256 of its text; set the algorithm of the tool that writes this file to SHA-256 "
                '(Relay: persistConfig.algorithm "SHA256"; client preset: persistedDocuments.hashAlgorithm "sha256")'
            )
        yield candidate
