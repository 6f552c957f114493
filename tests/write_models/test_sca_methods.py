"""How a person is asked who has an authenticator app: by it, unless they wish otherwise, and as long as it can be read."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

from isthmus.domain.personal import PersonalText
from isthmus.domain.refusals import ScaMethodUnavailable
from isthmus.domain.sca import Method
from isthmus.domain.sca_apps import BeginApp
from isthmus.domain.step_up import Asked
from isthmus.runtime.wiring import WriteSide
from isthmus.write_models.sca_methods import method_of
from tests.write_models.driver import Driver


async def test_an_app_is_asked_for_its_code_and_of_one_of_before_an_erasure_nothing_lives_again(
    side: WriteSide, ledger: Driver
) -> None:
    person, app, ends = uuid4(), uuid4(), side.clock.now() + timedelta(minutes=10)
    await ledger.done(BeginApp(app, person, PersonalText("A"), Asked(uuid4(), Method.ONE_TIME_CODE, ends), ends))
    async with side.pool.acquire() as connection:
        assert await method_of(connection, person, None) is Method.ONE_TIME_CODE, "it is not enrolled yet"
        await connection.execute("update sca_apps set state = 'ENROLLED' where id = $1", app)

        for wished, method in ((None, Method.TOTP), (Method.TOTP, Method.TOTP), (Method.ONE_TIME_CODE,) * 2):
            assert await method_of(connection, person, wished) is method
        assert isinstance(await method_of(connection, person, Method.DEVICE), ScaMethodUnavailable)

        await connection.execute(
            "update person_keys set created_at = now() + interval '1 day' where person_id = $1", person
        )
        assert await method_of(connection, person, None) is Method.ONE_TIME_CODE
        assert isinstance(await method_of(connection, person, Method.TOTP), ScaMethodUnavailable)
