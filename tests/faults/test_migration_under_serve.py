"""F46: the next release's migrations run while this one serves: every contract operation goes on being answered, in its shape."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
from alembic import command
from alembic.config import Config

from isthmus.migrations.run import config
from tests.end_to_end.client import Client
from tests.end_to_end.test_contract import OPERATIONS
from tests.faults.system import System, funded
from tests.faults.test_migrations import REVISIONS, _at, _snapshot, interrupted
from tests.faults.traffic import RETRYABLE, Traffic

#: What a release may do: add. Each locks a table that requests use, and makes every statement on it be planned anew.
_WRITE_SIDE = (
    "alter table event_store add column shard smallint not null default 0",
    "alter table accounts add column tier text not null default 'basic'",
    "alter table account_balances add column tier text",
    "alter table journal_entries add column channel text",
    "alter table entries add column memo text",
    "alter table idempotency add column origin text",
    "alter table outbox add column shard smallint",
    "create table next_release (account_id uuid primary key references accounts (id), at timestamptz not null default now())",
    "grant select, insert on next_release to isthmus_app",
)
_READ_SIDE = (
    "alter table read_models.accounts add column tier text not null default 'basic'",
    "alter table read_models.transactions add column channel text",
    "alter table read_models.balance_history add column channel text",
    "alter table read_models.journals add column channel text",
    "alter table read_models.audit_events add column channel text",
    "create index next_release_booked_at on read_models.transactions (booked_at)",
    "alter table api_keys add column label text",
    "alter table trusted_documents add column label text",
)
_UNDONE = (
    "alter event trigger isthmus_refuse_drop disable",
    "drop table if exists next_release",
    "drop index if exists read_models.next_release_booked_at",
    *(
        f"{words[0]} {words[1]} {words[2]} drop column if exists {words[5]}"
        for words in (statement.split() for statement in (*_WRITE_SIDE, *_READ_SIDE))
        if words[0] == "alter"
    ),
    f"update alembic_version set version_num = '{REVISIONS[-1]}'",
    "alter event trigger isthmus_refuse_drop enable always",
)
_REVISION = """
from alembic import op

revision, down_revision = {revision!r}, {before!r}


def upgrade():
    for statement in {statements!r}:
        op.get_bind().exec_driver_sql(statement)
"""
#: After so many statements, four of them not ours: within the first revision, within the second, and there again.
_CUTS = (8, 17, 8)


def next_release(admin_url: str, folder: Path) -> Config:
    before = REVISIONS[-1]
    for revision, statements in (("next_1", _WRITE_SIDE), ("next_2", _READ_SIDE)):
        text = _REVISION.format(revision=revision, before=before, statements=statements)
        (folder / f"{revision}.py").write_text(text)
        before = revision
    ours = config(admin_url, "isthmus_app")
    ours.set_main_option("path_separator", "os")
    ours.set_main_option("version_locations", f"{ours.get_main_option('script_location')}/versions{os.pathsep}{folder}")
    return ours


async def _undo(admin_url: str) -> None:
    """The product reads and writes meanwhile, so that one of the two may be in the other's way."""
    for left in reversed(range(20)):
        connection = await asyncpg.connect(admin_url)
        try:
            async with connection.transaction():
                for statement in _UNDONE:
                    await connection.execute(statement)
            return
        except (asyncpg.DeadlockDetectedError, asyncpg.LockNotAvailableError):
            if not left:
                raise
        finally:
            await connection.close()
        await asyncio.sleep(0.2)


@asynccontextmanager
async def undone(system: System) -> AsyncIterator[None]:
    """Other tests get the system as it was."""
    before = await _snapshot(system.endpoints.admin_url)
    try:
        yield
    finally:
        await _undo(system.endpoints.admin_url)
        assert await _snapshot(system.endpoints.admin_url) == before


