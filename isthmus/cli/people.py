"""`isthmus token` and `isthmus credit`: what is done for one person."""

from __future__ import annotations

import asyncio
import json as json_module
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, NoReturn
from uuid import uuid4

import typer

if TYPE_CHECKING:
    from isthmus.settings import Settings

JSON = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]
VISIBLE_WITHIN_S = 10.0
_PROVIDER = "operator"
_AMOUNT = re.compile(r"[0-9]{1,100}(?:\.[0-9]{1,100})?")


def token(
    user: Annotated[str, typer.Option(metavar="EMAIL", help="Who signs in.")],
    url: Annotated[
        str | None,
        typer.Option(metavar="BASE", help="The API, with or without /graphql; without it, the running `up`'s."),
    ] = None,
    password: Annotated[str | None, typer.Option(help="Without it, the demo users' password.")] = None,
    json: JSON = False,
    refresh_token: Annotated[
        bool, typer.Option("--refresh-token", help="Give the refresh token too, on the line before the last.")
    ] = False,
) -> None:
    """Sign in as a user, the way an app does (authorization code with PKCE), and print the access token.

    The token is the whole last line of standard output; progress goes to standard error.

    Example: curl -H "Authorization: Bearer $(isthmus token --user ada@example.com --url http://127.0.0.1:8000 | tail -1)" ...
    """
    from isthmus.auth.sign_in import SignInFailed, sign_in

    base = url or _running_api()
    if password is None:
        from isthmus.auth.provider.users import DEMO_PASSWORD

        password = DEMO_PASSWORD
    typer.echo(f"signing in at {base} ...", err=True)
    try:
        tokens = asyncio.run(sign_in(base, user, password))
    except SignInFailed as failure:
        _fail(f"cannot sign in: {failure}")
    told = f" (for {tokens.expires_in} s)" if tokens.expires_in else ""
    typer.echo(f"signed in; scopes: {tokens.scope}{told}", err=True)
    if json:
        answer: dict[str, Any] = {
            "access_token": tokens.access_token,
            "token_type": "Bearer",
            "expires_in": tokens.expires_in,
            "scope": tokens.scope,
        }
        if refresh_token:
            answer["refresh_token"] = tokens.refresh_token
        typer.echo(json_module.dumps(answer))
        return
    if refresh_token:
        if tokens.refresh_token is None:
            _fail("the issuer gave no refresh token")
        typer.echo(tokens.refresh_token)
    typer.echo(tokens.access_token)


def _running_api() -> str:
    from isthmus.runtime.endpoints import resolve
    from isthmus.settings import load_settings

    base = resolve(load_settings(), need=()).api_url
    if not base:
        raise typer.BadParameter("no `isthmus up` runs here, so say where the API is", param_hint="--url")
    return base


def credit(
    user: Annotated[str, typer.Option(metavar="EMAIL", help="Whose account it is.")],
    account: Annotated[str, typer.Option(metavar="ID", help="The account, as GraphQL gives its id.")],
    amount: Annotated[str, typer.Option(metavar="A", help='In the account\'s asset, as in "87.66".')],
    reference: Annotated[
        str, typer.Option(metavar="R", help="Names the deposit: with the same one it is booked once.")
    ],
    json: JSON = False,
) -> None:
    """Settle a deposit into a user's account, as an operator. Returns once queries and subscriptions show it.

    Run again with the same reference it books nothing and says so.

    Example: isthmus credit --user ada@example.com --account "$ID" --amount 100.00 --reference "wire 4711"
    """
    from isthmus.runtime.telemetry import configure_logging
    from isthmus.settings import load_settings

    if not _AMOUNT.fullmatch(amount):
        raise typer.BadParameter('plain digits with an optional point, as in "87.66"', param_hint="--amount")
    settings = load_settings()
    configure_logging(settings, "cli")
    try:
        credited = asyncio.run(_credit(settings, user, account, Decimal(amount), reference))
    except _Refused as refusal:
        _fail(str(refusal))
    if json:
        typer.echo(
            json_module.dumps(
                {
                    "position": str(credited.position),
                    "balance": credited.balance,
                    "asset": credited.asset,
                    "replayed": credited.replayed,
                    "visible": credited.visible,
                }
            )
        )
    else:
        done = "booked before with this reference; nothing was booked now" if credited.replayed else "booked"
        typer.echo(f"{done}\nposition {credited.position}\nbalance {credited.balance} {credited.asset}")
    if not credited.visible:
        _fail(f"booked, but queries do not show it after {VISIBLE_WITHIN_S:.0f} s; does `isthmus work` run?")


