"""What is asked for at the same time is done together, and nobody waits for company."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from isthmus.write_models.together import Together, TooMany


class Work:
    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, items: Sequence[int]) -> Sequence[int]:
        self.batches.append(list(items))
        await self.gate.wait()
        if 13 in items:
            raise ValueError("13")
        return [item * 2 for item in items]


async def test_who_comes_alone_is_served_alone_and_who_comes_meanwhile_together_in_order() -> None:
    work = Work()
    together = Together(work, most=3, waiting_max=10)
    assert await together.do(1) == 2
    work.gate.clear()
    asked = [asyncio.create_task(together.do(n)) for n in range(2, 8)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    work.gate.set()

    assert await asyncio.gather(*asked) == [4, 6, 8, 10, 12, 14]
    assert work.batches == [[1], [2, 3, 4], [5, 6, 7]]


async def test_a_fault_is_theirs_who_were_together_and_of_nobody_else() -> None:
    work = Work()
    together = Together(work, most=2, waiting_max=10)

    found = await asyncio.gather(*(together.do(n) for n in (12, 13, 14, 15)), return_exceptions=True)

    assert [type(one) for one in found] == [ValueError, ValueError, int, int]


async def test_more_than_may_wait_are_turned_away_at_once() -> None:
    work = Work()
    together = Together(work, most=2, waiting_max=3)
    work.gate.clear()
    asked = [asyncio.create_task(together.do(n)) for n in range(2)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asked += [asyncio.create_task(together.do(n)) for n in range(2, 5)]
    await asyncio.sleep(0)

    with pytest.raises(TooMany):
        await together.do(5)
    work.gate.set()
    assert await asyncio.gather(*asked) == [0, 2, 4, 6, 8]


async def test_who_does_not_wait_any_more_costs_the_others_nothing() -> None:
    work = Work()
    together = Together(work, most=5, waiting_max=5)
    work.gate.clear()
    asked = [asyncio.create_task(together.do(n)) for n in range(3)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asked[1].cancel()
    work.gate.set()

    found = await asyncio.gather(*asked, return_exceptions=True)
    assert [found[0], found[2]] == [0, 4]
    assert isinstance(found[1], asyncio.CancelledError)
