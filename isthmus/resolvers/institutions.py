"""Institutions: where a bank can be linked."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import strawberry
from strawberry import UNSET

from isthmus.domain.institutions import Institution as Row
from isthmus.graphql.connections import (
    AFTER,
    FIRST,
    FIRST_DEFAULT,
    Edge,
    PageInfo,
    named_cursor,
    named_position,
    page_info,
    page_size,
)
from isthmus.graphql.context import AppInfo
from isthmus.graphql.errors import BadUserInput
from isthmus.graphql.scalars import CountryCode

_CURSOR = "institution"
#: Longest name that is sought.
_SEARCH_MAX = 100


@strawberry.enum(description="Who speaks for banks.")
class BankProviderName(Enum):
    PLAID = strawberry.enum_value("plaid", description="Plaid.")
    TRUELAYER = strawberry.enum_value("truelayer", description="TrueLayer.")
    YAPILY = strawberry.enum_value("yapily", description="Yapily.")
    GOCARDLESS = strawberry.enum_value("gocardless", description="GoCardless Bank Account Data.")
    OTHER = strawberry.enum_value("other", description="One that was added after this schema was made.")

    @classmethod
    def _missing_(cls, value: object) -> BankProviderName | None:
        return cls.OTHER if isinstance(value, str) else None


@strawberry.enum(description="What can be done with accounts at an institution.")
class InstitutionCapability(Enum):
    ACCOUNTS = strawberry.enum_value("ACCOUNTS", description="See accounts and balances.")
    TRANSACTIONS = strawberry.enum_value("TRANSACTIONS", description="See transactions.")
    PAYMENTS = strawberry.enum_value("PAYMENTS", description="Pay from them.")


@strawberry.type(description="A bank, or another place where accounts are held.")
class Institution:
    id: strawberry.ID = strawberry.field(description="Ours; the same whichever provider speaks for it.")
    name: str = strawberry.field(description="What it is called.")
    countries: list[CountryCode] = strawberry.field(description="Where it is, as ISO 3166 has it.")
    providers: list[BankProviderName] = strawberry.field(description="Who speaks for it.")
    logo_url: str | None = strawberry.field(description="Its logo, where one is known.")
    capabilities: list[InstitutionCapability] = strawberry.field(description="What can be done there.")


@strawberry.type(description="A page of institutions.")
class InstitutionConnection:
    edges: list[Edge[Institution]] = strawberry.field(description="The institutions of this page.")
    page_info: PageInfo = strawberry.field(description="Where the page lies in the whole list.")


def institution_of(row: Row) -> Institution:
    return Institution(
        id=strawberry.ID(row.institution_id),
        name=row.name,
        countries=[CountryCode(country) for country in row.countries],
        providers=[BankProviderName(name) for name in sorted(row.providers)],
        logo_url=row.logo_url,
        capabilities=[InstitutionCapability(name) for name in row.capabilities],
    )


@strawberry.type
class InstitutionQueries:
    @strawberry.field(description="Where a bank can be linked: by name, or those nearest to what is sought first.")
    async def institutions(
        self,
        info: AppInfo,
        country: Annotated[CountryCode, strawberry.argument(description="Where, as ISO 3166 has it: GB, DE, US.")],
        search: Annotated[
            str | None, strawberry.argument(description="A name, or what is remembered of it; 100 characters at most.")
        ] = UNSET,
        first: Annotated[int, strawberry.argument(description=FIRST)] = FIRST_DEFAULT,
        after: Annotated[str | None, strawberry.argument(description=AFTER)] = UNSET,
    ) -> InstitutionConnection:
        if search and len(search) > _SEARCH_MAX:
            raise BadUserInput(f"search: at most {_SEARCH_MAX} characters.")
        size, behind = page_size(first), named_position(_CURSOR, after or None)
        rows, more = await info.context.services.read.institutions.page(country, search or None, size, behind)
        edges = [Edge(node=institution_of(row), cursor=named_cursor(_CURSOR, row.institution_id)) for row in rows]
        return InstitutionConnection(
            edges=edges, page_info=page_info([edge.cursor for edge in edges], more=more, after=after or None)
        )
