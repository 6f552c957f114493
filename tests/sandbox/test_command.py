"""`isthmus sandbox` as a command: it prints where it is, and goes on with its book the next time."""

from __future__ import annotations

import re
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from tests.end_to_end.product import Background

_READY = re.compile(r"^ready (http://127\.0\.0\.1:\d+)$")


def test_the_book_is_kept_between_two_runs(tmp_path: Path) -> None:
    told = []
    night = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT03:")
    for turn in range(2):
        process = Background(tmp_path / "data", ["sandbox"])
        process.start()
        url = process.wait_for(_READY, 60).group(1)
        if turn == 0:
            # At three in the morning nothing falls due by itself.
            assert httpx.post(f"{url}/sandbox/clock", json={"now": f"{night}00:00Z"}).status_code == 200
            gift = {"account": httpx.get(f"{url}/sandbox/accounts").json()[0]["id"], "amount": 500, "name": "Gift"}
            assert httpx.post(f"{url}/sandbox/movements", json=gift).status_code == 200
        assert httpx.get(f"{url}/sandbox/clock").json()["now"].startswith(night)
        told.append(httpx.get(f"{url}/sandbox/accounts").json())
        assert process.stop(signal.SIGTERM, 20) == 0
    assert told[0] == told[1]
    assert (tmp_path / "data" / "sandbox" / "book.sqlite").is_file()
