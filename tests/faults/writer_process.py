"""A writer in a process of its own, as each `serve` is one: `python -m tests.faults.writer_process URL DATA_DIR PERSON`.

Takes a wish as a line of JSON and answers it with another, in whatever order they are done. Ends with its input, or by ISTHMUS_FAIL.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import structlog

from isthmus.failpoints import arm
from isthmus.runtime.wiring import write_side
from isthmus.settings import Settings, load_settings
from isthmus.torture.intents import Intent, Kind, Outcome
from tests.faults.direct import DirectDoor
from tests.forked_process import Process, input_of, output_of, started


async def main(url: str, data_dir: str, person: str) -> None:
    loop = asyncio.get_running_loop()
    wishes = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(wishes), sys.stdin)
    async with write_side(load_settings(data_dir=Path(data_dir)), url) as side, asyncio.TaskGroup() as sending:
        door = DirectDoor((side.commands,), UUID(person))

        async def answer(number: int, correlation_id: str, intent: Intent) -> None:
            outcome = await door.send(intent, correlation_id)
            print(json.dumps({"number": number, **dataclasses.asdict(outcome)}), flush=True)

        arm(os.environ.get("ISTHMUS_FAIL", ""))
        print("ready", flush=True)
        while line := await wishes.readline():
            wish = json.loads(line)
            sending.create_task(answer(wish["number"], wish["correlation_id"], Intent(0, "", **wish["intent"])))


@dataclass
class WriterProcess:
    """A door to such a process. Whoever has no answer when it dies, or asks after that, is told that the outcome is unknown."""

    process: Process
    _input: asyncio.WriteTransport
    _output: asyncio.StreamReader
    _waiting: dict[int, asyncio.Future[Outcome]] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _reading: asyncio.Task[None] | None = None

    async def send(self, intent: Intent, correlation_id: str) -> Outcome:
        if self._reading is None or self._reading.done():
            return Outcome(Kind.UNKNOWN, code="not sent")
        number = next(self._numbers)
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        wish = {"mutation": intent.mutation, "key": intent.key, "input": dict(intent.input)}
        line = json.dumps({"number": number, "correlation_id": correlation_id, "intent": wish})
        self._input.write(line.encode() + b"\n")
        return await answer

    async def ended(self) -> int:
        """How it ended, once all that it said is read."""
        assert self._reading is not None
        async with asyncio.timeout(60):
            await self._reading
            return await asyncio.to_thread(self.process.wait)

    async def read(self) -> None:
        """Its answers, until it ends."""
        while line := await self._output.readline():
            if line == b"ready\n":
                continue
            told = json.loads(line)
            outcome = Outcome(Kind(told["kind"]), told["answer"], told["code"])
            self._waiting.pop(told["number"]).set_result(outcome)
        for answer in self._waiting.values():
            answer.set_result(Outcome(Kind.UNKNOWN, code="the writer died"))
        self._waiting.clear()


@asynccontextmanager
async def writer_process(url: str, settings: Settings, person: UUID, fail: str = "") -> AsyncIterator[WriterProcess]:
    """Ready on entering. `settings` say which secrets it has, and `fail` which fail points are set in it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ISTHMUS_")}
    process = started(
        "tests.faults.writer_process",
        [url, str(settings.data_dir), str(person)],
        {**environment, "ISTHMUS_FAIL": fail, "ISTHMUS_API__MODE": "development"},
        settings.data_dir / "writer.log",
        reads=True,
    )
    writer = WriterProcess(process, await input_of(process), await output_of(process))
    try:
        async with asyncio.timeout(60):
            assert await writer._output.readline() == b"ready\n", "the writer did not start"
        writer._reading = asyncio.create_task(writer.read())
        yield writer
    finally:
        process.send_signal(signal.SIGKILL)
        await asyncio.to_thread(process.wait)
        if writer._reading is not None:
            await writer._reading
        writer._input.close()  # which it is already, where the writer died


if __name__ == "__main__":
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(40), logger_factory=structlog.PrintLoggerFactory(sys.stderr)
    )
    asyncio.run(main(*sys.argv[1:]))