class _Refused(Exception):
    """A sentence for the operator."""


@dataclass(frozen=True)
class _Credited:
    position: int
    balance: str
    asset: str
    replayed: bool
    visible: bool


async def _credit(settings: Settings, user: str, account: str, amount: Decimal, reference: str) -> _Credited:
    from isthmus.auth.provider.users import find_subject, login_key
    from isthmus.domain.deposits import SettleDeposit
    from isthmus.domain.identifiers import person_id
    from isthmus.domain.money import printed, text_of
    from isthmus.domain.personal import PersonalText
    from isthmus.domain.validation import asset_fault, first_fault, money_fault, reference_fault
    from isthmus.graphql.ids import account_key
    from isthmus.runtime.endpoints import resolve
    from isthmus.runtime.moved_clock import running_clock
    from isthmus.runtime.wiring import write_side
    from isthmus.write_models.commands import PLATFORM, Envelope, Refused, Unavailable

    endpoints = resolve(settings, need=["database"])
    account_id = account_key(account)
    clock = running_clock(settings.data_dir, endpoints.database_url)
    async with write_side(settings, endpoints.database_url, clock) as side:
        async with side.pool.acquire() as connection:
            subject = await find_subject(connection, login_key(side.master_key), user)
            row = await connection.fetchrow("select asset, owner from accounts where id = $1", account_id)
        if subject is None:
            raise _Refused("nobody signs in here with that e-mail address")
        owner = person_id(settings.issuer.name, subject)
        if row is None or row["owner"] != owner:
            raise _Refused(f"{user} has no account with that id")
        code: str = row["asset"]
        asset = side.commands.assets.get(code)
        fault = first_fault(
            asset_fault(code, asset, ()) if asset is None else money_fault(amount, asset, ()),
            reference_fault(reference, required=True),
        )
        if fault is not None or asset is None:
            raise _Refused(_sentence(fault.message if fault is not None else code))
        envelope = Envelope(
            actor="service:operator-cli",
            person=PLATFORM,
            mutation="settleDeposit",
            idempotency_key=reference,
            # The same as the mutation's, so that a deposit settled there is known here.
            body={"accountId": account, "amount": {"amount": text_of(amount), "asset": code}, "reference": reference},
            correlation_id=str(uuid4()),
        )
        deposit = SettleDeposit(uuid4(), account_id, owner, amount, code, _PROVIDER, PersonalText(reference))
        try:
            outcome = await side.commands.run(deposit, envelope)
        except Unavailable as failure:
            raise _Refused(f"{failure}; run it again with the same reference, which books it once") from None
        if isinstance(outcome, Refused):
            raise _Refused(_sentence(outcome.refusal.message))
        async with side.pool.acquire() as connection:
            visible = await _visible(connection, outcome.position)
            posted = await connection.fetchval("select posted from account_balances where account_id = $1", account_id)
    return _Credited(outcome.position, printed(posted, asset.scale), code, outcome.replayed, visible)


async def _visible(connection: Any, position: int) -> bool:
    """Whether every projection has come that far, in the time that there is."""
    loop = asyncio.get_running_loop()
    until = loop.time() + VISIBLE_WITHIN_S
    while True:
        projected = await connection.fetchval("select min(position) from read_models.projection_positions")
        if projected is not None and projected >= position:
            return True
        if loop.time() >= until:
            return False
        await asyncio.sleep(0.02)


def _sentence(message: str) -> str:
    """Refusals are written as sentences; ours begin in small letters and have no full stop."""
    return f"refused: {message.removesuffix('.')}"


def _fail(sentence: str) -> NoReturn:
    typer.echo(f"isthmus: {sentence}", err=True)
    raise typer.Exit(1)
