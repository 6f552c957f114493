"""The sandbox as an ASGI application: each provider under a path of its own, the banks' pages, and what it is told itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from isthmus.sandbox.answers import World
from isthmus.sandbox.bank_pages import BankPages
from isthmus.sandbox.book import Book
from isthmus.sandbox.clock import Clock, read_iso
from isthmus.sandbox.control import Control
from isthmus.sandbox.gocardless import GoCardless
from isthmus.sandbox.gocardless_data import GoCardlessData
from isthmus.sandbox.misbehaviour import Misbehaviour
from isthmus.sandbox.onesignal import OneSignal
from isthmus.sandbox.plaid import Plaid
from isthmus.sandbox.plaid_link import PlaidLink
from isthmus.sandbox.seeding import HISTORY_DAYS, Seeding
from isthmus.sandbox.truelayer_auth import TrueLayerAuth
from isthmus.sandbox.truelayer_data import TrueLayerData
from isthmus.sandbox.truelayer_door import TrueLayerDoor
from isthmus.sandbox.truelayer_merchant import TrueLayerMerchant
from isthmus.sandbox.truelayer_pay_ins import TrueLayerPayIns
from isthmus.sandbox.truelayer_payments import TrueLayerPayments
from isthmus.sandbox.truelayer_payouts import TrueLayerPayouts
from isthmus.sandbox.truelayer_verification import TrueLayerVerification
from isthmus.sandbox.truelayer_webhooks import TrueLayerWebhooks
from isthmus.sandbox.webhooks import Webhooks
from isthmus.sandbox.yapily_consents import YapilyConsents
from isthmus.sandbox.yapily_data import YapilyData
from isthmus.sandbox.yapily_payments import YapilyPayments
from isthmus.sandbox.yapily_sca import YapilySca
from isthmus.sandbox.yapily_webhooks import YapilyWebhooks

_TICK_S = 0.25


def create_sandbox_app(
    book_file: Path | str,
    *,
    seed: int,
    public_url: str,
    redirect_uris: frozenset[str] = frozenset(),
    webhook_url: str = "",
    history_days: int = HISTORY_DAYS,
) -> Misbehaviour:
    """`book_file` is made where it is not there yet; an older one goes on with the seed that it began with."""
    book = Book(book_file)
    seeding = Seeding(book, int(book.fact("seed") or seed), history_days)
    world = World(book, Clock(book), seeding, Webhooks(), public_url, webhook_url)
    seeding.begin(world.clock.now())
    pages, control, plaid = BankPages(world), Control(world), Plaid(world)
    link = PlaidLink(world, plaid, pages)
    auth = TrueLayerAuth(world, pages, redirect_uris)
    truelayer_webhooks, yapily_webhooks = TrueLayerWebhooks(world), YapilyWebhooks(world)
    door = TrueLayerDoor(world, auth, "/truelayer/api")
    merchant = TrueLayerMerchant(world, door)
    pay_ins = TrueLayerPayIns(world, truelayer_webhooks, merchant)
    payouts = TrueLayerPayouts(world, door, truelayer_webhooks, merchant)
    payments = TrueLayerPayments(world, pages, door, truelayer_webhooks, merchant, redirect_uris)
    consents = YapilyConsents(world, pages, redirect_uris, yapily_webhooks)
    yapily_payments, sca = YapilyPayments(world, consents, yapily_webhooks), YapilySca(world, consents)
    yapily = (consents, YapilyData(world, consents), yapily_payments, sca, yapily_webhooks)
    gocardless = GoCardless(world, pages, redirect_uris)
    control.actions = {
        "gocardless.forget_tokens": lambda _: gocardless.forget_tokens(),
        "gocardless.status": lambda told: gocardless.set_status(told["requisition"], told["status"]),
        "plaid.needs_login": lambda told: plaid.items.needs_login(told["item_id"]),
        "plaid.expires": lambda told: plaid.items.expires_at(told["item_id"], read_iso(told["at"])),
        "plaid.revoked": lambda told: plaid.items.revoked(told["item_id"]),
        "plaid.payment_status": lambda told: plaid.payments.told(told["payment"], told["status"]),
        "plaid.rotate_key": lambda _: plaid.keys.rotate(),
        "truelayer.forget_tokens": lambda _: auth.forget_tokens(),
        "truelayer.signing_key": lambda told: door.add_key(told["kid"], told["public_key"]),
        "truelayer.payment": lambda told: payments.told(
            told["payment"], told["status"], told.get("reason", "provider_rejected")
        ),
        "truelayer.payout": lambda told: payouts.told(
            told["payout"], told["status"], told.get("reason", "unknown_error")
        ),
        "truelayer.payouts": lambda told: payouts.made(int(told["amount_in_minor"])),
        "truelayer.external_payment": pay_ins.receive,
        "truelayer.payout_behind": lambda told: merchant.behind(told["currency"], int(told["amount_in_minor"])),
        "truelayer.amend_movement": lambda told: merchant.amend(told["movement"], int(told["amount_in_minor"])),
        "truelayer.drop_movement": lambda told: merchant.drop(told["movement"]),
        "truelayer.rotate_key": lambda _: truelayer_webhooks.rotate(),
        "truelayer.revoked": lambda told: auth.revoked(told["credentials_id"]),
        "yapily.decoupled": lambda told: sca.decoupled(told["consent"], told["username"], approves=told["approves"]),
        "yapily.payment_status": lambda told: yapily_payments.told(told["payment"], told["status"], told.get("iso")),
        "yapily.status": lambda told: consents.set_status(told["consent"], told["status"]),
    }

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        world.webhooks.start()
        world.catch_up()
        ticking = asyncio.create_task(_tick(world))
        yield
        ticking.cancel()
        await world.webhooks.aclose()
        book.close()

    app = Starlette(
        routes=[
            Route("/livez", _alive),
            *control.routes,
            *pages.routes,
            *link.routes,
            Mount("/plaid", routes=plaid.routes),
            *truelayer_webhooks.routes,
            *OneSignal(world).routes,
            Mount("/truelayer/auth", routes=auth.routes),
            Mount(
                "/truelayer/api",
                routes=[
                    *TrueLayerData(world, auth).routes,
                    *payments.routes,
                    *payouts.routes,
                    *merchant.routes,
                    *TrueLayerVerification(world, auth).routes,
                ],
            ),
            Mount("/gocardless", routes=[*gocardless.routes, *GoCardlessData(world, gocardless).routes]),
            Mount("/yapily", routes=[each for part in yapily for each in part.routes]),
        ],
        lifespan=lifespan,
    )
    app.state.world = world
    wrapped = Misbehaviour(app)
    control.misbehaviour = wrapped
    return wrapped


async def _tick(world: World) -> None:
    """What falls due happens without anybody asking: a payment is executed, and a webhook says so."""
    while True:
        await asyncio.sleep(_TICK_S)
        world.run_due()


async def _alive(_: Request) -> Response:
    return Response("ok", media_type="text/plain")
