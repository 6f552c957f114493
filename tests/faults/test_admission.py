"""What is taken on follows what is finished; a clock of the test's own makes every figure exact."""

from __future__ import annotations

import asyncio

import pytest

from isthmus.graphql.admission import RUNNING_MIN, Admission, Overloaded

TARGET_S = 1.0


class Worker:
    """Operations that take `takes_s` each, one after another, as on one processor."""

    def __init__(self, running_max: int = 512) -> None:
        self.now = 0.0
        self.admission = Admission(running_max, TARGET_S, clock=lambda: self.now)
        self._running: list[asyncio.Future[None]] = []

    async def operation(self) -> float:
        """The seconds until it was done. Raises Overloaded."""
        came = self.now
        async with self.admission.turn():
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._running.append(done)
            await done
        return self.now - came

    async def flood(self, per_second: float, takes_s: float, seconds: float) -> tuple[list[float], int]:
        """How long the admitted ones took, and how many were refused."""
        tasks: list[asyncio.Task[float]] = []
        until, due = self.now + seconds, self.now
        while self.now < until or self._running:
            while due <= self.now < until:
                tasks.append(asyncio.create_task(self.operation()))
                due += 1 / per_second
            await _settle()
            if self._running:
                self.now += takes_s
                self._running.pop(0).set_result(None)
                await _settle()
            else:
                self.now = due
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, Overloaded)]
        taken = [answer for answer in answers if isinstance(answer, float)]
        assert len(taken) + len(refused) == len(answers), answers
        return taken, len(refused)


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
async def worker() -> Worker:
    return Worker()


@pytest.mark.parametrize("takes_s", [0.005, 0.03])
async def test_overload_tenfold_is_answered_within_the_target_or_refused_at_once(
    worker: Worker, takes_s: float
) -> None:
    taken, refused = await worker.flood(10 / takes_s, takes_s, seconds=5)
    assert len(taken) >= 0.95 * 5 / takes_s, "the process works all the time"
    assert refused >= 7 * len(taken)
    assert max(taken) <= 1.75 * TARGET_S
    assert max(taken[len(taken) // 2 :]) <= 1.1 * TARGET_S


async def test_a_burst_on_an_idle_process_is_worked_off(worker: Worker) -> None:
    taken, refused = await worker.flood(100_000, 0.002, seconds=0.003)
    assert len(taken) >= 200
    assert refused == 0


async def test_once_it_is_over_everything_is_taken_on_again(worker: Worker) -> None:
    await worker.flood(1_000, 0.01, seconds=3)
    _, refused = await worker.flood(80, 0.01, seconds=3)
    assert refused == 0


async def test_those_that_hang_leave_the_others_no_longer_waiting_than_the_target() -> None:
    admission = Admission(RUNNING_MIN, 0.1)
    hangs = asyncio.Event()

    async def hanging() -> None:
        async with admission.turn():
            await hangs.wait()

    tasks = [asyncio.create_task(hanging()) for _ in range(RUNNING_MIN)]
    await _settle()
    with pytest.raises(Overloaded) as refusal:
        await hanging()
    assert 1 <= refusal.value.retry_after_s <= 3
    hangs.set()
    await asyncio.gather(*tasks)
    assert (admission.running, admission.waiting) == (0, 0)


async def test_a_caller_that_goes_away_gives_its_turn_on() -> None:
    admission = Admission(RUNNING_MIN, 5.0)
    hangs = asyncio.Event()

    async def hanging() -> None:
        async with admission.turn():
            await hangs.wait()

    running = [asyncio.create_task(hanging()) for _ in range(RUNNING_MIN)]
    waiting = [asyncio.create_task(hanging()) for _ in range(3)]
    await _settle()
    assert (admission.running, admission.waiting) == (RUNNING_MIN, 3)
    waiting[0].cancel()
    running[0].cancel()
    await _settle()
    assert (admission.running, admission.waiting) == (RUNNING_MIN, 1)
    hangs.set()
    await asyncio.gather(*running, *waiting, return_exceptions=True)
    assert (admission.running, admission.waiting) == (0, 0)


async def test_turns_that_were_waited_for_too_long_are_not_given_away_twice() -> None:
    """Time is up for all of them in the moment in which those that run are done."""
    admission = Admission(RUNNING_MIN, 0.05)

    async def operation() -> bool:
        try:
            async with admission.turn():
                await asyncio.sleep(0.05)
        except Overloaded:
            return False
        return True

    answers = await asyncio.gather(*(operation() for _ in range(3 * RUNNING_MIN)))
    assert answers.count(True) >= RUNNING_MIN
    assert (admission.running, admission.waiting) == (0, 0)


async def test_who_comes_after_a_stand_of_the_loop_is_refused_until_it_goes_again() -> None:
    lag_s = 3.0
    admission = Admission(512, TARGET_S, lag_s=lambda: lag_s)
    with pytest.raises(Overloaded):
        admission.check()
    lag_s = 0.0
    admission.check()
