"""How a person is asked to authorise something: by a device where there is one, else by a code."""

from __future__ import annotations

from uuid import UUID

from isthmus.domain import sca
from isthmus.domain.refusals import Refusal, ScaMethodUnavailable
from isthmus.write_models.connection import Connection
from isthmus.write_models.sca_devices import credentials_of


async def method_of(connection: Connection, person: UUID, wished: sca.Method | None) -> sca.Method | Refusal:
    if wished is sca.Method.ONE_TIME_CODE:
        return wished
    signs = bool(await credentials_of(connection, person))
    if not signs and wished is not None:
        return ScaMethodUnavailable("You have no device that could be asked.", ("input", "method"))
    return sca.Method.DEVICE if signs else sca.Method.ONE_TIME_CODE