def shape_of(value: Any) -> Any:
    """Names, and lists as their longest member's; None where nothing was."""
    if isinstance(value, dict):
        return {name: shape_of(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [merged([shape_of(inner) for inner in value])]
    return None if value is None else type(value).__name__


def merged(shapes: list[Any]) -> Any:
    if not shapes or all(isinstance(shape, str | None) for shape in shapes):
        return next((shape for shape in shapes if shape is not None), None)
    whole = [shape for shape in shapes if shape is not None]
    if isinstance(whole[0], list):
        return [merged([inner for shape in whole for inner in shape])]
    return {name: merged([shape[name] for shape in whole]) for name in whole[0]}


def fits(shape: Any, model: Any) -> bool:
    """The same names and kinds, but for what was null, or a list that was empty, in either."""
    if shape is None or model is None:
        return True
    if isinstance(shape, dict) and isinstance(model, dict):
        return shape.keys() == model.keys() and all(fits(shape[name], model[name]) for name in shape)
    if isinstance(shape, list) and isinstance(model, list):
        return fits(shape[0], model[0])
    return bool(shape == model)


@dataclass
class Caller:
    """Runs every operation of the contract, over and over. `wrong` is what must be empty."""

    client: Client
    source: str
    target: str
    answered: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OPERATIONS, 0))
    retried: list[str] = field(default_factory=list)
    models: dict[str, Any] = field(default_factory=dict)
    wrong: list[object] = field(default_factory=list)
    opened: set[str] = field(default_factory=set)
    moved: set[str] = field(default_factory=set)

    async def round(self) -> None:
        correlation = f"f46-{uuid4()}"
        opened = await self._sent("OpenAccount", {"asset": "EUR", "name": "Next", "idempotencyKey": str(uuid4())})
        self.opened.add(opened["openAccount"]["account"]["id"])
        wish = {
            "fromAccountId": self.source,
            "toAccountId": self.target,
            "amount": {"amount": "0.01", "asset": "EUR"},
            "reference": "next",
            "idempotencyKey": str(uuid4()),
        }
        moved = (await self._sent("TransferInternally", wish, correlation))["transferInternally"]
        self.moved.add(moved["journal"]["id"])
        at = {"x-isthmus-position": moved["position"]}
        trail = (await self._asked("AuditTrail", {"correlationId": correlation, "after": None}, at))["auditTrail"]
        if len(trail["edges"]) != 1:
            self.wrong.append(("a write that its writer does not see", trail))
        history = {"id": self.source, "asOf": moved["journal"]["postedAt"], "after": None}
        await self._asked("AccountHistory", history, at)
        await self._asked("Viewer", {}, at)
        await self._watched()

    async def _sent(self, name: str, wish: dict[str, Any], correlation: str = "f46") -> dict[str, Any]:
        """With the same key until the answer is definite."""
        return await self._asked(name, {"input": wish}, {"x-correlation-id": correlation})

    async def _asked(self, name: str, variables: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
        while True:
            answer = await self.client.ask(OPERATIONS[name], variables, headers=headers, operationName=name)
            errors = answer.body.get("errors") or next(iter(answer.data.values())).get("errors")
            if not errors:
                self._judge(name, answer.data)
                found: dict[str, Any] = answer.data
                return found
            code = errors[0].get("code") or errors[0]["extensions"]["code"]
            if code not in RETRYABLE | {"CONFLICT"}:
                self.wrong.append((name, errors))
                raise AssertionError(self.wrong)
            self.retried.append(code)
            await asyncio.sleep(0.05)

    async def _watched(self) -> None:
        """A subscription that begins now, whatever is going on."""
        while True:
            async with self.client.socket() as socket:
                variables = {"accountIds": [self.source]}
                await socket.subscribe(OPERATIONS["BalanceChanged"], variables, operationName="BalanceChanged")
                message = await socket.receive(30)
            payload = message["payload"]
            errors = payload if isinstance(payload, list) else payload.get("errors")
            if not errors:
                self._judge("BalanceChanged", payload["data"])
                return
            if errors[0]["extensions"]["code"] not in RETRYABLE:
                self.wrong.append(("BalanceChanged", errors))
                raise AssertionError(self.wrong)
            self.retried.append(errors[0]["extensions"]["code"])

    def _judge(self, name: str, data: dict[str, Any]) -> None:
        self.answered[name] += 1
        shape = shape_of(data)
        if not fits(shape, self.models.setdefault(name, shape)):
            self.wrong.append((name, shape, self.models[name]))


@asynccontextmanager
async def over_and_over(*work: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Each again and again, until the block is left; what is under way then is finished."""
    stop = asyncio.Event()

    async def again(one: Callable[[], Awaitable[None]]) -> None:
        while not stop.is_set():
            await one()

    async with asyncio.TaskGroup() as group:
        for one in work:
            group.create_task(again(one))
        try:
            yield
        finally:
            stop.set()


async def test_f46_the_next_releases_migrations_under_a_serve_that_answers_every_contract_operation(
    system: System, ada: Client, olga: Client, tmp_path: Path
) -> None:
    traffic = await Traffic.on(ada, await funded(ada, olga, "100"), await funded(ada, olga, "1"))
    caller = Caller(ada, await funded(ada, olga, "100"), await funded(ada, olga, "1"))
    began = int((await ada.balance(caller.source))["version"])
    to_come = next_release(system.endpoints.admin_url, tmp_path)
    stop = asyncio.Event()

    async def some_rounds(more: int) -> None:
        until = {name: count + more for name, count in caller.answered.items()}
        while any(caller.answered[name] < until[name] for name in until):  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    async with undone(system), asyncio.timeout(240), ada.socket() as socket:
        subscription = await socket.subscribe(
            OPERATIONS["BalanceChanged"], {"accountIds": [traffic.source]}, operationName="BalanceChanged"
        )
        writing = asyncio.create_task(traffic.write(stop, clients=4))
        async with over_and_over(caller.round, caller.round):
            await some_rounds(2)
            left = []
            for cut in (
                *_CUTS,
                *[1_000] * 10,
            ):  # it also gives up, before the product queues behind it, and is run again
                with interrupted(system.endpoints.admin_url, cut):
                    try:
                        await asyncio.to_thread(command.upgrade, to_come, "heads")
                    except Exception as error:  # however the driver calls it
                        left.append((await _at(system.endpoints.admin_url), type(error).__name__))
                    else:
                        break
                await some_rounds(1)
            assert len(left) >= len(_CUTS), left
            assert await _at(system.endpoints.admin_url) == "next_2"
            await some_rounds(2)
        stop.set()
        await writing

        assert caller.wrong == []
        await traffic.settled()
        last = traffic.version + len(traffic.acknowledged)
        versions = [(await socket.next(subscription, 60))["balanceChanged"]["balance"]["version"]]
        while versions[-1] < last:
            versions.append((await socket.next(subscription, 60))["balanceChanged"]["balance"]["version"])
        assert versions == list(range(versions[0], last + 1)), "live all the time, none missing and none twice"
        print(
            f"cut at {left}; answered {caller.answered}; retried {len(caller.retried)}; {len(traffic.acknowledged)} transfers beside"
        )

    balance = await ada.balance(caller.source)
    assert int(balance["version"]) == began + len(caller.moved)
    for account in caller.opened:
        assert (await ada.balance(account))["version"] == 0
    system.verify()
