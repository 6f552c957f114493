"""Rows E1 to E7: what providers send by themselves is kept, believed only when it is theirs, and does once what it says."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest

from isthmus.domain.clock import SystemClock
from isthmus.write_models.bank_store import find_underway
from isthmus.write_models.bank_upkeep import BankUpkeep
from isthmus.write_models.webhooks import _BATCH, _SPENT_A_MINUTE
from tests.api import banking
from tests.api.banking import complete, on_loop, start
from tests.api.conftest import Person, Served
from tests.api.test_bank_links import credential, served_by
from tests.sandbox.running import Inbox, Sandbox, inbox_running

SECRET = b"sandbox-yapily-webhook-secret"


@pytest.fixture(scope="module", autouse=True)
def _institutions(served: Served) -> None:
    banking.know_institutions(served)


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with inbox_running() as made:
        yield made


def sent(served: Served, provider: str, body: bytes, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(f"{served.url}/webhooks/{provider}", content=body, headers=named)


def yapily(body: bytes, secret: bytes = SECRET) -> dict[str, str]:
    return {"x_yapily_signature": f"sha256={hmac.new(secret, body, hashlib.sha256).hexdigest()}"}


def rows(served: Served, where: str = "true") -> list[dict[str, Any]]:
    async def read() -> list[dict[str, Any]]:
        async with served.banking.mirror._pool.acquire() as connection:
            found = await connection.fetch(
                f"select id, provider, verified, state, why from webhooks where {where} order by id"
            )
            return [dict(row) for row in found]

    found: list[dict[str, Any]] = on_loop(served, read())
    return found


def worked_off(served: Served) -> None:
    """What `work` would do: every job that waits, in its order."""
    for row in rows(served, "state = 'WAITING'"):
        on_loop(served, served.banking.webhooks.work_off(row["id"]))


def consent_at_yapily(served: Served, banks: Sandbox, person: Person) -> tuple[str, str]:
    """(our consent, Yapily's)."""
    with served_by(served, "yapily"):
        begun = start(person)
    done = complete(person, begun["consent"]["id"], credential(banks, begun["authorization"]))
    assert done["errors"] == [], done

    async def reference() -> str:
        links = served.banking.links
        async with links._pool.acquire() as connection:
            tokens = await links._vault.get(connection, banking.key_of(begun["consent"]["id"]))
        named: str = tokens.reference
        return named

    return begun["consent"]["id"], on_loop(served, reference())


def begun_as(served: Served, person: Person, consent: str) -> str:
    """What Yapily calls a consent that nobody has come back for."""

    async def read() -> str:
        links = served.banking.links
        async with links._pool.acquire() as connection:
            found = await find_underway(connection, links._secrets, banking.key_of(consent), person.id)
        assert found is not None
        assert found.begun.reference is not None
        return str(found.begun.reference)

    named: str = on_loop(served, read())
    return named


async def administered(served: Served, statement: str, *values: Any) -> None:
    connection = await asyncpg.connect(served.database_url)
    try:
        await connection.execute(statement, *values)
    finally:
        await connection.close()


def version_of(served: Served, consent: str) -> int:
    async def read() -> int:
        async with served.banking.mirror._pool.acquire() as connection:
            found: int = await connection.fetchval(
                "select max(version) from event_store where aggregate_id = $1", banking.key_of(consent)
            )
        return found

    version: int = on_loop(served, read())
    return version


def status_of(person: Person, consent: str) -> str:
    query = "query($id: ID!) { node(id: $id) { ... on BankConsent { status } } }"
    status: str = person.ask(query, {"id": consent})["node"]["status"]
    return status


def told(consent: str, status: str, n: int = 0) -> bytes:
    event = {"id": consent, "status": status, "n": n}
    return json.dumps({"id": "w", "type": "consent.status.updated", "event": event}).encode()


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x_yapily_signature": ""},
        {"x_yapily_signature": "sha256=00"},
        {"plaid_verification": "a.b.c"},
        {"tl_signature": "a..c", "x_tl_webhook_timestamp": "2026-01-01T00:00:00Z"},
    ],
)
@pytest.mark.parametrize("provider", ["plaid", "truelayer", "yapily"])
def test_e1_what_is_not_signed_as_its_provider_signs_is_refused_and_kept_as_evidence(
    served: Served, provider: str, headers: dict[str, str]
) -> None:
    served.banking.webhooks._spent.clear()
    before = len(rows(served))

    answer = sent(served, provider, b'{"type": "x"}', **headers)

    assert answer.status_code == 401
    assert answer.content == b""
    after = rows(served)
    assert len(after) == before + 1
    assert (after[-1]["provider"], after[-1]["verified"], after[-1]["state"]) == (provider, False, "REFUSED")


def test_e1_two_signatures_and_another_providers_are_refused(served: Served) -> None:
    body = told("x", "REVOKED")
    genuine = yapily(body)["x_yapily_signature"]
    pairs = [("x-yapily-signature", genuine), ("x-yapily-signature", "sha256=00")]

    assert httpx.post(f"{served.url}/webhooks/yapily", content=body, headers=pairs).status_code == 401
    assert sent(served, "plaid", body, **yapily(body)).status_code == 401
    assert sent(served, "nobody", body).status_code == 404
    assert httpx.get(f"{served.url}/webhooks/yapily").status_code == 405


