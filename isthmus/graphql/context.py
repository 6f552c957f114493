"""What a resolver may use: the caller, the correlation id, the services and this request's loaders."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

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


class SharedContext:
    """What an execution for several subscribers may use (live.py): what all of them may see, and nothing about any one of them."""

    def __init__(self, services: Services, sight: Sight, position_wait_s: float) -> None:
        self.services = services
        self.sight = sight
        self.position_wait_s = position_wait_s
        self.renew_loaders()

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a message that is shared depends on nobody's {name}")

    def renew_loaders(self) -> None:
        """Before each message: nothing that was read for the one before it may answer for this one."""
        self.loaders = Loaders(self.services, self.sight)

    async def scale(self, asset: str) -> int:
        """With how many places amounts of that asset print."""
        return await self.services.read.assets.scale(asset)


@dataclass
class RequestContext:
    """`resume_after`: the place that the transport itself says a subscription is to go on behind."""

    caller: Caller
    correlation_id: str
    services: Services
    prepared: Prepared
    position_wait_s: float
    resume_after: int | None = None
    loaders: Loaders = field(init=False)

    def __post_init__(self) -> None:
        self.loaders = Loaders(self.services, self.sight)

    @property
    def sight(self) -> Sight:
        may = self.caller.may
        return Sight(self.caller.person_id, all_accounts=may(Scope.OPERATE), all_trails=may(Scope.AUDIT))

    async def scale(self, asset: str) -> int:
        """With how many places amounts of that asset print."""
        return await self.services.read.assets.scale(asset)
