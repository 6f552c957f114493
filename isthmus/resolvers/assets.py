"""The registry of assets."""

from __future__ import annotations

from enum import Enum

import strawberry

from isthmus.graphql.context import AppInfo
from isthmus.graphql.scalars import AssetCode


@strawberry.enum(description="What an asset is.")
class AssetKind(Enum):
    FIAT = strawberry.enum_value("FIAT", description="A currency of a state.")
    CRYPTO = strawberry.enum_value("CRYPTO", description="A coin or token on a chain.")


@strawberry.type(description="Something that an account may hold.")
class Asset:
    code: AssetCode = strawberry.field(description="ISO 4217 code or crypto symbol.")
    kind: AssetKind = strawberry.field(description="What it is.")
    name: str = strawberry.field(description="Its name in English.")
    scale: int = strawberry.field(description="Decimal places that an amount of it may have, and always prints.")


@strawberry.type
class AssetQueries:
    @strawberry.field(description="Everything that may be held here, by code.")
    async def assets(self, info: AppInfo) -> list[Asset]:
        return [
            Asset(code=AssetCode(asset.code), kind=AssetKind(asset.kind.value), name=asset.name, scale=asset.scale)
            for asset in await info.context.services.read.assets.enabled()
        ]
