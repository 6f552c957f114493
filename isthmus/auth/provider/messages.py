"""Requests as authlib reads them, and what it answers; what is refused before it looks, because it fails on it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from authlib.oauth2.rfc6749 import InvalidRequestError, OAuth2Request
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload

from isthmus.auth.provider.clients import OPENID_SCOPES, join_scopes
from isthmus.auth.provider.store import User
from isthmus.auth.scopes import allowed

_VALUE = re.compile(r"[\x20-\x7e]{0,2048}")
#: Text for a person to read, which may be in any script; nothing looks it up.
_FREE_TEXT = frozenset({"login_hint"})


@dataclass
class Answer:
    """A redirect, or a status and a JSON body."""

    status: int
    body: dict[str, Any] = field(default_factory=dict)
    location: str | None = None


class FormRequest(OAuth2Request):  # type: ignore[misc]  # authlib has no types
    def __init__(self, method: str, uri: str, pairs: list[tuple[str, str]]) -> None:
        super().__init__(method, uri)
        self._form = dict(pairs)
        self.payload = BasicOAuth2Payload(self._form)
        self._repeated = len(self._form) != len(pairs)

    @property
    def form(self) -> dict[str, str]:
        return self._form

    def check(self) -> None:
        """RFC 6749, 3.1 and 3.2: no parameter twice; and printable ASCII of a bounded length, as its appendix A has it."""
        if self._repeated:
            raise InvalidRequestError("A parameter is there more than once.")
        if any(not _VALUE.fullmatch(value) for name, value in self._form.items() if name not in _FREE_TEXT):
            raise InvalidRequestError("A parameter is too long, or has characters that are not allowed.")


def permitted(scope: str, user: User) -> str:
    """Requested and allowed by the user's roles; what OpenID Connect defines is about the user and everyone's."""
    return join_scopes(set(scope.split()) & {*OPENID_SCOPES, *(s.value for s in allowed(user.roles))})
