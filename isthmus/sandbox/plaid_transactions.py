"""Plaid's `/transactions/sync`: an account's changes as pages of an update, and transactions in Plaid's shape.

Amounts are JSON numbers, and positive means money out. A pending transaction that is booked is removed, and added under another id.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from isthmus.sandbox.answers import number
from isthmus.sandbox.book import CANCELLED, PENDING, Book, Change, Movement
from isthmus.sandbox.plaid_errors import Body, PlaidError

COUNT_MAX = 500
_CATEGORIES = {
    "GROCERIES": ("FOOD_AND_DRINK", "FOOD_AND_DRINK_GROCERIES"),
    "EATING_OUT": ("FOOD_AND_DRINK", "FOOD_AND_DRINK_COFFEE"),
    "TRANSPORT": ("TRANSPORTATION", "TRANSPORTATION_PUBLIC_TRANSIT"),
    "SHOPPING": ("GENERAL_MERCHANDISE", "GENERAL_MERCHANDISE_BOOKSTORES_AND_NEWSSTANDS"),
    "BILLS": ("RENT_AND_UTILITIES", "RENT_AND_UTILITIES_GAS_AND_ELECTRICITY"),
    "TRAVEL": ("TRAVEL", "TRAVEL_OTHER_TRAVEL"),
    "ENTERTAINMENT": ("ENTERTAINMENT", "ENTERTAINMENT_TV_AND_MOVIES"),
    "INCOME": ("INCOME", "INCOME_WAGES"),
}
_OTHER = ("OTHER", "OTHER_OTHER")


@dataclass(frozen=True)
class _Cursor:
    """An update reaches from `start` to `end` of the feed. Its pages have told everything up to `at`, and `told` more of what follows."""

    start: int
    at: int
    told: int
    end: int

    def text(self) -> str:
        return base64.b64encode(f"{self.start}.{self.at}.{self.told}.{self.end}".encode()).decode()

    @classmethod
    def read(cls, text: str) -> _Cursor:
        try:
            return cls(*(int(part) for part in base64.b64decode(text, validate=True).decode().split(".")))
        except (ValueError, TypeError):
            raise PlaidError("INVALID_INPUT", "INVALID_FIELD", "cursor not associated with access_token") from None


class Updates:
    """Each update begins where the one before it ended."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def page(self, accounts: Sequence[str], cursor_text: str | None, count: object) -> Body:
        """The next page for whoever holds the cursor. Raises PlaidError where something changed between two pages."""
        if not isinstance(count, int) or not 1 <= count <= COUNT_MAX:
            raise PlaidError("INVALID_INPUT", "INVALID_FIELD", f"count must be between 1 and {COUNT_MAX}")
        head = self._book.head(accounts)
        cursor = _Cursor.read(cursor_text) if cursor_text else _Cursor(0, 0, 0, 0)
        if cursor.at == cursor.end:
            cursor = _Cursor(cursor.end, cursor.end, 0, head)
        elif head != cursor.end:
            raise PlaidError(
                "TRANSACTIONS_ERROR",
                "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION",
                "Underlying transaction data changed since last page was fetched. Please restart pagination from last update.",
            )
        page, following = self._page(accounts, cursor, count)
        return {
            "transactions_update_status": "HISTORICAL_UPDATE_COMPLETE",
            **page,
            "next_cursor": following.text(),
            "has_more": following.at < following.end,
        }

    def _page(self, accounts: Sequence[str], cursor: _Cursor, count: int) -> tuple[dict[str, list[Body]], _Cursor]:
        """The next `count` entries of the update. A removal and the addition that follows it may part."""
        page: dict[str, list[Body]] = {"added": [], "modified": [], "removed": []}
        left, at, told = count, cursor.at, cursor.told
        while left and at < cursor.end:
            changes = self._book.changes(accounts, at, cursor.end, left)
            movements = self._book.some_movements({change.movement for change in changes})
            if not changes:
                at, told = cursor.end, 0
            for change in changes:
                entries = _entries(change, movements[change.movement], cursor, named=self._names_pending)
                some = entries[told : told + left]
                for name, entry in some:
                    page[name].append(entry)
                left -= len(some)
                if told + len(some) < len(entries):
                    return page, _Cursor(cursor.start, at, told + len(some), cursor.end)
                at, told = change.seq, 0
        if at < cursor.end and not self._book.changes(accounts, at, cursor.end, 1):
            at = cursor.end
        return page, _Cursor(cursor.start, at, 0, cursor.end) if at < cursor.end else _Cursor(at, at, 0, at)

    @property
    def _names_pending(self) -> bool:
        """Some banks' posted transactions do not say which pending one they were."""
        return self._book.fact("plaid.unnamed_pending") is None


def _entries(change: Change, movement: Movement, cursor: _Cursor, *, named: bool) -> list[tuple[str, Body]]:
    """What an update says of a change: nothing of what came and went within it."""
    known, over = change.first_seq <= cursor.start, movement.state == CANCELLED
    gone = {"transaction_id": _pending_id(movement), "account_id": movement.account}
    match change.change:
        case "PENDING":
            settled = change.settled_seq is not None and change.settled_seq <= cursor.end
            return [] if settled else [("added", _transaction(movement))]
        case "BOOKED":
            return [] if over else [("added", _transaction(movement))]
        case "POSTED":
            posted = [] if over else [("added", _transaction(movement, posted=True, was_pending=named))]
            return [("removed", gone), *posted] if known else posted
        case "CANCELLED":
            return [("removed", gone)] if known else []
        case "WITHDRAWN":
            told = known if change.settled_seq is None else change.settled_seq <= cursor.start
            return [("removed", {**gone, "transaction_id": movement.id})] if told else []
        case _:
            return [("modified", _transaction(movement))] if known and not over else []


def _pending_id(movement: Movement) -> str:
    return f"p{movement.id}"


def _transaction(movement: Movement, *, posted: bool = False, was_pending: bool = False) -> Body:
    """`posted`: it was pending under another id before; `was_pending` says so."""
    pending = movement.state == PENDING
    primary, detailed = _CATEGORIES.get(movement.category, _OTHER)
    day = (movement.booked_at or movement.at)[:10]
    return {
        "transaction_id": _pending_id(movement) if pending else movement.id,
        "account_id": movement.account,
        "amount": number(-movement.amount),
        "iso_currency_code": movement.currency,
        "unofficial_currency_code": None,
        "date": movement.at[:10] if pending else day,
        "datetime": movement.at,
        "authorized_date": movement.at[:10],
        "authorized_datetime": movement.at,
        "name": movement.name,
        "merchant_name": movement.name if movement.amount < 0 else None,
        "original_description": movement.reference,
        "pending": pending,
        "pending_transaction_id": _pending_id(movement) if posted and was_pending else None,
        "account_owner": None,
        "payment_channel": "in store" if movement.reference == "CARD" else "other",
        "transaction_code": None,
        "check_number": None,
        "category": None,
        "category_id": None,
        "counterparties": [{"name": movement.name, "type": "merchant", "website": None, "logo_url": None}],
        "personal_finance_category": {"primary": primary, "detailed": detailed, "confidence_level": "HIGH"},
        "location": dict.fromkeys(
            ("address", "city", "region", "postal_code", "country", "lat", "lon", "store_number"), None
        ),
        "payment_meta": dict.fromkeys(
            (
                *("reference_number", "ppd_id", "payee", "by_order_of"),
                *("payer", "payment_method", "payment_processor", "reason"),
            ),
            None,
        ),
    }
