"""Puts payments together: the desk for `serve`, what carries payments on and tells people for `work`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal

import httpx
import structlog
from redis.asyncio import Redis

from isthmus.auth.webauthn import WebAuthn
from isthmus.domain import own_accounts
from isthmus.domain.authenticators import Authenticators
from isthmus.domain.bank_payments import BankPayments
from isthmus.domain.exemptions import NO_EXEMPTIONS, ExemptionRules
from isthmus.domain.identifiers import uuid7_source
from isthmus.domain.notifications import Message, Notifier, Undeliverable
from isthmus.domain.paying import Payouts
from isthmus.integrations.banking.calls import Calls, Manners
from isthmus.integrations.banking.outside import Outside
from isthmus.integrations.banking.signing import truelayer_signer
from isthmus.integrations.notifications.onesignal import OneSignal
from isthmus.integrations.payments import plaid_payments, yapily_payments
from isthmus.integrations.payments.truelayer_api import TrueLayerApi
from isthmus.integrations.payments.truelayer_payments import TrueLayerPayments
from isthmus.integrations.payments.truelayer_payouts import TrueLayerPayouts
from isthmus.integrations.screening.files import exemption_rules, limit_table, sanctions_list
from isthmus.integrations.screening.rules import ListedCompliance
from isthmus.integrations.screening.velocity import RedisVelocity
from isthmus.integrations.secrets.certificates import CertificateError
from isthmus.integrations.secrets.sealed_keys import SealedKeys
from isthmus.runtime.wiring import WriteSide
from isthmus.settings import Settings
from isthmus.write_models.app_desk import AppDesk
from isthmus.write_models.bank_paying import BankPaying
from isthmus.write_models.batch_desk import BatchDesk
from isthmus.write_models.code_delivery import CodeDelivery
from isthmus.write_models.device_desk import DeviceDesk
from isthmus.write_models.limit_desk import LimitDesk
from isthmus.write_models.one_time_codes import OneTimeCodes
from isthmus.write_models.parked_desk import ParkedDesk
from isthmus.write_models.payee_desk import PayeeDesk
from isthmus.write_models.payment_desk import PaymentDesk
from isthmus.write_models.sagas.bank_payments import BankPaymentSaga
from isthmus.write_models.sagas.payments import PaymentSaga
from isthmus.write_models.sca_desk import ScaDesk

#: Who pays from the platform's money.
_PAYOUTS = "truelayer"
#: Who has people's banks pay, beside TrueLayer.
_AT_BANKS = {plaid_payments.NAME: plaid_payments.made, yapily_payments.NAME: yapily_payments.made}

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Paying:
    saga: PaymentSaga
    codes: CodeDelivery


class Nobody:
    """Where no one carries notifications: what was to be told is told to nobody, and that is seen."""

    async def send(self, message: Message) -> None:  # noqa: ARG002 - as the port has it
        raise Undeliverable("nobody carries notifications: set ISTHMUS_NOTIFICATIONS__ONESIGNAL_APP_ID", again=False)


@asynccontextmanager
async def bank_paying(settings: Settings, side: WriteSide) -> AsyncIterator[BankPaying]:
    """What pays from people's own banks, for `serve`: where the key that payments are signed with cannot be used nothing is, and the rest
    of the product is there."""
    async with httpx.AsyncClient(timeout=settings.banking.deadline_s, trust_env=False) as http:
        try:
            providers = bank_payments_of(settings, side, http)
        except CertificateError as error:
            log.error("nothing can be paid from people's banks", why=str(error))
            providers = {}
        yield _at_banks(settings, side, providers)


def _at_banks(settings: Settings, side: WriteSide, providers: dict[str, BankPayments]) -> BankPaying:
    told = settings.banking
    back = told.payment_return_uri or next(iter(told.redirect_uris), None)
    return BankPaying(
        side.pool,
        side.commands,
        side.texts,
        side.links,
        providers,
        side.clock,
        uuid7_source(side.clock.now),
        back,
        key_secret=side.master_key.derive("bank payment states"),
    )


def payment_desk(
    settings: Settings, side: WriteSide, redis: Redis, banks: BankPaying, payees: PayeeDesk | None = None
) -> PaymentDesk:
    """Raises SettingsError where what is screened against cannot be read."""
    ids, compliance, exemptions = uuid7_source(side.clock.now), _compliance(settings), _exemptions(settings)
    return PaymentDesk(
        side.pool,
        side.commands,
        side.texts,
        side.clock,
        ids,
        _PAYOUTS,
        compliance,
        RedisVelocity(redis),
        exemptions,
        payees,
        banks,
        settings.sca.rp_name,
        devices=settings.sca.rp_id is not None,
    )


def transfer_above(settings: Settings) -> Mapping[str, Decimal]:
    """Most that a transfer moves to another person unasked, by asset; 0 where there is none. Raises SettingsError."""
    return {**_exemptions(settings).transfer_above, **settings.sca.transfer_above}


def _exemptions(settings: Settings) -> ExemptionRules:
    told = settings.compliance
    return exemption_rules(told.exemptions, told.profile) if told.exempt else NO_EXEMPTIONS


@asynccontextmanager
async def parked_desk(settings: Settings, side: WriteSide, banks: BankPaying) -> AsyncIterator[ParkedDesk]:
    """Where operators look into payments, for `serve`: where payouts cannot be asked for, as in `bank_paying`, they decide without."""
    async with httpx.AsyncClient(timeout=settings.banking.deadline_s, trust_env=False) as http:
        try:
            payouts = _payouts(settings, side, http)
        except CertificateError as error:
            log.error("no payout can be looked up", why=str(error))
            payouts = {}
        ids = uuid7_source(side.clock.now)
        yield ParkedDesk(side.pool, side.commands, side.texts, payouts, banks, ids)


def limit_desk(settings: Settings, side: WriteSide, sca: ScaDesk) -> LimitDesk:
    """Raises SettingsError, as `payment_desk` does."""
    return LimitDesk(side.commands, sca, _compliance(settings))


def batch_desk(settings: Settings, side: WriteSide, sca: ScaDesk) -> BatchDesk:
    """Raises SettingsError, as `payment_desk` does."""
    ids = uuid7_source(side.clock.now)
    return BatchDesk(side.pool, side.commands, side.texts, sca, side.clock, ids, _PAYOUTS, _compliance(settings))


def _compliance(settings: Settings) -> ListedCompliance:
    told = settings.compliance
    return ListedCompliance(sanctions_list(told.sanctions_list), limit_table(told.limits, told.profile))


def sca_desk(settings: Settings, side: WriteSide, banks: BankPaying) -> ScaDesk:
    ids = uuid7_source(side.clock.now)
    return ScaDesk(
        side.pool, side.commands, _codes(side), _authenticators(settings), side.clock, ids, side.texts, banks
    )


def app_desk(settings: Settings, side: WriteSide, sca: ScaDesk) -> AppDesk:
    ids, issuer = uuid7_source(side.clock.now), settings.sca.rp_name
    return AppDesk(side.pool, side.commands, side.texts, sca, side.clock, ids, issuer)


def device_desk(settings: Settings, side: WriteSide) -> DeviceDesk:
    ids = uuid7_source(side.clock.now)
    secret = side.master_key.derive("device enrolments")
    return DeviceDesk(
        side.pool, side.commands, side.texts, _authenticators(settings), side.clock, ids, key_secret=secret
    )


def _authenticators(settings: Settings) -> Authenticators | None:
    told = settings.sca
    return None if told.rp_id is None else WebAuthn(told.rp_id, told.rp_name, told.origins)


@asynccontextmanager
async def paying(settings: Settings, side: WriteSide) -> AsyncIterator[Paying]:
    """Raises CertificateError where the key that payments are signed with cannot be used."""
    async with httpx.AsyncClient(timeout=settings.banking.deadline_s, trust_env=False) as http:
        ids = uuid7_source(side.clock.now)
        payouts = _payouts(settings, side, http)
        banks = _at_banks(settings, side, bank_payments_of(settings, side, http))
        bank_saga = BankPaymentSaga(side.pool, side.commands, banks, ids)
        saga = PaymentSaga(side.pool, side.commands, side.texts, payouts, side.clock, ids, bank_saga)
        carrier = notifier(settings, http, "onesignal", Manners(deadline_s=settings.banking.deadline_s))
        yield Paying(saga, CodeDelivery(side.pool, side.texts, _codes(side), carrier, side.commands.assets, side.clock))


def bank_payments_of(settings: Settings, side: WriteSide, http: httpx.AsyncClient) -> dict[str, BankPayments]:
    """Who has people's banks pay, by the name of the provider that speaks for the bank: those with credentials. Raises CertificateError."""
    made: dict[str, BankPayments] = {}
    api = _truelayer(settings, side, http, "truelayer_payments")
    if api is not None:
        made["truelayer"] = TrueLayerPayments(api, side.clock, settings.banking.truelayer_merchant_accounts)
    told = settings.banking
    for name, make in _AT_BANKS.items():
        calls = Calls(f"{name}_payments", Manners(deadline_s=told.deadline_s))
        provider = make(Outside(told, http, calls, side.clock))
        if provider is not None:
            made[name] = provider
    return made


