"""What a person does with API keys, as calls."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from tests.api.conftest import Person, Served
from tests.api.test_payments import code_of

CREATE = """mutation($input: CreateApiKeyInput!) { createApiKey(input: $input) {
    apiKey { id name prefix scopes status createdAt expiresAt revokedAt lastUsedAt challenge { id purpose state __typename } }
    secret position replayed errors { __typename code message path } } }"""
ANSWER = """mutation($input: AnswerScaChallengeInput!) { answerScaChallenge(input: $input) { challenge { id state }
    subject { __typename ... on ApiKey { id status } } errors { code message path } } }"""
REVOKE = """mutation($input: RevokeApiKeyInput!) { revokeApiKey(input: $input) {
    apiKey { id status revokedAt } position replayed errors { code message path } } }"""
LIST = """query($first: Int!, $after: String) { apiKeys(first: $first, after: $after) { totalCount
    edges { node { id name prefix scopes status expiresAt revokedAt lastUsedAt } } pageInfo { hasNextPage endCursor } } }"""


def create(person: Person, name: str = "reporting", scopes: tuple[str, ...] = ("READ",), **more: Any) -> Any:
    """Made, and answered for."""
    made = begin(person, name, scopes, **more)
    waits = made["apiKey"] is not None and made["apiKey"]["status"] == "AWAITING_SCA"
    if waits and not made["replayed"]:
        assert confirm(person, made["apiKey"]["challenge"]["id"])["errors"] == []
        made["apiKey"]["status"] = "ACTIVE"
        made["apiKey"]["challenge"]["state"] = "PASSED"
    return made


def confirm(person: Person, challenge: str) -> Any:
    """Answer the challenge that a key waits for, by the code that is sent."""
    wish = {"challengeId": challenge, "answer": {"oneTimeCode": code_of(person._served, challenge)}}
    return person.ask(ANSWER, {"input": wish})["answerScaChallenge"]


def begin(person: Person, name: str = "reporting", scopes: tuple[str, ...] = ("READ",), **more: Any) -> Any:
    wish = {"name": name, "scopes": scopes, "idempotencyKey": uuid4().hex, **more}
    return person.ask(CREATE, {"input": wish})["createApiKey"]


def revoke(person: Person, id: str, **more: Any) -> Any:
    return person.ask(REVOKE, {"input": {"apiKeyId": id, "idempotencyKey": uuid4().hex, **more}})["revokeApiKey"]


def listed(person: Person, first: int = 50, after: str | None = None) -> Any:
    return person.ask(LIST, {"first": first, "after": after})["apiKeys"]


def program(served: Served, person: Person, key: str) -> Person:
    """A program that acts for the person."""
    made = Person(served)
    made.token, made.id = key, person.id
    return made


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
