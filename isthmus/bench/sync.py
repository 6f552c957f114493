"""`bench sync`: the first reading of a bank with 20,000 transactions, and one that finds 100 more, through the processes of `isthmus up`.

A person links the sandbox's banks over HTTP, one at each provider; from the credential that they bring until the API says that all is
read. The API is asked ten times a second how far it is: what it says is the progress that an app would show. In the end the mirror must
be the sandbox's own book. Beside it: the provider's pages fetched and thrown away, and a naive reader, a transaction a row.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from isthmus.auth.provider.users import DEMO_PASSWORD, DEMO_USERS
from isthmus.auth.sign_in import sign_in
from isthmus.bench import sync_baseline
from isthmus.bench.api import up
from isthmus.bench.place import violations
from isthmus.bench.report import Options, Report, table
from isthmus.bench.sync_person import Bank, Linked, Person, Seen
from isthmus.runtime.endpoints import Endpoints, resolve
from isthmus.settings import load_settings

BANKS = (
    Bank("plaid", "harbour", "harbour-bank-gb"),
    Bank("truelayer", "nordlicht", "nordlicht-bank-de"),
    Bank("yapily", "prairie", "first-prairie-us"),
)
_ROUTES = json.dumps([f"{bank.institution}={bank.provider}" for bank in BANKS])
#: 29 movements a day in the middle, for almost as long as a first reading reaches back.
_BUSY, _DAYS = 58, 720
_FURTHER = 100
#: Kinds of progress that a first reading must show.
_RISING_MIN = 3
_CATALOGUE_S = 60.0


@dataclass(frozen=True)
class _Measured:
    transactions: int
    first: Seen
    further: Seen


def run(options: Options, data_dir: Path) -> Report:
    report = Report("sync")
    options.say("starting the product …")
    with up(data_dir, {"ISTHMUS_BANKING__ROUTES": _ROUTES}) as base:
        settings = load_settings(data_dir=data_dir / "data")
        endpoints = resolve(settings)
        measured = asyncio.run(_measure(options, report, endpoints, base))
        options.say("verifying …")
        report.violations += asyncio.run(violations(endpoints.admin_url, "product"))
    for name, one in measured.items():
        report.add(f"{name}_transactions", one.transactions, "transactions")
        report.add(f"{name}_first", one.first.seconds, "s")
        report.add(f"{name}_first_rate", one.transactions / one.first.seconds, "transactions/s")
        report.add(f"{name}_progress", len(one.first.rising), "values")
        report.add(f"{name}_further_{_FURTHER}", one.further.seconds, "s")
    report.ratio("first_vs_naive", "plaid_first_rate", "naive_rate")
    report.ratio("first_vs_serving", "plaid_first", "plaid_serving")
    report.tables.append(_table(report))
    return report


async def _measure(options: Options, report: Report, endpoints: Endpoints, base: str) -> dict[str, _Measured]:
    found: dict[str, _Measured] = {}
    token = (await sign_in(base, DEMO_USERS[0].email, DEMO_PASSWORD)).access_token
    async with (
        httpx.AsyncClient(timeout=120, trust_env=False) as http,
        asyncpg.create_pool(endpoints.admin_url, min_size=1, max_size=2) as pool,
    ):
        person = Person(http, base, endpoints.sandbox_url, token)
        await _until_known(person)
        for bank in BANKS:
            account = await person.begin_at(bank, busy=_BUSY, days=_DAYS)
            options.say(f"{bank.provider}: {len(await person.book(account)):,} transactions at the bank …")
            linked, first = await person.link(bank)
            options.say(
                f"{bank.provider}: read after {first.seconds:.1f} s; it showed {len(first.rising)} kinds of progress"
            )
            further = await person.more(linked, account, _FURTHER)
            options.say(f"{bank.provider}: {_FURTHER} more after {further.seconds:.2f} s")
            book = await person.book(account)
            found[bank.provider] = _Measured(len(book) - _FURTHER, first, further)
            report.violations += await _differences(pool, bank, linked, book)
            if bank.provider == "plaid" and len(first.rising) < _RISING_MIN:
                report.violations.append(f"plaid: a first reading showed no progress: {first.rising}")
        options.say("the baselines …")
        access = await sync_baseline.access_token(http, endpoints.sandbox_url, person.username)
        report.add("plaid_serving", await sync_baseline.serving_s(http, endpoints.sandbox_url, access), "s")
        naive = await sync_baseline.naive_rate(http, endpoints.sandbox_url, access, pool, options.seconds)
        report.add("naive_rate", naive, "transactions/s")
    return found


async def _until_known(person: Person) -> None:
    """`work` makes the catalogue of institutions when it starts."""
    async with asyncio.timeout(_CATALOGUE_S):
        for bank in BANKS:
            while not await person.knows(bank):  # noqa: ASYNC110 - in another process
                await asyncio.sleep(0.2)


async def _differences(
    pool: asyncpg.Pool[asyncpg.Record], bank: Bank, linked: Linked, book: list[dict[str, Any]]
) -> list[str]:
    """What the mirror says of the link's transactions and the bank's book does not, or the other way round."""
    rows = await pool.fetch(
        "select t.reference, t.amount, t.status from bank_transactions t join bank_account_mirrors m on m.account_id = t.account_id "
        "where m.link_id = $1 and t.status <> 'VOIDED'",
        linked.consent_key,
    )
    ours = Counter((row["reference"], round(row["amount"] * 100), row["status"]) for row in rows)
    theirs = Counter(map(_NAMED[bank.provider], book))
    wrong = sum(((ours - theirs) + (theirs - ours)).values())
    return [f"{bank.provider}: {wrong} transactions differ between the mirror and the bank's book"] if wrong else []


def _state(one: Mapping[str, Any]) -> str:
    return "PENDING" if one["state"] == "PENDING" else "POSTED"


_NAMED = {
    "plaid": lambda one: (f"{'p' if one['state'] == 'PENDING' else ''}{one['id']}", one["amount"], _state(one)),
    "truelayer": lambda one: (f"txn-{one['id']}", one["amount"], _state(one)),
    "yapily": lambda one: (one["id"], one["amount"], _state(one)),
}


def _table(report: Report) -> str:
    rows = [
        (
            bank.provider,
            f"{report.value(f'{bank.provider}_transactions'):,.0f}",
            f"{report.value(f'{bank.provider}_first'):.2f}",
            f"{report.value(f'{bank.provider}_first_rate'):,.0f}",
            f"{report.value(f'{bank.provider}_progress'):.0f}",
            f"{report.value(f'{bank.provider}_further_{_FURTHER}'):.2f}",
        )
        for bank in BANKS
    ]
    rows.append(("naive", "", "", f"{report.value('naive_rate'):,.0f}", "", ""))
    rows.append(("plaid's pages alone", "", f"{report.value('plaid_serving'):.2f}", "", "", ""))
    return table(("", "transactions", "first s", "a second", "progress", f"{_FURTHER} more s"), rows)