def _payouts(settings: Settings, side: WriteSide, http: httpx.AsyncClient) -> dict[str, Payouts]:
    payouts = truelayer_payouts(settings, side, http)
    ours: dict[str, Payouts] = {own_accounts.HERE: own_accounts.OurBook()}
    return ours if payouts is None else ours | {_PAYOUTS: payouts}


def truelayer_payouts(settings: Settings, side: WriteSide, http: httpx.AsyncClient) -> TrueLayerPayouts | None:
    """None where TrueLayer is not set up."""
    api = _truelayer(settings, side, http, "truelayer_payouts")
    return None if api is None else TrueLayerPayouts(api, settings.banking.truelayer_merchant_accounts)


def _truelayer(settings: Settings, side: WriteSide, http: httpx.AsyncClient, calls: str) -> TrueLayerApi | None:
    """With a breaker of its own. None without credentials, or a key to sign with."""
    told = settings.banking
    signer = truelayer_signer(settings, SealedKeys(side.master_key), side.clock)
    if told.truelayer_client_id is None or told.truelayer_secret is None or signer is None:
        return None
    return TrueLayerApi(
        told.truelayer_auth_url,
        told.truelayer_data_url,
        told.truelayer_client_id,
        told.truelayer_secret.get_secret_value(),
        signer,
        http,
        Calls(calls, Manners(deadline_s=told.deadline_s)),
        side.clock,
    )


def notifier(settings: Settings, http: httpx.AsyncClient, name: str, manners: Manners) -> Notifier:
    """`name`: what its calls are counted by, whose failures are nobody else's."""
    told = settings.notifications
    if told.onesignal_app_id is None or told.onesignal_api_key is None:
        return Nobody()
    key = told.onesignal_api_key.get_secret_value()
    return OneSignal(told.onesignal_url, told.onesignal_app_id, key, http, Calls(name, manners))


def _codes(side: WriteSide) -> OneTimeCodes:
    return OneTimeCodes(side.master_key.derive("one-time codes"))