def test_e4_the_body_is_compared_as_it_came_and_both_secrets_count(served: Served) -> None:
    body = told("x", "AUTHORIZED")

    assert sent(served, "yapily", body, **yapily(body)).status_code == 202
    assert sent(served, "yapily", body + b" ", **yapily(body)).status_code == 401
    assert sent(served, "yapily", body, **yapily(body, b"another")).status_code == 401


async def flooded(served: Served, bodies: Sequence[bytes], connections: int = 20) -> list[tuple[int, float]]:
    """The status of each answer and the seconds it took, over so many connections. A plain client: a better one would be the slower."""
    where = urlsplit(served.url)
    waiting, answers = deque(bodies), []

    async def one() -> None:
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        while waiting:
            body = waiting.popleft()
            head = f"POST /webhooks/yapily HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Length: {len(body)}\r\n"
            begun = time.perf_counter()
            writer.write(f"{head}X-Yapily-Signature: {signature(body)}\r\n\r\n".encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            assert b"content-length: 0" in answer.lower(), answer
            answers.append((int(answer.split(b" ", 2)[1]), time.perf_counter() - begun))
        writer.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    return answers


def signature(body: bytes) -> str:
    return yapily(body)["x_yapily_signature"]


def test_f22_e5_a_thousand_repetitions_have_one_effect_and_nothing_goes_back(
    served: Served, banks: Sandbox, ada: Person
) -> None:
    consent, theirs = consent_at_yapily(served, banks, ada)
    worked_off(served)
    revoked, late = told(theirs, "REVOKED"), told(theirs, "AUTHORIZED", 1)
    before = len(rows(served))

    answers = asyncio.run(flooded(served, [revoked] * 1_000))
    assert {status for status, _ in answers} == {202}

    assert len(rows(served, "state = 'WAITING'")) == 1
    assert len(rows(served)) - before <= _SPENT_A_MINUTE + 2 * _BATCH, "what is repeated does not fill the table"
    worked_off(served)
    assert status_of(ada, consent) == "REVOKED"
    version = version_of(served, consent)
    assert sent(served, "yapily", late, **yapily(late)).status_code == 202
    worked_off(served)
    assert (status_of(ada, consent), version_of(served, consent)) == ("REVOKED", version), (
        "late news never bring back what is over"
    )


def test_f22_what_comes_before_the_person_does_counts(served: Served, banks: Sandbox, ada: Person) -> None:
    """Yapily names its consent when it is asked for, and may tell of it before anybody came back."""
    with served_by(served, "yapily"):
        begun = start(ada)
        other = start(ada)
    for consent, status in ((begun, "AUTHORIZED"), (other, "REJECTED")):
        body = told(begun_as(served, ada, consent["consent"]["id"]), status)
        assert sent(served, "yapily", body, **yapily(body)).status_code == 202
    worked_off(served)

    assert status_of(ada, other["consent"]["id"]) == "REJECTED"
    assert status_of(ada, begun["consent"]["id"]) == "AWAITING_AUTHORISATION", "without tokens there is no access"
    done = complete(ada, begun["consent"]["id"], credential(banks, begun["authorization"]))
    assert (done["errors"], done["consent"]["status"]) == ([], "AUTHORISED")


def test_f22_one_whose_worker_ended_is_worked_off_all_the_same(served: Served, banks: Sandbox, ada: Person) -> None:
    consent, theirs = consent_at_yapily(served, banks, ada)
    worked_off(served)
    body = told(theirs, "REVOKED", 7)
    assert sent(served, "yapily", body, **yapily(body)).status_code == 202
    (waiting,) = rows(served, "state = 'WAITING'")

    async def ended() -> list[str]:
        """Its job is gone, as one is that failed; half a minute later it is begun again."""
        async with served.banking.mirror._pool.acquire() as connection:
            await connection.execute("delete from pgqueuer where payload = $1", str(waiting["id"]).encode())
        assert await served.banking.webhooks.late() == 0, "it is not late yet"
        await administered(
            served, "update webhooks set received_at = now() - interval '31 seconds' where id = $1", waiting["id"]
        )
        assert await served.banking.webhooks.late() == 1
        assert await served.banking.webhooks.late() == 1, "again, until it is done"
        async with served.banking.mirror._pool.acquire() as connection:
            found = await connection.fetch(
                "select payload from pgqueuer where entrypoint = 'work_off_webhook' and payload = $1",
                str(waiting["id"]).encode(),
            )
        return [row["payload"].decode() for row in found]

    assert on_loop(served, ended()) == [str(waiting["id"])], "one job, however often it is asked for"
    worked_off(served)
    assert status_of(ada, consent) == "REVOKED"


def test_f23_without_any_webhook_the_schedule_finds_what_happened(served: Served, banks: Sandbox, ada: Person) -> None:
    consent, theirs = consent_at_yapily(served, banks, ada)
    banking.sync(served, consent)
    banks.tell("actions", action="yapily.status", consent=theirs, status="REVOKED")

    async def due() -> bool:
        """Whether the schedule has this link read."""
        mirror = served.banking.mirror
        upkeep = BankUpkeep(mirror._pool, mirror._commands, served.banking.providers, mirror, SystemClock())
        await administered(served, "delete from pgqueuer")
        await upkeep.want_syncs(timedelta(hours=6))
        async with mirror._pool.acquire() as connection:
            payload = str(banking.key_of(consent)).encode()
            return bool(await connection.fetchval("select true from pgqueuer where payload = $1", payload))

    assert not on_loop(served, due()), "it was read just now"
    on_loop(
        served,
        administered(
            served,
            "update bank_syncs set finished_at = finished_at - interval '6 hours', started_at = started_at - interval '6 hours' "
            "where consent_id = $1",
            banking.key_of(consent),
        ),
    )
    assert on_loop(served, due())
    assert banking.sync(served, consent, attended=False) == "access_ended"
    assert status_of(ada, consent) == "REVOKED"


def test_e5_news_in_any_order_come_to_the_same_end(served: Served, banks: Sandbox, ada: Person) -> None:
    consent, theirs = consent_at_yapily(served, banks, ada)
    for n, status in enumerate(("AWAITING_RE_AUTHORIZATION", "AUTHORIZED", "A_NEW_WORD", "EXPIRED", "AUTHORIZED")):
        body = told(theirs, status, n)
        assert sent(served, "yapily", body, **yapily(body)).status_code == 202
    banks.tell("actions", action="yapily.status", consent=theirs, status="EXPIRED")
    worked_off(served)

    assert status_of(ada, consent) == "EXPIRED"


@pytest.mark.parametrize("status", ["AWAITING_RE_AUTHORIZATION", "EXPIRED"])
def test_f22_a_late_one_takes_no_link_away_that_was_repaired_since(
    served: Served, banks: Sandbox, ada: Person, status: str
) -> None:
    consent, theirs = consent_at_yapily(served, banks, ada)
    worked_off(served)
    version = version_of(served, consent)
    late = told(theirs, status, 9)

    assert sent(served, "yapily", late, **yapily(late)).status_code == 202
    worked_off(served)

    assert (status_of(ada, consent), version_of(served, consent)) == ("AUTHORISED", version)


def test_e7_what_is_too_long_is_refused_and_what_is_genuine_is_answered_soon(served: Served) -> None:
    assert sent(served, "yapily", b"x" * 300_000, **yapily(b"")).status_code == 413
    took = []
    for n in range(30):
        body = told("x", "AUTHORIZED", 100 + n)
        begun = time.perf_counter()
        assert sent(served, "yapily", body, **yapily(body)).status_code == 202
        took.append(time.perf_counter() - begun)
    print(f"answered in {sorted(took)[15] * 1e3:.1f} ms in the middle")
    assert sorted(took)[15] < 0.25


def test_plaids_own_webhooks_are_believed_and_its_news_reach_the_consent(
    served: Served, banks: Sandbox, ada: Person, inbox: Inbox
) -> None:
    with served_by(served, "plaid"):
        begun = start(ada, banking.NORDLICHT)
    done = complete(ada, begun["consent"]["id"], credential(banks, begun["authorization"]))
    assert done["errors"] == [], done
    consent = begun["consent"]["id"]
    body, headers = plaid_told(served, banks, inbox, consent)

    assert sent(served, "plaid", body, **headers).status_code == 202
    assert sent(served, "plaid", body, **headers).status_code == 202, "again"
    changed = body.replace(b"ITEM_LOGIN_REQUIRED", b"ITEM_LOGIN_REPAIRED")
    assert sent(served, "plaid", changed, **headers).status_code == 401
    assert sent(served, "plaid", json.dumps(json.loads(body)).encode(), **headers).status_code == 401, (
        "another spelling"
    )
    worked_off(served)

    assert status_of(ada, consent) == "RENEWAL_NEEDED"


def plaid_told(served: Served, banks: Sandbox, inbox: Inbox, consent: str) -> tuple[bytes, dict[str, str]]:
    """What Plaid sends once the bank wants its customer to sign in, and how it is signed."""

    async def kept() -> Any:
        links = served.banking.links
        async with links._pool.acquire() as connection:
            return await links._vault.get(connection, banking.key_of(consent))

    tokens = on_loop(served, kept())
    app = {"client_id": "sandbox-client", "secret": "sandbox-secret"}
    body = {**app, "access_token": tokens.access, "webhook": inbox.url}
    assert banks.http.post(f"{banks.url}/plaid/item/webhook/update", json=body).status_code == 200
    banks.tell("actions", action="plaid.needs_login", item_id=tokens.reference)
    ((headers, sent_body),) = inbox.wait(1)
    return sent_body, {"plaid_verification": headers["plaid-verification"]}
