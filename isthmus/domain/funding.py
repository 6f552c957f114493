"""What a person writes on a transfer to us, so that it is known whose account it is for.

A creditor reference (ISO 11649): `RF`, two check digits, fourteen hexadecimal digits that follow from the account's id. It fits into the
eighteen characters of a Faster Payment, and a mistyped one is nearly always seen to be none.
"""

from __future__ import annotations

import hashlib
import re
from uuid import UUID

BODY_LENGTH = 14
_REFERENCE = re.compile(rf"RF([0-9]{{2}})([0-9A-F]{{{BODY_LENGTH}}})")


def funding_body(account_id: UUID) -> str:
    """What an account is found by; the migration makes the same of its row. Of two accounts with the same, neither is meant."""
    return hashlib.sha256(account_id.bytes).hexdigest()[:BODY_LENGTH].upper()


def funding_reference(account_id: UUID) -> str:
    body = funding_body(account_id)
    return f"RF{_check_digits(body)}{body}"


def body_in(text: str) -> str | None:
    """The one reference that a text holds, without its check digits; None where it holds none, or several."""
    found = {
        body for digits, body in _REFERENCE.findall("".join(text.upper().split())) if digits == _check_digits(body)
    }
    return found.pop() if len(found) == 1 else None


def _check_digits(body: str) -> str:
    number = "".join(str(int(each, 36)) for each in f"{body}RF00")
    return f"{98 - int(number) % 97:02d}"
