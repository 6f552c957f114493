"""What can be said of an input without looking at anything stored. Such a No is never remembered under its key.

The order of the checks is the order of the fields, so that the same wrong input always gets the same answer.
"""

from __future__ import annotations

import unicodedata
from decimal import Decimal

from isthmus.domain.internal_transfers import REFERENCE_LENGTH_MAX
from isthmus.domain.money import AmountFault, Asset, amount_fault
from isthmus.domain.refusals import InvalidAmount, InvalidInput, Refusal, UnknownAsset

KEY_LENGTH_MAX = 255
REASON_LENGTH_MAX = 500
_UNSTORABLE = "\x00"
#: Unicode's categories of controls, and of ends of lines and paragraphs.
_UNSHOWN = ("Cc", "Zl", "Zp")
#: What turns the direction of writing: marks, embeddings, overrides, isolates. Letters that are written from the right need none of them.
_TURNS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def key_fault(key: str) -> Refusal | None:
    path = ("input", "idempotencyKey")
    if not key:
        return InvalidInput("The idempotency key is empty.", path)
    if len(key) > KEY_LENGTH_MAX:
        return InvalidInput(f"The idempotency key is longer than {KEY_LENGTH_MAX} characters.", path)
    return text_fault(key, path)


def reference_fault(reference: str | None, *, required: bool = False) -> Refusal | None:
    path = ("input", "reference")
    if required and (reference is None or not reference.strip()):
        return InvalidInput("A reference is needed.", path)
    if reference is None:
        return None
    if len(reference) > REFERENCE_LENGTH_MAX:
        return InvalidInput(f"The reference is longer than {REFERENCE_LENGTH_MAX} characters.", path)
    return text_fault(reference, path)


def reason_fault(reason: str) -> Refusal | None:
    """An operator's own words: they are what explains afterwards why something was done by hand."""
    path = ("input", "reason")
    if not reason.strip():
        return InvalidInput("A reason is needed.", path)
    if len(reason) > REASON_LENGTH_MAX:
        return InvalidInput(f"The reason is longer than {REASON_LENGTH_MAX} characters.", path)
    return text_fault(reason, path)


def text_fault(text: str, path: tuple[str, ...]) -> Refusal | None:
    """Characters that no store of ours can hold: NUL, and halves of surrogate pairs."""
    if _UNSTORABLE in text or any("\ud800" <= character <= "\udfff" for character in text):
        return InvalidInput("The text has a character that cannot be stored.", path)
    return None


def shown_fault(text: str, path: tuple[str, ...]) -> Refusal | None:
    """Of a text that is shown to whoever is to authorise something, and sent to banks: it must look as it is written. What begins a line
    anew, or turns the direction of what stands after it, could hide what the message says besides."""
    if any(unicodedata.category(one) in _UNSHOWN or one in _TURNS for one in text):
        return InvalidInput("The text has a character that is not shown as it is written.", path)
    return text_fault(text, path)


def asset_fault(code: str, asset: Asset | None, path: tuple[str, ...]) -> Refusal | None:
    return None if asset is not None else UnknownAsset(f"{code} is not an asset that can be held here.", path)


def money_fault(amount: Decimal, asset: Asset, path: tuple[str, ...]) -> Refusal | None:
    match amount_fault(amount, asset):
        case None:
            return None
        case AmountFault.NOT_POSITIVE:
            return InvalidAmount("The amount must be more than zero.", path)
        case AmountFault.TOO_MANY_DECIMALS:
            places = f"{asset.scale} decimal place{'' if asset.scale == 1 else 's'}"
            return InvalidAmount(f"{asset.code} has {places} at most.", path)
        case AmountFault.TOO_LARGE:
            return InvalidAmount("The amount has too many digits.", path)


def first_fault(*faults: Refusal | None) -> Refusal | None:
    return next((fault for fault in faults if fault is not None), None)
