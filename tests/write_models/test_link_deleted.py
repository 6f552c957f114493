"""Issue line 12: a link that is deleted. Its provider is told, now or later; what it brought is not read any more, by nobody."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from isthmus.domain.bank_texts import ACCOUNT_CONTEXT, RAW_CONTEXT, TRANSACTION_CONTEXT
from isthmus.integrations.secrets.link_keys import LinkKeys
from isthmus.integrations.secrets.person_keys import PersonKeys
from isthmus.write_models.bank_upkeep import BankUpkeep
from isthmus.write_models.envelope import Done
from tests.conftest import Database
from tests.sandbox.running import Sandbox, sandbox_running
from tests.write_models.bank_rig import Rig, bank_rig, envelope
from tests.write_models.driver import assert_sound

#: Each is found in what a bank told, and nowhere once that is gone.
SECRETS = ("Clinic of Saint Ada", "tag of a secret")
_PERSONAL = {
    "bank_account_mirrors": ("sealed", ACCOUNT_CONTEXT),
    "bank_transactions": ("sealed", TRANSACTION_CONTEXT),
    "bank_transactions ": ("raw", RAW_CONTEXT),
}


@pytest.fixture(scope="module")
def banks() -> Iterator[Sandbox]:
    with sandbox_running(history_days=1) as running:
        yield running


@pytest.fixture
def rig(banks: Sandbox, machine_database: Database, tmp_path: Path) -> Iterator[Rig]:
    with bank_rig(banks, machine_database, tmp_path) as made:
        yield made
        assert banks.http.delete(f"{banks.url}/sandbox/misbehaviour").status_code == 200


def linked(rig: Rig, provider: str = "yapily") -> tuple[UUID, UUID]:
    """(whose, by which consent): read once, with a transaction that is tagged."""
    person, username = uuid4(), rig.customer()
    account = rig.account(username)
    for n in range(3):
        rig.banks.tell("movements", account=account, amount=-100 - n, name=SECRETS[0])
    consent = rig.link(provider, person, username)
    assert rig.sync(consent) == "done"
    (ours,) = rig.accounts(consent).values()
    rig.tag(person, rig.shown(person, ours)[0].transaction_id, SECRETS[1])
    return person, consent


def backup(rig: Rig, consent: UUID) -> dict[str, list[bytes]]:
    """Every ciphertext of the link, as a copy of the tables would have it."""
    return {
        name: [
            row["told"]
            for row in rig.run(
                rig.side.pool.fetch(f"select {column} as told from {name.strip()} where link_id = $1", consent)
            )
        ]
        for name, (column, _) in _PERSONAL.items()
    }


def opened(rig: Rig, consent: UUID, kept: dict[str, list[bytes]]) -> list[bytes | None]:
    """By another process, which remembers no key."""
    secrets = LinkKeys(PersonKeys(rig.side.master_key))

    async def work() -> list[bytes | None]:
        found: list[bytes | None] = []
        async with rig.side.pool.acquire() as connection:
            for name, (_, context) in _PERSONAL.items():
                found += await secrets.open_many(connection, consent, kept[name], context)
        return found

    told: list[bytes | None] = rig.run(work())
    return told


def delete(rig: Rig, person: UUID, consent: UUID) -> None:
    assert isinstance(rig.run(rig.banking.links.delete(person, consent, envelope(person, "DeleteBankLink"))), Done)


def count(rig: Rig, table: str, column: str, consent: UUID) -> int:
    found: int = rig.run(rig.side.pool.fetchval(f"select count(*) from {table} where {column} = $1", consent))
    return found


def upkeep(rig: Rig) -> BankUpkeep:
    parts = rig.banking
    return BankUpkeep(parts.pool, rig.side.commands, parts.providers, parts.mirror, rig.clock)


def test_what_a_deleted_link_brought_opens_nowhere_not_even_from_a_backup(rig: Rig) -> None:
    person, consent = linked(rig)
    kept = backup(rig, consent)
    assert all(opened(rig, consent, kept)), "it is readable before"
    assert any(SECRETS[0].encode() in (one or b"") for one in opened(rig, consent, kept))
    ledger = rig.run(rig.side.pool.fetchval("select count(*) from journal_entries"))

    delete(rig, person, consent)

    assert count(rig, "link_keys", "link_id", consent) == 0
    assert count(rig, "provider_tokens", "link_id", consent) == 0
    for table in ("bank_transactions", "bank_account_mirrors"):
        assert count(rig, table, "link_id", consent) == 0
    assert count(rig, "bank_syncs", "consent_id", consent) == 0
    assert count(rig, "bank_authorisations", "consent_id", consent) == 0
    assert set(opened(rig, consent, kept)) == {None}
    assert rig.run(rig.side.pool.fetchval("select count(*) from journal_entries")) == ledger
    rig.run(assert_sound(rig.side.pool))
    assert rig.sync(consent) == "over"


def test_a_key_that_is_made_anew_under_the_same_link_opens_nothing_of_before(rig: Rig) -> None:
    person, consent = linked(rig)
    kept = backup(rig, consent)
    delete(rig, person, consent)

    async def anew() -> None:
        async with rig.side.pool.acquire() as connection:
            await rig.side.links.seal_many(connection, consent, person, [b"x"], RAW_CONTEXT)

    rig.run(anew())
    assert set(opened(rig, consent, kept)) == {None}


def test_events_and_outbox_hold_nothing_personal_and_still_tell_that_the_link_was_deleted(rig: Rig) -> None:
    person, consent = linked(rig)
    delete(rig, person, consent)

    async def all_text() -> str:
        rows: list[Any] = []
        for table in ("event_store", "outbox", "consents", "bank_accounts", "idempotency", "bank_transaction_tags"):
            rows += await rig.side.pool.fetch(f"select t::text as told from {table} t")
        return "\n".join(row["told"] for row in rows)

    text = rig.run(all_text())
    assert not [secret for secret in SECRETS if secret in text]
    events = rig.run(
        rig.side.pool.fetch(
            "select type, data::text from event_store where aggregate_id = $1 order by version", consent
        )
    )
    assert [row["type"] for row in events][-2:] == ["ConsentRevoked", "LinkDeleted"]
    assert f'"{person}"' in events[-1]["data"]
    unlinked = rig.run(
        rig.side.pool.fetchval(
            "select count(*) from event_store where type = 'BankAccountUnlinked' and data->>'consent_id' = $1",
            str(consent),
        )
    )
    assert unlinked == 1


@pytest.mark.parametrize("provider", ["plaid", "truelayer", "yapily"])
def test_a_provider_that_is_down_is_told_later_and_until_then_nothing_is_shown(rig: Rig, provider: str) -> None:
    person, consent = linked(rig, provider)
    route = {"plaid": "POST /plaid/item/remove", "truelayer": "DELETE /truelayer/*", "yapily": "DELETE /yapily/*"}
    rig.banks.tell("misbehaviour", route=route[provider], kind="error_before", times=1_000)
    told = rig.run(tokens(rig, consent))

    delete(rig, person, consent)

    assert count(rig, "bank_transactions", "link_id", consent) == 0, "that is not waited for"
    assert count(rig, "provider_tokens", "link_id", consent) == 1, "it is needed to tell the provider"
    assert rig.run(upkeep(rig).end_links()) == 0
    assert rig.banks.http.delete(f"{rig.banks.url}/sandbox/misbehaviour").status_code == 200
    assert rig.run(upkeep(rig).end_links()) == 1
    assert count(rig, "provider_tokens", "link_id", consent) == count(rig, "link_keys", "link_id", consent) == 0
    with pytest.raises(Exception, match=r"(?i)refused|in no more|sign in"):
        rig.run(rig.providers[provider].accounts(told))
    assert rig.run(upkeep(rig).end_links()) == 0, "once is enough"


def test_a_provider_that_never_answers_keeps_no_key_alive_for_longer_than_a_day(rig: Rig) -> None:
    person, consent = linked(rig)
    rig.banks.tell("misbehaviour", route="DELETE /yapily/*", kind="error_before", times=1_000)
    delete(rig, person, consent)
    assert rig.run(upkeep(rig).end_links()) == 0

    done = rig.run(rig.banking.mirror.end(consent, rig.providers, patient=False))

    assert done
    assert count(rig, "link_keys", "link_id", consent) == 0


@pytest.mark.parametrize("provider", ["plaid", "truelayer"])
def test_a_link_that_is_deleted_while_it_is_read_stays_empty(rig: Rig, provider: str) -> None:
    """The reading has its pages when the link goes: it keeps nothing of them, and makes no key."""
    person, consent = linked(rig, provider)

    async def deleted() -> None:
        rig.providers[provider].between = None
        assert isinstance(await rig.banking.links.delete(person, consent, envelope(person, "DeleteBankLink")), Done)

    rig.providers[provider].between = lambda _: deleted()
    assert rig.sync(consent) in ("overtaken", "over")

    assert count(rig, "link_keys", "link_id", consent) == 0
    assert count(rig, "bank_account_mirrors", "link_id", consent) == 0
    assert count(rig, "bank_transactions", "link_id", consent) == 0
    linked_still = "select count(*) from bank_accounts where consent_id = $1 and linked"
    assert rig.run(rig.side.pool.fetchval(linked_still, consent)) == 0


def test_a_person_whose_key_is_destroyed_has_no_readable_link_any_more(rig: Rig) -> None:
    """What erases a person destroys their key: their links' keys and tokens go with it."""
    person, consent = linked(rig)
    kept = backup(rig, consent)

    async def erased() -> None:
        async with rig.side.pool.acquire() as connection:
            await rig.side.texts.destroy(connection, person)

    rig.run(erased())
    assert count(rig, "link_keys", "link_id", consent) == count(rig, "provider_tokens", "link_id", consent) == 0
    assert set(opened(rig, consent, kept)) == {None}
    assert rig.sync(consent) == "over"
    rig.run(assert_sound(rig.side.pool))


async def tokens(rig: Rig, consent: UUID) -> Any:
    async with rig.side.pool.acquire() as connection:
        return await rig.side.tokens.get(connection, consent)
