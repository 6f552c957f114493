"""F1 and F26: processes that write, killed and many. What was acknowledged is stored, once; who had no answer gets the one there is."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import uuid4

import asyncpg
import httpx
import pytest

from isthmus.runtime.wiring import WriteSide
from isthmus.settings import Settings
from isthmus.torture.intents import Kind
from tests.conftest import Database
from tests.end_to_end.client import Client
from tests.faults.direct import DirectDoor
from tests.faults.system import System, funded
from tests.faults.wishes import Wishes, wishes
from tests.faults.writer_process import writer_process

PERSON = uuid4()
CLIENTS = 32
BEFORE_COMMIT = (
    "committer.taken",
    "unit.before_lock",
    "unit.after_lock",
    "unit.after_decide",
    "unit.before_flush",
    "commit.before",
)


@pytest.fixture
def clients(tmp_path: Path, side: WriteSide) -> Iterator[Wishes]:
    with wishes(tmp_path, DirectDoor((side.commands,), PERSON)) as made:
        yield made


async def _stored(database: Database, correlation_ids: list[str]) -> int:
    connection = await asyncpg.connect(database.admin_url)
    found: int = await connection.fetchval(
        "select count(*) from event_store where metadata->>'correlation_id' = any($1::text[])", correlation_ids
    )
    await connection.close()
    return found


@pytest.mark.parametrize("point", [*BEFORE_COMMIT, "commit.after"])
async def test_f1_a_writer_killed_around_its_commit_leaves_every_command_done_once_or_not_at_all(
    clients: Wishes, database: Database, settings: Settings, point: str
) -> None:
    """32 clients share the second commit, in the middle of which the process dies. They ask the next one with the same keys."""
    await clients.furnish()
    async with writer_process(database.url, settings, PERSON, f"{point}:2:kill") as writer:
        (first,) = await clients.send(clients.transfers(1), writer)
        assert first.kind is Kind.OK
        at_once = clients.transfers(CLIENTS)
        outcomes = await clients.send(at_once, writer)
        assert await writer.ended() == -signal.SIGKILL
    assert {outcome.kind for outcome in outcomes} == {Kind.UNKNOWN}
    committed = await _stored(database, [intent.sent[0] for intent in at_once])
    assert (committed > 0) == (point == "commit.after"), "where it died is where it was told to"
    await clients.judged(database)
    replayed = sum(intent.definite is not None and intent.definite.replayed for intent in at_once)
    assert replayed >= committed, "what was committed was not done again, but answered"


async def test_f1_serve_killed_before_and_after_a_commit_answers_the_same_keys_after_its_restart(
    system: System, ada: Client, olga: Client
) -> None:
    source, target = await funded(ada, olga, "10.00"), await funded(ada, olga, "1.00")
    points = ("commit.before", "commit.after")
    doomed = [system.another_serve(FAIL=f"{point}:kill") for point in points]
    for point, (process, base) in zip(points, doomed, strict=True):
        client = Client(f"{base}/graphql", ada.token)
        with pytest.raises(httpx.TransportError):
            await client.transfer(source, target, "3.00", key=f"killed at {point}")
        assert await asyncio.to_thread(process.process.wait, 20) == -signal.SIGKILL
        await client.http.aclose()

    serve, base = system.another_serve()
    restarted = Client(f"{base}/graphql", ada.token)
    positions = []
    for point in points:
        answers = [await restarted.transfer(source, target, "3.00", key=f"killed at {point}") for _ in range(2)]
        assert [answer["errors"] for answer in answers] == [[], []]
        assert [answer["replayed"] for answer in answers] == [point == "commit.after", True]
        assert answers[0]["journal"] == answers[1]["journal"]
        positions.append(answers[0]["position"])
    balance = await restarted.balance(source, max(positions, key=int))
    assert balance["posted"]["amount"] == "4.00"
    await restarted.http.aclose()
    assert await asyncio.to_thread(serve.stop) == 0


async def test_f26_one_key_sent_1000_times_at_once_to_three_processes_is_one_journal_and_1000_equal_answers(
    clients: Wishes, database: Database, settings: Settings
) -> None:
    await clients.furnish(accounts=2)
    wish = clients.transfer(*clients.accounts)
    async with AsyncExitStack() as stack:
        starting = [stack.enter_async_context(writer_process(database.url, settings, PERSON)) for _ in range(3)]
        writers = [await one for one in starting]
        outcomes = await clients.send([wish] * 1_000, *writers)
    assert {outcome.kind for outcome in outcomes} == {Kind.OK}
    assert sum(not outcome.replayed for outcome in outcomes) == 1, "one of them did it"
    journals = {str(outcome.answer["journal"]) for outcome in outcomes if outcome.answer}
    positions = {outcome.answer["position"] for outcome in outcomes if outcome.answer}
    assert (len(journals), len(positions)) == (1, 1)
    assert await _stored(database, wish.sent) == 1
    await clients.judged(database)
