"""Somebody else, what she has, the ids that an attacker may try for it, and a look at whether anything changed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from isthmus.graphql.ids import Kind, decode, encode
from tests.api import banking
from tests.api.conftest import CONTRACT, Person, Served, deposit
from tests.api.test_authorisation import unreachable
from tests.attacks.operations import CALLS

#: What a refusal may not touch. The answer under its key may be kept: it is the attacker's own.
_KEPT = (
    "log_head",
    "event_store",
    "accounts",
    "account_balances",
    "journal_entries",
    "entries",
    "pending_entries",
    "outbox",
    "consents",
    "bank_accounts",
    "bank_transaction_tags",
    "payments",
    "sca_challenges",
    "sca_guards",
    "sca_devices",
    "payees",
    "payee_checks",
    "reconciliation_cases",
)


async def _state(url: str) -> str:
    connection = await asyncpg.connect(url)
    parts = [f"(select coalesce(md5(string_agg(t::text, '|' order by t::text)), '') from {table} t)" for table in _KEPT]
    found = await connection.fetchval(f"select concat_ws(' ', {', '.join(parts)})")
    await connection.close()
    return str(found)


@contextmanager
def nothing_changes(served: Served) -> Iterator[None]:
    before = asyncio.run(_state(served.database_url))
    yield
    assert asyncio.run(_state(served.database_url)) == before


@dataclass(frozen=True)
class Things:
    """What somebody has, by kind, and the request that made some of it."""

    account: str
    journal: str
    transaction: str
    viewer: str
    api_key: str
    correlation: str
    consent: str
    bank_account: str
    bank_transaction: str
    payment: str
    challenge: str
    device: str
    payee: str

    @property
    def nodes(self) -> dict[str, str]:
        return {
            "account": self.account,
            "journal": self.journal,
            "transaction": self.transaction,
            "viewer": self.viewer,
            "api key": self.api_key,
            "consent": self.consent,
            "bank account": self.bank_account,
            "bank transaction": self.bank_transaction,
            "payment": self.payment,
            "challenge": self.challenge,
            "device": self.device,
            "payee": self.payee,
        }


@pytest.fixture
def hers(served: Served, grace: Person, olga: Person) -> Things:
    """Grace's: an account with money that moved between two accounts of her own, and a bank that she linked."""
    account, other = grace.open(name="Grace's"), grace.open(name="Grace's other")
    deposit(olga, account, "50.00")
    correlation = f"graces-{uuid4()}"
    wish = {
        "fromAccountId": account,
        "toAccountId": other,
        "amount": {"amount": "5.00", "asset": "EUR"},
        "idempotencyKey": uuid4().hex,
    }
    paid = grace.ask(
        CONTRACT, {"input": wish | {"reference": "between us"}}, "TransferInternally", x_correlation_id=correlation
    )
    seen = grace.account(account, "transactions(first: 1) { edges { node { id } } }")
    viewer = grace.ask("{ viewer { id } }")["viewer"]["id"]
    key = CALLS["Mutation.createApiKey"]
    made = grace.ask(key.document, key.filled(None, None, account))
    return Things(
        account,
        paid["transferInternally"]["journal"]["id"],
        seen["transactions"]["edges"][0]["node"]["id"],
        viewer,
        made["createApiKey"]["apiKey"]["id"],
        correlation,
        *_linked(served, grace),
        *_paying(grace, account),
        _enrolling(grace),
        _saving(grace),
    )


def _paying(person: Person, account: str) -> tuple[str, str]:
    call = CALLS["Mutation.initiatePayment"]
    payment = person.ask(call.document, call.filled("input.fromAccountId", account, account))["initiatePayment"][
        "payment"
    ]
    return payment["id"], payment["challenge"]["id"]


def _enrolling(person: Person) -> str:
    call = CALLS["Mutation.beginDeviceEnrolment"]
    device: str = person.ask(call.document, call.filled(None, None, ""))["beginDeviceEnrolment"]["device"]["id"]
    return device


def _saving(person: Person) -> str:
    call = CALLS["Mutation.addPayee"]
    payee: str = person.ask(call.document, call.filled(None, None, ""))["addPayee"]["payee"]["id"]
    return payee


def _linked(served: Served, person: Person) -> tuple[str, str, str]:
    assert served.banks is not None
    banking.know_institutions(served)
    consent = banking.linked(served, served.banks, person)
    account = next(one for one in banking.accounts(person) if one["transactions"]["edges"])
    return consent, account["id"], account["transactions"]["edges"][0]["node"]["id"]


def missing(kind: str, hers: Things) -> str:
    """An id of that kind that nothing has."""
    if kind == "correlation":
        return str(uuid4())
    decoded = decode(hers.nodes.get(kind, hers.account))
    assert decoded is not None
    return encode(decoded[0], *(uuid4() for _ in decoded[1]))


def hostile_ids(hers: Things, kind: str) -> Iterator[tuple[str, Any]]:
    """Hers, those of other types with hers' raw key, what is missing, and what is no id."""
    if kind == "correlation":
        yield "hers", hers.correlation
        yield from (
            (f"odd {text!r}"[:40], text)
            for text in ("x" * 65, "\x00", "' or true --", "%", "_", f"{hers.correlation} ", f"{hers.correlation}'")
        )
    fitting = kind.upper().replace(" ", "_")
    for number, (name, id) in enumerate(hers.nodes.items()):
        yield f"her {name}", id
        if name in (kind, "account"):
            yield from (
                (f"her {name}, {how}", bent)
                for turn, (how, bent) in enumerate(unreachable(id).items())
                if how not in ("foreign", "missing") and (name == kind or turn % 4 == len(kind) % 4)
            )
        decoded = decode(id)
        assert decoded is not None
        for part in decoded[1]:
            for place, other in enumerate(Kind):
                if other.name != fitting and (number + place) % 8:
                    continue  # as what fits in any case, as the others in turn
                as_other = encode(other, part, part) if other is Kind.TRANSACTION else encode(other, part)
                if as_other not in hers.nodes.values():
                    yield f"her {name}'s key as {other.name}", as_other
    yield "a number", 17
    yield "a big number", 2**63
    yield "a random key", encode(Kind.ACCOUNT, uuid4())
    yield "the zero key", encode(Kind.ACCOUNT, UUID(int=0))
