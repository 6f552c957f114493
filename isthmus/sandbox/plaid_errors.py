"""Plaid's errors, and what every part of it says with them."""

from __future__ import annotations

from typing import Any

Body = dict[str, Any]


class PlaidError(Exception):
    """`kind` and `code` are Plaid's error_type and error_code."""

    def __init__(self, kind: str, code: str, message: str, *, display: str | None = None) -> None:
        super().__init__(message)
        self.kind, self.code, self.message, self.display = kind, code, message, display

    def body(self, request_id: str | None) -> Body:
        named = {} if request_id is None else {"request_id": request_id}
        return {
            "error_type": self.kind,
            "error_code": self.code,
            "error_message": self.message,
            "display_message": self.display,
            **named,
        }


LOGIN_REQUIRED = PlaidError(
    "ITEM_ERROR",
    "ITEM_LOGIN_REQUIRED",
    "the login details of this item have changed (credentials, MFA, or required user action) and a user login is required to "
    "update this information. use Link's update mode to restore the item to a good state",
    display="Please sign in with your bank again.",
)


def require(body: Body, *names: str) -> None:
    missing = [name for name in names if body.get(name) is None]
    if missing:
        raise PlaidError(
            "INVALID_REQUEST", "MISSING_FIELDS", f"the following required fields are missing: {', '.join(missing)}"
        )
