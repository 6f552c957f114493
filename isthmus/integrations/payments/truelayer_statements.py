"""What moved in our merchant accounts at TrueLayer, as its API tells: whole minor units, a kind, and ids of what moved it.

Source: docs.truelayer.com (merchant accounts; webhooks, `external_payment_received`). What is not settled is not booked yet, and is
left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Protocol

import msgspec

from isthmus.domain.banking import Malformed
from isthmus.domain.statements import Statement, StatementEntry
from isthmus.integrations.banking.amounts import places_of

_BOOKED = frozenset({"settled", "executed"})
#: Kinds by which way the money goes; the amounts have no sign.
_IN = frozenset({"external_payment", "merchant_account_payment"})
_OUT = frozenset({"payout", "refund"})
_ID_MAX, _REFERENCE_MAX, _PAGES_MAX = 100, 140, 1_000


class Asking(Protocol):
    async def __call__(
        self, name: str, method: str, path: str, shape: type[Any], headers: dict[str, str], **more: Any
    ) -> Any: ...


class _Remitter(msgspec.Struct):
    reference: str | None = None


class _Transaction(msgspec.Struct):
    id: str
    type: str
    amount_in_minor: int
    currency: str
    status: str
    created_at: datetime | None = None
    executed_at: datetime | None = None
    settled_at: datetime | None = None
    payout_id: str | None = None
    payment_id: str | None = None
    refund_id: str | None = None
    remitter: _Remitter | None = None


class _Pagination(msgspec.Struct):
    next_cursor: str | None = None


class _Transactions(msgspec.Struct):
    items: list[_Transaction]
    pagination: _Pagination | None = None


class _Account(msgspec.Struct):
    currency: str
    current_balance_in_minor: int


class TrueLayerStatements:
    """Implements `isthmus.domain.statements.Statements`. `asked`: asks with our own token. `accounts`: ours, by currency."""

    name = "truelayer"

    def __init__(self, asked: Asking, accounts: Mapping[str, str]) -> None:
        self._asked = asked
        self._accounts = accounts

    @property
    def assets(self) -> frozenset[str]:
        return frozenset(self._accounts)

    async def entries(self, asset: str, since: datetime, until: datetime) -> Statement:
        path = f"/v3/merchant-accounts/{self._accounts[asset]}"
        found: list[StatementEntry] = []
        asked: dict[str, str] = {"from": _instant(since), "to": _instant(until)}
        for _ in range(_PAGES_MAX):
            page = await self._asked("statement", "GET", f"{path}/transactions", _Transactions, {}, params=asked)
            found += [_entry(one, asset) for one in page.items if one.status in _BOOKED]
            cursor = page.pagination.next_cursor if page.pagination is not None else None
            if cursor is None:
                break
            asked = {**asked, "cursor": cursor}
        else:
            raise Malformed("TrueLayer's statement has no end")
        if len({one.entry_id for one in found}) != len(found):
            raise Malformed("TrueLayer told of a transaction twice")  # which of them is true nobody can say
        account = await self._asked("merchant account", "GET", path, _Account, {})
        if account.currency != asset:
            raise Malformed("TrueLayer told of an account in another currency")
        return Statement(tuple(found), _amount(account.current_balance_in_minor, asset))


def _entry(told: _Transaction, asset: str) -> StatementEntry:
    at = told.settled_at or told.executed_at or told.created_at
    if at is None or at.tzinfo is None or told.currency != asset or told.amount_in_minor < 0:
        raise Malformed("TrueLayer told of a transaction without time, currency or amount")
    if told.type not in _IN | _OUT:
        raise Malformed("TrueLayer told of a transaction of a kind that is not known")
    names = frozenset(one for one in (told.payout_id, told.payment_id, told.refund_id) if one is not None)
    if any(not one.isascii() or not one.isprintable() or not 0 < len(one) <= _ID_MAX for one in (told.id, *names)):
        raise Malformed("TrueLayer told of a transaction with an id that is none")
    amount = _amount(told.amount_in_minor, asset)
    reference = (told.remitter.reference or "") if told.remitter is not None else ""
    return StatementEntry(
        told.id,
        at.astimezone(UTC),
        amount if told.type in _IN else amount.copy_negate(),
        asset,
        names,
        told.type == "external_payment",
        reference[:_REFERENCE_MAX],
    )


def _amount(minor: int, asset: str) -> Decimal:
    return Decimal(minor).scaleb(-places_of(asset))


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
