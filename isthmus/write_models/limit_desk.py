"""Where people change their own limits: what a person wishes, put together into a command."""

from __future__ import annotations

from uuid import UUID

from isthmus.domain.compliance import Compliance, Limits
from isthmus.domain.personal_limits import ChangeLimit, limit_id_of
from isthmus.domain.refusals import Refusal
from isthmus.domain.sca import Method
from isthmus.write_models.commands import CommandBus, Envelope, Outcome, Refused
from isthmus.write_models.sca_desk import ScaDesk


class LimitDesk:
    def __init__(self, commands: CommandBus, sca: ScaDesk, compliance: Compliance) -> None:
        self._commands = commands
        self._sca = sca
        self._compliance = compliance

    def ceiling(self, asset: str) -> Limits:
        """What the platform lets anybody pay."""
        return self._compliance.limits(asset)

    async def change(
        self, person: UUID, asset: str, limits: Limits, method: Method | None, envelope: Envelope
    ) -> Outcome:
        """`method`: how they wish to be asked, where that is needed."""
        asked = await self._sca.ask(person, method, envelope)
        if isinstance(asked, Refusal):
            return Refused(asked, 0)
        wish = ChangeLimit(limit_id_of(person, asset), person, asset, limits, self.ceiling(asset), asked)
        return await self._commands.run(wish, envelope)
