"""Two nodes whose clocks are apart have one answer to whether something is over: the database's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import count
from pathlib import Path
from unittest.mock import Mock
from uuid import UUID, uuid4

from isthmus.auth.api_keys import ApiKeys, digest_of, new_key
from isthmus.auth.claims import TokenRefused
from isthmus.domain.accounts import Direction
from isthmus.domain.api_keys import LIVE_MAX, KeyScope, MakeApiKey
from isthmus.domain.clock import SystemClock
from isthmus.domain.holds import PostHold, ReserveFunds
from isthmus.domain.internal_transfers import NOBODY_IS_ASKED, TransferInternally
from isthmus.domain.ledger import JournalDraft, JournalKind, Leg
from isthmus.domain.personal import PersonalText
from isthmus.domain.sca import CodeProof, Method
from isthmus.domain.sca_answers import AnswerScaChallenge
from isthmus.domain.step_up import Asked
from isthmus.read_models.api_keys import ApiKeyTable
from isthmus.read_models.balances import Balance, BalanceReader
from isthmus.read_models.database import Sight, read_pool
from isthmus.read_models.health import log_health
from isthmus.runtime.moved_clock import MovedClock, clock_file, write_ahead
from isthmus.runtime.wiring import WriteSide, write_side
from isthmus.settings import Settings, load_settings
from isthmus.write_models.asks import Ask
from isthmus.write_models.commands import Done, Envelope, Refused
from isthmus.write_models.connection import Pool
from isthmus.write_models.holds import expire_due_holds, expire_hold
from isthmus.write_models.idempotency import request_hash_of, scope_of
from isthmus.write_models.unit_of_work import UnitOfWork
from tests.conftest import Database
from tests.write_models.driver import Driver, assert_sound

ADA, GRACE = uuid4(), uuid4()


class _Apart(SystemClock):
    """A node's clock that is wrong by so much."""

    def __init__(self, by: timedelta) -> None:
        self._by = by

    def now(self) -> datetime:
        return super().now() + self._by


class _Node:
    """One of two processes on one database. Its answers about what ends at `end`, each with what the database's clock showed before
    and after it was asked."""

    def __init__(self, side: WriteSide, reading: Pool, end: datetime) -> None:
        self.side, self.end = side, end
        self.ledger = Driver(side.commands)
        self.keys = ApiKeys(ApiKeyTable(reading), side.clock)
        self.wrong: list[str] = []
        self.said: set[tuple[str, bool]] = set()

    async def asked(self, what: str, is_over: Callable[[], Awaitable[bool]]) -> None:
        before = await self.side.pool.fetchval("select clock_timestamp()")
        over = await is_over()
        after = await self.side.pool.fetchval("select clock_timestamp()")
        self.said.add((what, over))
        if (over and after < self.end) or (not over and before >= self.end):
            self.wrong.append(f"{what}: over is {over} between {before} and {after}, the end is {self.end}")

    async def posts(self, hold: UUID) -> bool:
        return isinstance(await self.ledger.run(PostHold(hold, uuid4())), Refused)

    async def expires(self, hold: UUID) -> bool:
        return await expire_hold(self.side.commands, hold)

    async def sweeps(self) -> bool:
        """Of the holds that nothing else resolves, one a time."""
        return await expire_due_holds(self.side.pool, self.side.commands, self.side.clock, limit=1) > 0

    async def refuses(self, key: str) -> bool:
        try:
            await self.keys.verify(key)
        except TokenRefused:
            return True
        return False

    async def may_make_another_key(self) -> bool:
        """There is room for one only where those that end are over."""
        made = await self.ledger.run(_a_key(uuid4(), self.end + timedelta(days=1))[0])
        return isinstance(made, Done)


def _a_key(key_id: UUID, expires_at: datetime) -> tuple[MakeApiKey, str]:
    key, name = new_key(key_id), PersonalText("program")
    asked = Asked(uuid4(), Method.ONE_TIME_CODE, expires_at)
    return MakeApiKey(key_id, ADA, name, (KeyScope.READ,), digest_of(key).hex(), expires_at, asked), key


def _one_euro(source: UUID, target: UUID) -> JournalDraft:
    legs = (Leg(source, Direction.DEBIT, Decimal(1), "EUR"), Leg(target, Direction.CREDIT, Decimal(1), "EUR"))
    return JournalDraft(uuid4(), JournalKind.RESERVATION, legs)


