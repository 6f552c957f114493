"""A bug ends a task that `serve` stands on: whoever waits is answered, operators are told, and the rest goes on."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

from tests.end_to_end.client import Client
from tests.faults.system import System, funded
from tests.faults.traffic import Traffic


async def test_a_writer_that_crashes_at_every_batch_is_seen_by_everyone_and_holds_up_no_reader(
    system: System, ada: Client, olga: Client
) -> None:
    source, target = await funded(ada, olga, "10"), await funded(ada, olga, "1")
    serve, base = system.another_serve(FAIL="committer.next:raise")
    broken = Client(f"{base}/graphql", ada.token)
    try:
        traffic = await Traffic.on(broken, source, target)
        readiness: list[Any] = []
        async with asyncio.timeout(60):
            while not any(status == 503 for status, _ in readiness):
                await asyncio.gather(*(traffic.transfer(f"crash-{len(readiness)}-{n}") for n in range(4)))
                answer = await broken.http.get(f"{base}/readyz")
                readiness.append((answer.status_code, answer.json()["parts"]["tasks"]))
        _, told = readiness[-1]
        assert told == {"ready": False, "reason": "crashed, and waiting to be started again: committer"}

        assert {told.code for told in traffic.commands} == {"UNAVAILABLE"}
        assert Decimal((await broken.balance(source))["posted"]["amount"]) == 10, "readers are served"
        metrics = (await broken.http.get(f"{base}/metrics")).text
        assert 'isthmus_task_crashes_total{task="committer"}' in metrics
        assert "task crashed; starting it again" in serve.log()

        traffic.client = ada  # another process, whose writer is well
        await traffic.settled()
    finally:
        await broken.http.aclose()
        assert serve.stop() == 0
