"""Institutions: searched by name, as people write it, over what the providers told when they were asked last."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg
import msgspec

from isthmus.domain.institutions import Institution, plain_name
from isthmus.read_models.database import ACQUIRE_TIMEOUT_S

#: Names further away than this are no answers.
_DISTANCE_MAX = 0.75
_ROW = """
select i.id, i.name, i.countries, i.logo_url, i.capabilities,
    (select json_object_agg(p.provider, p.reference) from institution_providers p where p.institution_id = i.id)::text as providers"""
_BY_NAME = f"""{_ROW} from institutions i where $1 = any(i.countries)
    and ($2::text is null or (i.plain_name, i.id) > (select a.plain_name, a.id from institutions a where a.id = $2))
order by i.plain_name, i.id limit $3"""
# The nearest come out of the index in their order; only those of the same distance are sorted.
_NEAREST = f"""{_ROW} from (
    select *, plain_name <->> $4 as distance from institutions where $1 = any(countries) order by plain_name <->> $4, id limit 500
) i where i.distance <= {_DISTANCE_MAX}
    and ($2::text is null or (i.distance, i.id) > (select a.plain_name <->> $4, a.id from institutions a where a.id = $2))
order by i.distance, i.id limit $3"""


class InstitutionReader:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def page(
        self, country: str, search: str | None, first: int, after: str | None
    ) -> tuple[list[Institution], bool]:
        """By name, or the nearest to what is sought first (500 at most), behind the institution `after`; and whether there are more."""
        sought = plain_name(search) if search else ""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            if sought:
                rows = await connection.fetch(_NEAREST, country, after, first + 1, sought)
            else:
                rows = await connection.fetch(_BY_NAME, country, after, first + 1)
        return [_institution(row) for row in rows[:first]], len(rows) > first

    async def load_many(self, keys: Sequence[str]) -> list[Institution | None]:
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            rows = await connection.fetch(f"{_ROW} from institutions i where i.id = any($1::text[])", list(keys))
        found = {row["id"]: _institution(row) for row in rows}
        return [found.get(key) for key in keys]


def _institution(row: asyncpg.Record) -> Institution:
    providers = msgspec.json.decode(row["providers"] or "{}", type=dict[str, str])
    return Institution(
        row["id"], row["name"], tuple(row["countries"]), providers, row["logo_url"], tuple(row["capabilities"])
    )
