"""Roles bound scopes, whatever an issuer writes."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from isthmus.auth.caller import Caller
from isthmus.auth.metadata import protected_resource_metadata
from isthmus.auth.scopes import ALLOWED, Role, Scope, allowed, known_roles, known_scopes
from isthmus.settings import Settings


def test_every_role_has_its_scopes_and_may_read() -> None:
    assert set(ALLOWED) == set(Role)
    assert all(Scope.READ in ALLOWED[role] for role in Role)


@pytest.mark.parametrize(
    ("roles", "scopes"),
    [
        ([], set()),
        ([Role.CUSTOMER], {Scope.READ, Scope.WRITE}),
        ([Role.OPERATOR], {Scope.READ, Scope.OPERATE, Scope.SCHEMA}),
        ([Role.DEVELOPER], {Scope.READ, Scope.SCHEMA}),
        ([Role.AUDITOR], {Scope.READ, Scope.AUDIT}),
        ([Role.SERVICE], {Scope.READ, Scope.WRITE, Scope.OPERATE}),
        ([Role.CUSTOMER, Role.AUDITOR], {Scope.READ, Scope.WRITE, Scope.AUDIT}),
    ],
)
def test_allowed(roles: list[Role], scopes: set[Scope]) -> None:
    assert allowed(roles) == scopes


def test_names_that_are_not_ours_are_left_out() -> None:
    assert known_roles(["customer", "Operator", "admin", "", None, 1, ["auditor"]]) == {Role.CUSTOMER}
    assert known_scopes(["openid", "read", "READ", "write ", {}]) == {Scope.READ}


def test_a_caller_shows_no_subject() -> None:
    caller = Caller(UUID(int=7), "ada-subject", frozenset({Role.CUSTOMER}), frozenset({Scope.READ}), datetime.now(UTC))
    assert "ada-subject" not in f"{caller!r} {caller}"
    assert caller.may(Scope.READ)
    assert not caller.may(Scope.WRITE)


@pytest.mark.parametrize("api_url", ["https://api.example", "https://api.example/", "https://api.example/graphql"])
def test_protected_resource_metadata(settings: Settings, api_url: str) -> None:
    metadata = protected_resource_metadata(settings, "https://issuer.example", api_url)
    assert metadata["resource"] == "https://api.example"
    assert metadata["authorization_servers"] == ["https://issuer.example"]
    assert metadata["scopes_supported"] == ["read", "write", "operate", "audit", "schema:read"]
    assert metadata["bearer_methods_supported"] == ["header"]


def test_metadata_before_the_port_is_known(settings: Settings) -> None:
    assert protected_resource_metadata(settings, "https://issuer.example", "")["resource"] == "http://127.0.0.1"
