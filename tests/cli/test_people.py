"""`isthmus credit` on a real write side: booked once per reference, only into the named person's account."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID, uuid4

import asyncpg
import pytest
from argon2 import PasswordHasher

from isthmus.auth.provider.users import DEMO_USERS, ensure_demo_users
from isthmus.cli import people
from isthmus.domain.accounts import OpenAccount
from isthmus.domain.identifiers import person_id
from isthmus.domain.personal import PersonalText
from isthmus.graphql.ids import Kind, encode
from isthmus.runtime.endpoints import resolve
from isthmus.settings import Settings, load_settings
from isthmus.write_models.commands import Done, Envelope
from tests.cli.conftest import RunIsthmus
from tests.conftest import Database

ADA = "ada@example.com"


@pytest.fixture
def settings(database: Database, tmp_path: object) -> Settings:
    """Everything is elsewhere; only the database is asked."""
    return load_settings(data_dir=tmp_path, database={"url": database.url})


@pytest.fixture
async def account(settings: Settings, database: Database, admin: asyncpg.Connection) -> str:
    """Ada's euros; every projection claims to have come far, so that nothing waits."""
    from isthmus.runtime.wiring import write_side

    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    await ensure_demo_users(settings, resolve(settings, need=["database"]), cheap)
    owner = person_id(settings.issuer.name, DEMO_USERS[0].subject)
    account_id = uuid4()
    async with write_side(settings, database.url) as side:
        wish = OpenAccount(account_id, owner, "EUR", PersonalText("Everyday"))
        outcome = await side.commands.run(wish, Envelope("service:test", owner, "openAccount", "k", {}, str(uuid4())))
    assert isinstance(outcome, Done)
    await _projected(admin, 10**6)
    return encode(Kind.ACCOUNT, account_id)


async def _projected(admin: asyncpg.Connection, position: int) -> None:
    await admin.execute("delete from read_models.projection_positions")
    await admin.execute(
        "insert into read_models.projection_positions (projection, partition, position) values ('test', 0, $1)",
        position,
    )


async def test_a_deposit_is_booked_once_per_reference(
    settings: Settings, account: str, admin: asyncpg.Connection
) -> None:
    first = await people._credit(settings, ADA, account, Decimal("100.5"), "wire 4711")
    assert (first.balance, first.asset, first.replayed, first.visible) == ("100.50", "EUR", False, True)
    again = await people._credit(settings, "ADA@example.com", account, Decimal("100.50"), "wire 4711")
    assert (again.balance, again.position, again.replayed) == ("100.50", first.position, True)
    await people._credit(settings, ADA, account, Decimal(1), "wire 4712")
    assert await admin.fetchval("select count(*) from journal_entries") == 2


@pytest.mark.parametrize(
    ("user", "of_account", "amount", "reference", "sentence"),
    [
        ("nobody@example.com", True, "1", "R", "nobody signs in here"),
        ("grace@example.com", True, "1", "R", "has no account with that id"),
        (ADA, False, "1", "R", "has no account with that id"),
        (ADA, True, "0", "R", "must be more than zero"),
        (ADA, True, "1.001", "R", "EUR has 2 decimal places at most"),
        (ADA, True, "1" + "0" * 70, "R", "too many digits"),
        (ADA, True, "1", " ", "A reference is needed"),
        (ADA, True, "1", "R" * 141, "longer than 140"),
    ],
)
async def test_refusals_are_sentences(
    settings: Settings, account: str, user: str, of_account: bool, amount: str, reference: str, sentence: str
) -> None:
    named = account if of_account else encode(Kind.ACCOUNT, UUID(int=5))
    with pytest.raises(people._Refused, match=sentence):
        await people._credit(settings, user, named, Decimal(amount), reference)


async def test_a_reference_with_another_amount(settings: Settings, account: str) -> None:
    await people._credit(settings, ADA, account, Decimal(1), "R")
    with pytest.raises(people._Refused, match="refused: "):
        await people._credit(settings, ADA, account, Decimal(2), "R")


async def test_it_waits_until_it_is_visible_and_says_when_it_is_not(
    settings: Settings, account: str, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people, "VISIBLE_WITHIN_S", 0.1)
    await _projected(admin, 1)
    assert not (await people._credit(settings, ADA, account, Decimal(1), "R")).visible


def test_exit_codes(isthmus: RunIsthmus) -> None:
    arguments = ("credit", "--user", ADA, "--account", "x", "--reference", "R", "--amount")
    assert isthmus(*arguments, "1e5").returncode == 2
    assert isthmus(*arguments, "-1").returncode == 2
    nowhere = isthmus(*arguments, "1")
    assert (nowhere.returncode, nowhere.stdout) == (2, "")
    assert "isthmus up" in nowhere.stderr
    unreachable = isthmus("token", "--user", ADA, "--url", "http://127.0.0.1:1")
    assert (unreachable.returncode, unreachable.stdout) == (1, "")
    assert "http://127.0.0.1:1 cannot be reached" in unreachable.stderr
    assert isthmus("token", "--user", ADA).returncode == 2
