"""Books of payments from people's own banks: ours, where they are noted or credited, and those of the banks, by who speaks for each.

What is executed here has left its payer's account at the bank once, with its amount, and nothing else has. It is noted in the memo
accounts, in number and in sum; what was brought here is in our account at the provider once it has settled, and credited.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Protocol
from uuid import UUID

import asyncpg

from isthmus.torture.bank_payers import AtBank
from isthmus.torture.effects import ClientsBook
from isthmus.torture.rails import COLLECTING
from isthmus.torture.verdict import Verdict

OUT = frozenset({"EXECUTED", "SETTLED"})
#: What is ours by how much and how often: the house's accounts that such payments are booked in.
_BOOKED = """
select a.code, count(n.*) as times, coalesce(sum(n.amount), 0) as amount from accounts a
left join (entries n join journal_entries j on j.id = n.journal_id and j.phase = 'POSTED') on n.account_id = a.id
where a.code = any($1) group by a.code"""
_ASKED_AGAIN = "select count(*) from event_store where type = 'PaymentAskStarted' and (data->>'attempt')::int > 1"
#: Whoever approved it may wonder; by whom it was taken back they know.
_FORGOTTEN = frozenset({"AWAITING_SCA", "EXPIRED"})


class TheirBooks(Protocol):
    """What the banks say, whatever we think."""

    async def left(self, account: str) -> list[tuple[str, Decimal]]: ...

    async def brought(self, asset: str) -> list[tuple[str, Decimal]]: ...


class LinkedBooks:
    """One for a run. `payers`: the accounts that are paid from, each with who speaks for it and the bank's own name for it. `collects`: in
    which assets money can be brought here."""

    def __init__(
        self,
        bank: TheirBooks,
        payers: Mapping[UUID, tuple[str, str]],
        at_bank: AtBank,
        collects: Sequence[str] = tuple(COLLECTING),
    ) -> None:
        self._bank = bank
        self._collects = collects
        self._payers = payers
        self.at_bank = at_bank
        self._entered: set[UUID] = set()

    async def judge(
        self, connection: asyncpg.Connection, rows: Sequence[asyncpg.Record], book: ClientsBook, verdict: Verdict
    ) -> None:
        """`rows`: of payments from banks. Enters in `book` what they make in ours."""
        for row in rows:
            self._payment(row, verdict)
        for account, (rail, name) in self._payers.items():
            out = [row for row in rows if row["from_account_id"] == account and row["state"] in OUT]
            _same(f"at the bank of {rail}", _named(out), await self._bank.left(name), verdict)
        topped_up = [row for row in rows if row["credits_account_id"] is not None and row["state"] == "SETTLED"]
        for asset in self._collects:
            arrived = [row for row in topped_up if row["asset"] == asset]
            _same("in our account there", _named(arrived), await self._bank.brought(asset), verdict)
        noted = [row for row in rows if row["credits_account_id"] is None and row["state"] in OUT]
        await self._booked(connection, noted, topped_up, verdict)
        self._enter(noted, topped_up, book)
        self._count(rows, verdict)
        verdict.checked["payments asked for again"] = await connection.fetchval(_ASKED_AGAIN)

    def _payment(self, row: asyncpg.Record, verdict: Verdict) -> None:
        told, key = f"payment {row['id']} ({row['state']}, {row['amount']} by {row['provider']})", row["id"]
        if row["parked"] is not None:
            verdict.violated("O6", f"{told} is parked: {row['parked']}")
        over = _FORGOTTEN if key in self.at_bank.taken_back else _FORGOTTEN | {"CANCELLED"}
        if key in self.at_bank.approved and row["state"] in over:
            verdict.lost += 1
            verdict.violated("O4", f"{told}: its person approved it at the bank, and that is forgotten")
        if key in self.at_bank.left - self.at_bank.approved and row["state"] in OUT:
            verdict.violated("O4", f"{told}: its person never approved it")

    async def _booked(
        self,
        connection: asyncpg.Connection,
        noted: Sequence[asyncpg.Record],
        topped_up: Sequence[asyncpg.Record],
        verdict: Verdict,
    ) -> None:
        """Number and sum, account by account."""
        wanted: Counter[str] = Counter()
        sums: Counter[str] = Counter()
        for row in noted:
            for code in (f"memo:user-bank:{row['asset']}", f"memo:payee:{row['asset']}"):
                wanted[code] += 1
                sums[code] += row["amount"]
        for row in topped_up:
            code = f"bank:{row['provider']}:{row['asset']}"
            wanted[code] += 1
            sums[code] += row["amount"]
        assets = {row["asset"] for row in (*noted, *topped_up)} | set(self._collects)
        codes = wanted.keys() | {f"memo:{whose}:{asset}" for whose in ("user-bank", "payee") for asset in assets}
        found = {row["code"]: (row["times"], row["amount"]) for row in await connection.fetch(_BOOKED, sorted(codes))}
        for code in sorted(codes):
            ours = found.get(code, (0, 0))
            if ours != (wanted[code], sums[code]):
                verdict.violated(
                    "O6", f"{code} has {ours[0]} entries of {ours[1]}, its payments are {wanted[code]} of {sums[code]}"
                )

    def _enter(self, noted: Iterable[asyncpg.Record], topped_up: Iterable[asyncpg.Record], book: ClientsBook) -> None:
        for row in noted:
            if row["id"] not in self._entered:
                book.note()
        for row in topped_up:
            if row["id"] not in self._entered:
                book.bring(row["credits_account_id"], row["amount"])
        self._entered.update(row["id"] for row in (*noted, *topped_up))

    def _count(self, rows: Iterable[asyncpg.Record], verdict: Verdict) -> None:
        for row in rows:
            kind = "top-ups" if row["credits_account_id"] is not None else "payments from banks"
            verdict.checked[f"{kind} by {row['provider']} {row['state']}"] += 1
            if row["state"] in OUT:
                verdict.checked[f"{kind} by {row['provider']} executed"] += 1


def _named(rows: Iterable[asyncpg.Record]) -> dict[str, asyncpg.Record]:
    """By what the bank's own book calls them: the provider's name without who it is by, and without its dashes."""
    return {_bare(str(row["provider_reference"])): row for row in rows}


def _bare(reference: str) -> str:
    return reference.rpartition(":")[2].removeprefix("payment-id-sandbox-").replace("-", "")


def _same(
    where: str, ours: Mapping[str, asyncpg.Record], theirs: Sequence[tuple[str, Decimal]], verdict: Verdict
) -> None:
    """Each is there once, with its amount, and nothing else is."""
    times, amounts = Counter(_bare(name) for name, _ in theirs), {_bare(name): amount for name, amount in theirs}
    for name, n in times.items():
        if n > 1 or name not in ours:
            verdict.doubled += 1
            verdict.violated(
                "O6", f"payment {name} of {amounts[name]} is {where} {n} times, and here {int(name in ours)}"
            )
    for name, row in ours.items():
        if amounts.get(name) != row["amount"]:
            verdict.lost += 1
            told = f"payment {row['id']} ({row['state']}, {row['amount']} by {row['provider']})"
            verdict.violated("O6", f"{told} is {where} as {amounts.get(name)}")
