"""Issue line 10: a catalogue of 10,000 institutions, searched as people write, in pages that hold while it is made anew."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import AsyncIterator

import asyncpg
import pytest

from isthmus.bench.report import percentile
from isthmus.domain.banking import ProviderInstitution
from isthmus.read_models import institutions
from isthmus.read_models.institutions import InstitutionReader
from isthmus.write_models.institutions import refresh
from tests.conftest import Database

_FIRST = (
    "Harbour",
    "Nordlicht",
    "Prairie",
    "Alpine",
    "Meridian",
    "Cobalt",
    "Juniper",
    "Old Mill",
    "Saint Brigid",
    "Granite",
)
_THEN = (
    "Mutual",
    "Savings",
    "Kreditbank",
    "Volksbank",
    "Building Society",
    "Credit Union",
    "Caisse",
    "Sparkasse",
    "Trust",
    "Bank",
)
_PLACES = [
    f"{place}{number}" for place in ("Aberdeen", "Bremen", "Calais", "Dresden", "Exeter") for number in range(20)
]
NAMED = (
    "Société Générale",
    "Österreichische Postsparkasse",
    "Сбербанк",
    "三菱UFJ銀行",
    "Banco Santander S.A.",
    "Crédit Agricole d'Île-de-France",
    "N26",
    "Țiriac Bank",
)


class Told:
    """A provider that tells of these."""

    name = "yapily"

    def __init__(self, names: list[str]) -> None:
        self.names = names

    async def institutions(self, country: str) -> AsyncIterator[ProviderInstitution]:
        for name in self.names:
            yield ProviderInstitution(
                f"ref {name}", name, (country,), f"https://logos.example/{len(name)}.png", ("ACCOUNTS",)
            )


def ten_thousand() -> list[str]:
    made = [f"{first} {then} {place}" for first, then, place in itertools.product(_FIRST, _THEN, _PLACES)]
    return [*made[: 10_000 - len(NAMED)], *NAMED]


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(database.url, min_size=1, max_size=3) as made:
        yield made


async def _known(pool: asyncpg.Pool, names: list[str]) -> InstitutionReader:
    provider: dict[str, Told] = {"yapily": Told(names)}
    assert await refresh(pool, provider, ("FR",)) == {"yapily": len(names)}  # type: ignore[arg-type]
    return InstitutionReader(pool)


async def test_ten_thousand_are_searched_by_an_index_in_milliseconds(
    pool: asyncpg.Pool, admin: asyncpg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ten_thousand()
    reader = await _known(pool, names)
    await admin.execute("analyze institutions")
    assert await admin.fetchval("select count(*) from institutions") == 10_000
    for name in NAMED:
        found, _ = await reader.page("FR", name, 5, None)
        assert found[0].name == name
    chance, took = random.Random(7), []
    for name in chance.sample(names, 200):
        letters = list(name)
        del letters[chance.randrange(len(letters))]  # a letter is forgotten
        begun = time.perf_counter()
        found, _ = await reader.page("FR", "".join(letters), 20, None)
        took.append((time.perf_counter() - begun) * 1e3)
        assert name in [one.name for one in found]
    p50, p99 = percentile(took, 50), percentile(took, 99)
    with capsys.disabled():
        print(f"\nsearch of 10,000 institutions: p50 {p50:.1f} ms, p99 {p99:.1f} ms")
    assert p50 < 100, "an order of magnitude more than it takes"

    for statement, values in (
        (institutions._NEAREST, ("FR", None, 21, "societe generale")),
        (institutions._BY_NAME, ("FR", None, 21)),
        (institutions._BY_NAME, ("FR", "n26-fr", 21)),
    ):
        plan = "\n".join(row[0] for row in await admin.fetch(f"explain {statement}", *values))
        assert "Seq Scan on institutions i" not in plan, plan
        assert "institutions_nearest" in plan or "institutions_by_name" in plan, plan


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("societe generale", "Société Générale"),
        ("SOCIÉTÉ GÉNÉRALE", "Société Générale"),
        ("sociéte generle", "Société Générale"),
        ("osterreichische postsparkase", "Österreichische Postsparkasse"),
        ("sberbank", "Сбербанк"),
        ("сбербанк", "Сбербанк"),
        ("Сбер", "Сбербанк"),
        ("三菱", "三菱UFJ銀行"),
        ("santander", "Banco Santander S.A."),
        ("sanatnder", "Banco Santander S.A."),
        ("credit agricole ile de france", "Crédit Agricole d'Île-de-France"),
        ("tiriac", "Țiriac Bank"),
        ("n 26", "N26"),
    ],
)
async def test_a_name_is_found_as_people_write_it(pool: asyncpg.Pool, written: str, meant: str) -> None:
    reader = await _known(pool, [*NAMED, "Harbour Bank", "Mutual of Exeter", "Savings Bank"])

    found, _ = await reader.page("FR", written, 3, None)

    assert found
    assert found[0].name == meant


async def test_what_is_like_nothing_finds_nothing_and_other_countries_are_others(pool: asyncpg.Pool) -> None:
    reader = await _known(pool, list(NAMED))

    assert await reader.page("FR", "zzzzzz qqqq", 3, None) == ([], False)
    assert await reader.page("SE", "societe generale", 3, None) == ([], False)


@pytest.mark.parametrize("search", [None, "bank aberdeen"])
async def test_pages_hold_while_the_catalogue_is_made_anew(pool: asyncpg.Pool, search: str | None) -> None:
    """Between any two pages a refresh adds institutions before and behind; whoever was there is seen once."""
    names = [f"{then} {place}" for then, place in itertools.product(_THEN[-4:], _PLACES[:20])]
    reader = await _known(pool, names)
    whole = [one.institution_id for one in (await reader.page("FR", search, 200, None))[0]]
    seen: list[str] = []
    after, more, turn = None, True, 0
    while more:
        page, more = await reader.page("FR", search, 7, after)
        seen += [one.institution_id for one in page]
        after = page[-1].institution_id
        turn += 1
        names += [f"A{turn} Bank Aberdeen", f"Zz{turn} Bank", f"{_THEN[turn % 10]} Bank Aberdeen{turn}"]
        await _known(pool, names)

    assert len(seen) == len(set(seen)), "nobody twice"
    assert [one for one in seen if one in set(whole)] == whole, "everybody, in their order"


class Named:
    """A provider with names of its own for institutions, told as (its name, what people call it)."""

    name = "plaid"

    def __init__(self, told: list[tuple[str, str]]) -> None:
        self.told = told

    async def institutions(self, country: str) -> AsyncIterator[ProviderInstitution]:
        for reference, name in self.told:
            yield ProviderInstitution(reference, name, (country,))


async def test_an_institution_keeps_its_id_when_it_is_called_otherwise_and_shares_it_with_none_that_is_called_alike(
    pool: asyncpg.Pool,
) -> None:
    async def told(*some: tuple[str, str]) -> dict[str, str]:
        provider: dict[str, Named] = {"plaid": Named(list(some))}
        await refresh(pool, provider, ("US",))  # type: ignore[arg-type]
        rows = await pool.fetch("select reference, institution_id from institution_providers where provider = 'plaid'")
        return {row["reference"]: row["institution_id"] for row in rows}

    before = await told(("ins_1", "First National Bank"), ("ins_2", "First National Bank"), ("ins_3", "Old Mill"))

    assert len(set(before.values())) == 3, "many banks have that name: nobody is to be sent to another's"
    assert (
        await told(("ins_3", "New Mill"), ("ins_2", "First National Bank"), ("ins_1", "First National Bank")) == before
    )
    found, _ = await InstitutionReader(pool).page("US", "new mill", 1, None)
    assert [(one.institution_id, one.name) for one in found] == [(before["ins_3"], "New Mill")]
