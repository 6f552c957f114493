"""Roles, scopes, and which role may ask for which scope.

A role says who someone is, a scope what one token may be used for. A token never carries more than its person's roles allow,
whatever the issuer wrote into it: what counts is the intersection.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType


class Role(StrEnum):
    CUSTOMER = "customer"
    OPERATOR = "operator"
    AUDITOR = "auditor"
    DEVELOPER = "developer"
    SERVICE = "service"


class Scope(StrEnum):
    READ = "read"
    WRITE = "write"
    OPERATE = "operate"
    AUDIT = "audit"
    SCHEMA = "schema:read"


#: Total: a role without a line here would be a role that can do nothing, and nobody would notice why (a test checks it).
ALLOWED: Mapping[Role, frozenset[Scope]] = MappingProxyType(
    {
        Role.CUSTOMER: frozenset({Scope.READ, Scope.WRITE}),
        Role.OPERATOR: frozenset({Scope.READ, Scope.OPERATE, Scope.SCHEMA}),
        Role.AUDITOR: frozenset({Scope.READ, Scope.AUDIT}),
        Role.DEVELOPER: frozenset({Scope.READ, Scope.SCHEMA}),
        Role.SERVICE: frozenset({Scope.READ, Scope.WRITE, Scope.OPERATE}),
    }
)


def allowed(roles: Iterable[Role]) -> frozenset[Scope]:
    """Every scope that at least one of the roles may have; none for no role."""
    return frozenset(scope for role in roles for scope in ALLOWED[role])


def known_roles(names: Iterable[object]) -> frozenset[Role]:
    """An issuer's list of role names; those that are not ours are left out, as are things that are no names."""
    known = {role.value: role for role in Role}
    return frozenset(known[name] for name in names if isinstance(name, str) and name in known)


def known_scopes(names: Iterable[object]) -> frozenset[Scope]:
    """A token's list of scopes; `openid`, `profile` and whatever else is not ours is left out."""
    known = {scope.value: scope for scope in Scope}
    return frozenset(known[name] for name in names if isinstance(name, str) and name in known)
