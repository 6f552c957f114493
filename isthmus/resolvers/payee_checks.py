"""What a person is told of a payee before they pay."""

from __future__ import annotations

from enum import Enum

import strawberry

from isthmus.domain import payee_checks as domain
from isthmus.graphql.context import AppInfo
from isthmus.read_models.payees import PayeeCheckRow
from isthmus.resolvers.payees import shown_account


@strawberry.enum(description="Whether an account is held in the name that was given, as its bank says.")
class PayeeMatch(Enum):
    MATCH = strawberry.enum_value("MATCH", description="It is.")
    CLOSE_MATCH = strawberry.enum_value("CLOSE_MATCH", description="The name is close to the holder's.")
    NO_MATCH = strawberry.enum_value("NO_MATCH", description="It is held in another name. One may pay all the same.")
    UNAVAILABLE = strawberry.enum_value("UNAVAILABLE", description="Nobody could say, or nobody said in time.")


@strawberry.enum(description="What looks odd about a payee.")
class PayeeWarning(Enum):
    LOOKS_LIKE_ANOTHER_PAYEE = strawberry.enum_value(
        "LOOKS_LIKE_ANOTHER_PAYEE",
        description="The name is nearly that of somebody the viewer paid before, at another account.",
    )
    NEW_ACCOUNT_FOR_KNOWN_PAYEE = strawberry.enum_value(
        "NEW_ACCOUNT_FOR_KNOWN_PAYEE", description="The viewer paid somebody of this name before, at another account."
    )
    MIXED_SCRIPTS = strawberry.enum_value(
        "MIXED_SCRIPTS", description="A word of the name has letters of several scripts, as nobody's has."
    )


@strawberry.type(description="Somebody the viewer paid before, or saved.")
class KnownPayee:
    name: str | None = strawberry.field(description="Their name; null once the viewer's personal data are erased.")
    account: str | None = strawberry.field(
        description="Their account; null once the viewer's personal data are erased."
    )


@strawberry.type(
    description="Confirmation of payee: what the bank says of name and account, and what looks odd beside those whom one paid before. It "
    "forbids nothing."
)
class PayeeCheck:
    row: strawberry.Private[PayeeCheckRow]
    sealed: strawberry.Private[bool]
    result: PayeeMatch = strawberry.field(description="What the bank says.")
    warning: str | None = strawberry.field(description="What it means, for people; null where the name is right.")
    warnings: list[PayeeWarning] = strawberry.field(description="What looks odd about the payee.")

    @strawberry.field(
        description="The name that the bank has, where it is close to the one that was given; null in every other case."
    )
    async def matched_name(self, info: AppInfo) -> str | None:
        return await self._open(info, self.row.matched_name)

    @strawberry.field(description="The payee that the first of `warnings` is about; null where there is none.")
    async def resembles(self, info: AppInfo) -> KnownPayee | None:
        if self.row.resembles_name is None:
            return None
        name, account = self.row.resembles_name, self.row.resembles_account
        return KnownPayee(name=await self._open(info, name), account=shown_account(await self._open(info, account)))

    async def _open(self, info: AppInfo, text: str | None) -> str | None:
        if text is None or not self.sealed:
            return text
        return await info.context.loaders.texts.load(text)


def check_of(row: PayeeCheckRow, *, sealed: bool) -> PayeeCheck:
    return PayeeCheck(
        row=row,
        sealed=sealed,
        result=PayeeMatch(row.result),
        warning=domain.advice(domain.PayeeMatch(row.result)),
        warnings=[PayeeWarning(one) for one in row.warnings],
    )


def told_of(checked: domain.CheckedPayee) -> PayeeCheck:
    known = checked.flagged.resembles
    row = PayeeCheckRow(
        checked.answer.match,
        checked.answer.holder,
        checked.flagged.warnings,
        None if known is None else known.name,
        None if known is None else known.account,
    )
    return check_of(row, sealed=False)
