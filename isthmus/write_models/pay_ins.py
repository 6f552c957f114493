"""Money that comes to us: a webhook is a reason to look, the bank's statement says what came, and it is booked once.

Of what no webhook tells a sweep finds out a while later.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

import msgspec
import structlog
from prometheus_client import Counter

from isthmus.domain.banking import ProviderFault
from isthmus.domain.clock import Clock
from isthmus.domain.funding import body_in
from isthmus.domain.pay_ins import ReceivePayIn, pay_in_journal_id
from isthmus.domain.personal import PersonalText
from isthmus.domain.reconciliation_cases import ReconciliationCaseOpened
from isthmus.domain.statements import StatementEntry, Statements
from isthmus.domain.webhooks import PayInNews
from isthmus.write_models.bank_mirror import system_envelope
from isthmus.write_models.commands import CommandBus, Done
from isthmus.write_models.connection import Connection, Pool
from isthmus.write_models.timers import enqueue

LOOK_FOR_PAY_IN = "look_for_pay_in"
#: Around when it is said to have come.
_AROUND = timedelta(hours=6)
#: Money that is told of and is not there yet is looked for again after this, so often; from then on it is the sweep's.
_AGAIN, _LOOKS_MAX = timedelta(seconds=15), 20
#: The sweep leaves to webhooks what is younger, and to reconciliation what is older.
_SWEEP_YOUNG, _SWEEP_OLD = timedelta(minutes=10), timedelta(days=3)
_ACCOUNTS = """
select id, owner from accounts
where upper(substr(encode(sha256(uuid_send(id)), 'hex'), 1, 14)) = $1 and owner is not null limit 2"""

_received = Counter(
    "isthmus_pay_ins_total",
    "Money that was sent to us, by what became of it: credited, suspense, known (it was booked before), not_there (yet), refused.",
    ["outcome"],
)
for _outcome in ("credited", "suspense", "known", "not_there", "refused"):
    _received.labels(_outcome)

log = structlog.get_logger(__name__)


class Look(msgspec.Struct, frozen=True):
    """What a webhook said, and how often it was looked for."""

    provider: str
    entry_id: str
    asset: str
    amount: Decimal
    at: datetime
    looks: int = 0


async def look_for(connection: Connection, provider: str, told: PayInNews) -> None:
    """In the caller's transaction."""
    await _ask(connection, Look(provider, told.entry_id, told.asset, told.amount, told.at), None)


async def _ask(connection: Connection, look: Look, after: timedelta | None) -> None:
    await enqueue(connection, LOOK_FOR_PAY_IN, msgspec.json.encode(look), after)


class PayIns:
    def __init__(self, pool: Pool, commands: CommandBus, statements: Mapping[str, Statements], clock: Clock) -> None:
        self._pool = pool
        self._commands = commands
        self._statements = statements
        self._clock = clock

    async def look(self, payload: bytes) -> str:
        """Returns what became of it: credited, suspense, known, not_there, refused. Again and again is safe."""
        look = msgspec.json.decode(payload, type=Look)
        statements = self._statements.get(look.provider)
        entry = None
        if statements is not None and look.asset in statements.assets:
            try:
                told = await statements.entries(look.asset, look.at - _AROUND, look.at + _AROUND)
                entry = next((one for one in told.entries if one.pay_in and one.entry_id == look.entry_id), None)
            except ProviderFault as fault:
                log.warning("what came cannot be looked up", provider=look.provider, why=str(fault))
        if entry is not None:
            return await self._receive(look.provider, entry, look.amount)
        if look.looks < _LOOKS_MAX:
            async with self._pool.acquire() as connection, connection.transaction():
                await _ask(connection, msgspec.structs.replace(look, looks=look.looks + 1), _AGAIN)
        else:
            log.warning("money that was told of is not there", provider=look.provider, entry=look.entry_id)
        return _counted("not_there")

    async def sweep(self) -> int:
        """Books what nobody told of. Returns how many. Raises ProviderFault, once all accounts were looked into: what one bank does not
        tell holds up nobody's money at another."""
        found, away = 0, list[ProviderFault]()
        for provider, statements in sorted(self._statements.items()):
            for asset in sorted(statements.assets):
                try:
                    found += await self._sweep(provider, statements, asset)
                except ProviderFault as fault:
                    log.warning("what came cannot be looked up", provider=provider, asset=asset, why=str(fault))
                    away.append(fault)
        if away:
            raise away[0]
        return found

    async def _sweep(self, provider: str, statements: Statements, asset: str) -> int:
        now = self._clock.now()
        told = await statements.entries(asset, now - _SWEEP_OLD, now - _SWEEP_YOUNG)
        came = {pay_in_journal_id(provider, one.entry_id): one for one in told.entries if one.pay_in}
        async with self._pool.acquire() as connection:
            rows = await connection.fetch("select id from journal_entries where id = any($1::uuid[])", list(came))
        missing = came.keys() - {UUID(str(row["id"])) for row in rows}
        for journal_id in missing:
            await self._receive(provider, came[journal_id], None)
        return len(missing)

    async def _receive(self, provider: str, entry: StatementEntry, told: Decimal | None) -> str:
        account_id, owner = await self._account_of(entry.reference)
        wish = ReceivePayIn(
            provider,
            entry.asset,
            entry.entry_id,
            entry.amount,
            entry.at,
            account_id,
            owner,
            told,
            PersonalText(entry.reference) if owner is not None else None,
        )
        which = f"pay-in {provider} {entry.entry_id}"
        done = await self._commands.run(wish, system_envelope(wish, which, f"pay-in-{wish.journal_id}"))
        if not isinstance(done, Done):
            # An asset or an amount that is not held here: the statement has it, and reconciliation finds it.
            log.error(
                "money that came cannot be booked", provider=provider, entry=entry.entry_id, code=done.refusal.code
            )
            return _counted("refused")
        if done.replayed or not done.events:
            return _counted("known")
        parked = any(isinstance(one.event, ReconciliationCaseOpened) for one in done.events)
        return _counted("suspense" if parked else "credited")

    async def _account_of(self, reference: str) -> tuple[UUID, UUID] | tuple[None, None]:
        body = body_in(reference)
        if body is None:
            return None, None
        async with self._pool.acquire() as connection:
            rows = await connection.fetch(_ACCOUNTS, body)
        if len(rows) != 1:
            return None, None
        return UUID(str(rows[0]["id"])), UUID(str(rows[0]["owner"]))


def _counted(outcome: str) -> str:
    _received.labels(outcome).inc()
    return outcome
