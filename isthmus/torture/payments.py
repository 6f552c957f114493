"""Four books of payments: the payer's account, what is on its way (clearing), the bank's statement of our account, and the payee's account.

Read with SQL of its own and from the bank. A payment that is executed here is in the bank's book once, with its amount; one that ended
otherwise, or waits, is not; and one that its person authorised did not vanish. Of those that people's own banks make
`linked_payments.py` has the books; what payees received is the sum of both.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from decimal import Decimal
from typing import Protocol
from uuid import UUID

import asyncpg

from isthmus.torture.effects import ClientsBook
from isthmus.torture.linked_payments import OUT, LinkedBooks
from isthmus.torture.linking import LINKING
from isthmus.torture.payers import whose
from isthmus.torture.verdict import Verdict

#: Sending is tried again later and later: after faults of half a minute the next try is up to fifteen seconds away.
SETTLED_WITHIN_S = 90.0
_POLL_S = 0.2

_PAYMENTS = """
select id, source, state, asset, amount, from_account_id, credits_account_id, provider, provider_reference, parked from payments"""
#: Also what its person approved at the bank and is not seen yet, and what is known to have left and is told of until it has arrived.
_ON_THEIR_WAY = """
select count(*) from payments where parked is null and (
    state in ('AUTHORISED', 'SUBMITTED') or (state = 'AWAITING_SCA' and id = any($1))
    or (state = 'EXECUTED' and (credits_account_id is not null or provider = 'yapily')))"""
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

    async def received(self) -> Mapping[str, Decimal]: ...


class PaymentBooks:
    """One for a run: what was entered in the clients' book is entered once. `received`: by the payees before it, by asset. `linked`: None
    where nobody pays from a bank."""

    def __init__(
        self,
        bank: TheirBook,
        received: Mapping[str, Decimal],
        linked: LinkedBooks | None = None,
        clearing: str = "clearing:truelayer:EUR",
    ) -> None:
        self._bank = bank
        self._clearing = clearing
        self._received = received
        self._linked = linked
        self._entered: set[UUID] = set()
        #: Every payment and every consent there is, so that what happens to one in the log is somebody's.
        self._known: AbstractSet[UUID] = frozenset()

    def knows(self, correlation_id: str) -> bool:
        """Whether it is by the course of one of them that something was recorded."""
        return correlation_id == LINKING or whose(correlation_id) in self._known

    async def settled(self, connection: asyncpg.Connection, verdict: Verdict) -> None:
        """O10: what was authorised is carried on until the bank has said what became of it."""
        began = time.monotonic()
        until = began + SETTLED_WITHIN_S
        approved = self._linked.at_bank.approved if self._linked is not None else set()
        while left := await connection.fetchval(_ON_THEIR_WAY, list(approved)):
            if time.monotonic() > until:
                verdict.violated("O10", f"{left} payments are on their way {SETTLED_WITHIN_S:.0f} s after healing")
                break
            await asyncio.sleep(_POLL_S)
        verdict.checked["milliseconds until payments were over"] = round(1_000 * (time.monotonic() - began))
        known = "select id from payments union all select id from consents"
        self._known = {row["id"] for row in await connection.fetch(known)}

    async def judge(
        self, connection: asyncpg.Connection, book: ClientsBook, answered: AbstractSet[UUID], verdict: Verdict
    ) -> None:
        """`answered`: payments whose person was told that the answer was accepted. Enters in `book` what left meanwhile."""
        everything = await connection.fetch(_PAYMENTS)
        rows = [row for row in everything if row["source"] == "OWN"]
        statement = await self._bank.statement()
        there, amounts = Counter(name for name, _ in statement), dict(statement)
        out = {row["provider_reference"]: row for row in rows if row["state"] in OUT}
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
        if self._linked is not None:
            from_banks = [row for row in everything if row["source"] == "BANK"]
            await self._linked.judge(connection, from_banks, book, verdict)
        await self._payees(everything, verdict)

    def _payment(
        self, row: asyncpg.Record, there: dict[str, Decimal], answered: AbstractSet[UUID], verdict: Verdict
    ) -> None:
        told = f"payment {row['id']} ({row['state']}, {row['amount']})"
        if row["state"] in OUT and there.get(row["provider_reference"]) != row["amount"]:
            verdict.lost += 1
            verdict.violated("O6", f"{told} is at the bank as {there.get(row['provider_reference'])}")
        if row["parked"] is not None:
            verdict.violated("O6", f"{told} is parked: {row['parked']}")
        if row["id"] in answered and row["state"] in ("AWAITING_SCA", "EXPIRED"):
            verdict.lost += 1
            verdict.violated("O4", f"{told}: its answer was accepted, and is forgotten")

    async def _sums(self, connection: asyncpg.Connection, ours: Decimal, banks: Decimal, verdict: Verdict) -> None:
        clearing = await connection.fetchval(_CLEARING, self._clearing)
        if not ours == banks == -clearing:
            verdict.violated("O6", f"paid out here {ours}, by clearing {-clearing}, by the bank {banks}")
        for row in await connection.fetch(_HELD):
            verdict.violated(
                "O6", f"account {row['account_id']} reserves {row['pending_out']}, its payments want {row['waits']}"
            )

    async def _payees(self, rows: Sequence[asyncpg.Record], verdict: Verdict) -> None:
        """What came into their accounts is all that left for them, by whichever way."""
        for asset, holds in (await self._bank.received()).items():
            out = [
                row for row in rows if row["asset"] == asset and row["state"] in OUT and not row["credits_account_id"]
            ]
            paid, came = sum((row["amount"] for row in out), Decimal(0)), holds - self._received.get(asset, Decimal(0))
            if paid != came:
                verdict.violated("O6", f"paid out by all ways here {paid} {asset}, received by the payee {came}")