async def test_f24_two_nodes_30_s_apart_agree_at_every_instant_whether_something_is_over(
    side: WriteSide, settings: Settings, database: Database
) -> None:
    """Each node is asked on and on, across the end, about holds and API keys that end at one instant."""
    async with (
        write_side(settings, database.url, _Apart(timedelta(seconds=-15))) as behind,
        write_side(settings, database.url, _Apart(timedelta(seconds=15))) as ahead,
        await read_pool(database.url, size=1, statement_timeout_ms=5_000, lock_timeout_ms=5_000) as reading,
    ):
        # Reads the database's clock: nodes that do not know what time it is cannot say when "in three seconds" is.
        end = await behind.pool.fetchval("select clock_timestamp() + interval '3 seconds'")
        nodes = [_Node(behind, reading, end), _Node(ahead, reading, end)]
        ledger = nodes[0].ledger
        source, target = await ledger.funded(ADA, "1000"), await ledger.open(GRACE)
        made = [_a_key(uuid4(), end) for _ in range(LIVE_MAX)]
        await asyncio.gather(*(ledger.done(wish) for wish, _ in made))
        digests = await behind.pool.fetch("select id, subject_id, digest from sca_challenges where owner = $1", ADA)
        for row in digests:
            # Answered for, so that they work.
            await ledger.done(AnswerScaChallenge(row["id"], row["subject_id"], ADA, row["digest"], CodeProof(True)))

        async def hold() -> UUID:
            draft = _one_euro(source, target)
            await ledger.done(ReserveFunds(draft, expires_at=end))
            return draft.journal_id

        for _ in range(2):
            await hold()  # one for each node's sweep
        async with asyncio.timeout(30):
            over = False
            while not over:
                over = await side.pool.fetchval("select clock_timestamp() >= $1", end)
                for node in nodes:
                    await node.asked("sweeping", node.sweeps)
                    await node.asked("posting", partial(node.posts, await hold()))
                    await node.asked("expiring", partial(node.expires, await hold()))
                    await node.asked("signing in", partial(node.refuses, made[0][1]))
                    await node.asked("counting keys", node.may_make_another_key)
    for node in nodes:
        assert node.wrong == []
        questions = {what for what, _ in node.said}
        assert node.said == {(what, over) for what in questions for over in (False, True)}, "before and after the end"
    await assert_sound(side.pool)


async def test_f24_a_clock_that_is_moved_ahead_moves_what_ends_and_every_stamp_and_nothing_goes_back(
    tmp_path: Path, database: Database
) -> None:
    """One node's is, while another lives by the real one, as every node does for the instant that it has not looked."""
    moved = MovedClock(clock_file(tmp_path), monotonic=count(step=1).__next__)
    async with (
        write_side(load_settings(data_dir=tmp_path), database.url, moved) as ahead,
        write_side(load_settings(data_dir=tmp_path), database.url, SystemClock()) as real,
        await read_pool(database.url, size=1, statement_timeout_ms=5_000, lock_timeout_ms=5_000) as reading,
    ):
        ledger, others = Driver(ahead.commands), Driver(real.commands)
        source, target = await ledger.funded(ADA, "10"), await others.open(GRACE)
        end = await reading.fetchval("select clock_timestamp() + interval '5 minutes'")
        await ledger.done(ReserveFunds(_one_euro(source, target), expires_at=end))
        assert await expire_due_holds(ahead.pool, ahead.commands, moved) == 0

        write_ahead(clock_file(tmp_path), timedelta(minutes=6))
        assert await expire_due_holds(ahead.pool, ahead.commands, moved) == 1
        await others.open(GRACE)
        await ledger.open(GRACE)

        stamps = [row["committed_at"] for row in await reading.fetch("select * from event_store order by position")]
        assert stamps == sorted(set(stamps)), "they rise with the positions, whoever wrote"
        assert stamps[0] < end < stamps[-1]
        balances = BalanceReader(reading, Mock(), Mock(), moved.stamp)
        (now,) = await balances.load_many_at(Sight(ADA, False), [(source, moved.now())])
        assert isinstance(now, Balance), "what is now there is not to come"
        assert (now.posted, now.pending_out) == (10, 0)
        late = moved.now() + timedelta(minutes=1)
        assert (await log_health(reading, late)).bus.seconds > 60, "nothing was published"
        await assert_sound(ahead.pool)


async def test_f24_what_ends_nowhere_is_decided_without_asking_for_the_time(
    settings: Settings, database: Database
) -> None:
    """The database's time costs a round trip, which the common command does not pay."""
    async with write_side(settings, database.url) as real, real.pool.acquire() as connection:
        ledger = Driver(real.commands)
        source, target = await ledger.funded(ADA, "10"), await ledger.open(GRACE)
        asked: list[str] = []
        draft = _one_euro(source, target)
        transfer = TransferInternally(
            uuid4(), ADA, source, target, Decimal(1), "EUR", PersonalText("rent"), NOBODY_IS_ASKED
        )
        end = datetime.now(UTC) + timedelta(days=1)
        for command, questions in (
            (transfer, 0),
            (ReserveFunds(draft, end), 1),
            (PostHold(draft.journal_id, uuid4()), 1),
        ):
            asked.clear()
            envelope = Envelope("test", ADA, type(command).__name__, str(uuid4()), {}, "test")
            ask = Ask(command, envelope, scope_of(envelope), request_hash_of(envelope, b"secret"))
            with connection.query_logger(lambda query: asked.append(query.query)):
                async with connection.transaction():
                    (outcome,) = await UnitOfWork(connection, real.clock, uuid4, real.commands.assets, real.texts).run(
                        [ask]
                    )
            assert isinstance(outcome, Done)
            assert asked.count("select clock_timestamp()") == questions, type(command).__name__
