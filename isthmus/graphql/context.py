"""What a resolver may use: the caller, the correlation id, the services and this request's loaders."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import strawberry

from isthmus.auth.caller import Caller
from isthmus.auth.scopes import Scope
from isthmus.graphql.documents import Prepared
from isthmus.graphql.loaders import Loaders
from isthmus.graphql.services import Services
from isthmus.read_models.database import Sight

if TYPE_CHECKING:
    AppInfo = strawberry.Info["RequestContext", None]
else:
    AppInfo = strawberry.Info


@dataclass
class RequestContext:
    caller: Caller
    correlation_id: str
    services: Services
    prepared: Prepared
    position_wait_s: float
    loaders: Loaders = field(init=False)

    def __post_init__(self) -> None:
        self.renew_loaders()

    def renew_loaders(self) -> None:
        """Before each event of a subscription: nothing that was read for the one before it may answer for this one."""
        self.loaders = Loaders(self.services, self.sight)

    @property
    def sight(self) -> Sight:
        may = self.caller.may
        return Sight(self.caller.person_id, all_accounts=may(Scope.OPERATE), all_trails=may(Scope.AUDIT))

    async def scale(self, asset: str) -> int:
        """With how many places amounts of that asset print."""
        return await self.services.read.assets.scale(asset)
