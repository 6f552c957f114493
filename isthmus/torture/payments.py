"""Four books of payments: the payer's account, what is on its way (clearing), the bank's statement of our account, and the payee's account.

Read with SQL of its own and from the bank. A payment that is executed here is in the bank's book once, with its amount; one that ended
otherwise, or waits, is not; and one that its person authorised did not vanish.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Set as AbstractSet
from decimal import Decimal
from typing import Protocol
from uuid import UUID

import asyncpg

from isthmus.torture.effects import ClientsBook
from isthmus.torture.verdict import Verdict

#: Sending is tried again later and later: after faults of half a minute the next try is up to fifteen seconds away.
SETTLED_WITHIN_S = 90.0
_POLL_S = 0.2

_PAYMENTS = "select id, state, amount, from_account_id, provider_reference, parked from payments"
_ON_THEIR_WAY = "select count(*) from payments where state in ('AUTHORISED', 'SUBMITTED') and parked is null"
_OUT = frozenset({"EXECUTED", "SETTLED"})
_HELD = """
select b.account_id, b.pending_out, coalesce(p.waits, 0) as waits from account_balances b join accounts a on a.id = b.account_id
left join (
    select from_account_id, sum(amount) as waits from payments
    where state in ('AWAITING_SCA', 'AUTHORISED', 'SUBMITTED') group by 1
) p on p.from_account_id = b.account_id
where a.owner is not null and b.pending_out <> coalesce(p.waits, 0)"""
_CLEARING = """
select coalesce(sum(b.posted), 0) from account_balances b join accounts a on a.id = b.account_id where a.code = $1"""
_SENT_AGAIN = "select count(*) from event_store where type = 'PaymentSubmissionStarted' and (data->>'attempt')::int > 1"


class TheirBook(Protocol):
    """What the bank says, whatever we think."""

    async def statement(self) -> list[tuple[str, Decimal]]: ...

    async def payee_holds(self) -> Decimal: ...


class PaymentBooks:
    """One for a run: what was entered in the clients' book is entered once."""

    def __init__(self, bank: TheirBook, payee_held: Decimal, clearing: str = "clearing:truelayer:EUR") -> None:
        self._bank = bank
        self._clearing = clearing
        self._payee_held = payee_held
        self._entered: set[UUID] = set()
        #: Every payment there is, so that what happens to one in the log is somebody's.
        self.known: AbstractSet[UUID] = frozenset()

    async def settled(self, connection: asyncpg.Connection, verdict: Verdict) -> None:
        """O10: what was authorised is carried on until the bank has said what became of it."""
        until = time.monotonic() + SETTLED_WITHIN_S
        while left := await connection.fetchval(_ON_THEIR_WAY):
            if time.monotonic() > until:
                verdict.violated("O10", f"{left} payments are on their way {SETTLED_WITHIN_S:.0f} s after healing")
                break
            await asyncio.sleep(_POLL_S)
        self.known = {row["id"] for row in await connection.fetch("select id from payments")}

    async def judge(
        self, connection: asyncpg.Connection, book: ClientsBook, answered: AbstractSet[UUID], verdict: Verdict
    ) -> None:
        """`answered`: payments whose person was told that the answer was accepted. Enters in `book` what left meanwhile."""
        rows = await connection.fetch(_PAYMENTS)
        statement = await self._bank.statement()
        there, amounts = Counter(name for name, _ in statement), dict(statement)
        out = {row["provider_reference"]: row for row in rows if row["state"] in _OUT}
        for name, times in there.items():
            if times > 1 or name not in out:
                verdict.doubled += 1
                verdict.violated("O6", f"payout {name} of {amounts[name]} is at the bank {times} times, and not here")
        for row in rows:
            self._payment(row, amounts, answered, verdict)
        for row in out.values():
            if row["id"] not in self._entered:
                self._entered.add(row["id"])
                book.pay_out(row["from_account_id"], row["amount"])
        total = sum((row["amount"] for row in out.values()), Decimal(0))
        await self._sums(connection, total, sum(amounts.values(), Decimal(0)), verdict)
        verdict.checked["payments"] = len(rows)
        for state, n in Counter(row["state"] for row in rows).items():
            verdict.checked[f"payments {state}"] = n
        verdict.checked["payments sent again"] = await connection.fetchval(_SENT_AGAIN)

    def _payment(
        self, row: asyncpg.Record, there: dict[str, Decimal], answered: AbstractSet[UUID], verdict: Verdict
    ) -> None:
        told = f"payment {row['id']} ({row['state']}, {row['amount']})"
        if row["state"] in _OUT and there.get(row["provider_reference"]) != row["amount"]:
            verdict.lost += 1
            verdict.violated("O6", f"{told} is at the bank as {there.get(row['provider_reference'])}")
        if row["parked"] is not None:
            verdict.violated("O6", f"{told} is parked: {row['parked']}")
        if row["id"] in answered and row["state"] in ("AWAITING_SCA", "EXPIRED"):
            verdict.lost += 1
            verdict.violated("O4", f"{told}: its answer was accepted, and is forgotten")

    async def _sums(self, connection: asyncpg.Connection, ours: Decimal, banks: Decimal, verdict: Verdict) -> None:
        clearing = await connection.fetchval(_CLEARING, self._clearing)
        payee = await self._bank.payee_holds() - self._payee_held
        if not ours == banks == -clearing == payee:
            verdict.violated(
                "O6",
                f"paid out here {ours}, by clearing {-clearing}, by the bank {banks}, received by the payee {payee}",
            )
        for row in await connection.fetch(_HELD):
            verdict.violated(
                "O6", f"account {row['account_id']} reserves {row['pending_out']}, its payments want {row['waits']}"
            )
