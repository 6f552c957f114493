"""How a person is asked: by a device where there is one, else by a code, unless they wish otherwise and have it."""

from __future__ import annotations

from uuid import UUID

from isthmus.domain.refusals import Refusal, ScaMethodUnavailable
from isthmus.domain.sca import Method
from isthmus.write_models.connection import Pool
from isthmus.write_models.sca_devices import credentials_of


async def method_for(pool: Pool, person: UUID, wished: Method | None) -> Method | Refusal:
    if wished is Method.ONE_TIME_CODE:
        return wished
    async with pool.acquire() as connection:
        signs = bool(await credentials_of(connection, person))
    if not signs and wished is not None:
        return ScaMethodUnavailable("You have no device that could be asked.", ("input", "method"))
    return Method.DEVICE if signs else Method.ONE_TIME_CODE
