"""A process of writers: `python -m tests.write_models.writer_process URL DATA_DIR WRITERS COMMANDS`. Prints the positions it drew."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from uuid import UUID, uuid4

import structlog

from isthmus.runtime.wiring import write_side
from isthmus.settings import load_settings
from isthmus.write_models.commands import Done
from tests.write_models.driver import Driver


async def main(url: str, data_dir: str, writers: int, commands: int) -> None:
    async with write_side(load_settings(data_dir=Path(data_dir)), url) as side:
        ledger = Driver(side.commands)

        async def write() -> list[int]:
            owner = uuid4()
            mine: list[UUID] = [await ledger.funded(owner, "100") for _ in range(2)]
            positions = []
            for n in range(commands):
                outcome = await ledger.transfer(owner, mine[n % 2], mine[1 - n % 2], "1")
                assert isinstance(outcome, Done), outcome
                positions.append(outcome.position)
            return positions

        drawn = await asyncio.gather(*(write() for _ in range(writers)))
    print(*sorted(position for some in drawn for position in some))


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
