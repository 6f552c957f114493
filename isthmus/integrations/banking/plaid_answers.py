"""What Plaid answers, as far as it is read. Amounts are decimals as they were written: never floats."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec


class LinkToken(msgspec.Struct):
    link_token: str
    expiration: datetime
    hosted_link_url: str | None = None


class AddResult(msgspec.Struct):
    public_token: str


class LinkResults(msgspec.Struct):
    item_add_results: list[AddResult] = []


class LinkSession(msgspec.Struct):
    results: LinkResults | None = None


class LinkSessions(msgspec.Struct):
    link_sessions: list[LinkSession] = []


class Exchanged(msgspec.Struct):
    access_token: str
    item_id: str


class Error(msgspec.Struct):
    error_code: str
    error_type: str = ""


class Item(msgspec.Struct):
    item_id: str
    institution_id: str | None = None
    error: Error | None = None
    consent_expiration_time: datetime | None = None


class ItemAnswer(msgspec.Struct):
    item: Item


class Balances(msgspec.Struct):
    available: Decimal | None = None
    current: Decimal | None = None
    iso_currency_code: str | None = None


class Account(msgspec.Struct):
    account_id: str
    balances: Balances
    name: str
    mask: str | None = None
    subtype: str | None = None
    persistent_account_id: str | None = None


class Accounts(msgspec.Struct):
    accounts: list[Account]
    item: Item | None = None


class Removed(msgspec.Struct):
    transaction_id: str
    account_id: str


class Sync(msgspec.Struct):
    accounts: list[Account]
    added: list[msgspec.Raw]
    modified: list[msgspec.Raw]
    removed: list[Removed]
    next_cursor: str
    has_more: bool


class KeyAnswer(msgspec.Struct):
    key: dict[str, Any]


class Institution(msgspec.Struct):
    institution_id: str
    name: str
    country_codes: list[str]
    products: list[str] = []


class Institutions(msgspec.Struct):
    institutions: list[Institution]
    total: int
