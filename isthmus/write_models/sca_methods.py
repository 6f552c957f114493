"""How a person is asked: by a device where there is one, else by an app where there is one, else by a code that is sent; unless they
wish otherwise and have it.
"""

from __future__ import annotations

from uuid import UUID

from isthmus.domain.refusals import Refusal, ScaMethodUnavailable
from isthmus.domain.sca import Method
from isthmus.write_models.connection import Connection
from isthmus.write_models.sca_apps import enrolled_app
from isthmus.write_models.sca_devices import credentials_of


async def method_of(
    connection: Connection, person: UUID, wished: Method | None, *, devices: bool = True
) -> Method | Refusal:
    """`devices`: whether any can be asked here. One that was enrolled when they could is of no use where they cannot any more."""
    if wished is Method.ONE_TIME_CODE:
        return wished
    if devices and wished is not Method.TOTP and await credentials_of(connection, person):
        return Method.DEVICE
    if wished is not Method.DEVICE and await enrolled_app(connection, person) is not None:
        return Method.TOTP
    if wished is not None:
        what = "app" if wished is Method.TOTP else "device"
        return ScaMethodUnavailable(f"You have no {what} that could be asked.", ("input", "method"))
    return Method.ONE_TIME_CODE
