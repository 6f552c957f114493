"""Every reader of `serve`."""

from __future__ import annotations

import asyncpg

from isthmus.graphql.services import Readers
from isthmus.read_models.accounts import AccountReader
from isthmus.read_models.api_keys import ApiKeyReader
from isthmus.read_models.assets import AssetRegistry
from isthmus.read_models.audit import AuditReader
from isthmus.read_models.balances import BalanceReader
from isthmus.read_models.bank_accounts import BankAccountReader
from isthmus.read_models.bank_transactions import BankTransactionReader
from isthmus.read_models.consents import ConsentReader
from isthmus.read_models.institutions import InstitutionReader
from isthmus.read_models.journals import JournalReader
from isthmus.read_models.log import LogReader
from isthmus.read_models.notices import NoticeReader
from isthmus.read_models.parked import ParkedReader
from isthmus.read_models.payees import PayeeReader
from isthmus.read_models.payments import PaymentReader
from isthmus.read_models.personal_limits import LimitReader
from isthmus.read_models.reconciliation import CaseReader
from isthmus.read_models.sca import DeviceReader
from isthmus.read_models.sca_apps import AppReader
from isthmus.read_models.texts import TextReader
from isthmus.read_models.transactions import TransactionReader
from isthmus.runtime.wiring import WriteSide


def readers_of(
    pool: asyncpg.Pool,
    side: WriteSide,
    balances: BalanceReader,
    consents: ConsentReader,
    payments: PaymentReader,
    notices: NoticeReader,
) -> Readers:
    """Those that are given have followers beside these readers, or caches."""
    return Readers(
        accounts=AccountReader(pool),
        balances=balances,
        transactions=TransactionReader(pool),
        journals=JournalReader(pool),
        audit=AuditReader(pool),
        assets=AssetRegistry(pool),
        texts=TextReader(pool, side.texts),
        log=LogReader(pool),
        api_keys=ApiKeyReader(pool, side.clock.stamp),
        bank_accounts=BankAccountReader(pool, side.links),
        bank_transactions=BankTransactionReader(pool, side.links),
        consents=consents,
        institutions=InstitutionReader(pool),
        payments=payments,
        parked=ParkedReader(pool, payments),
        devices=DeviceReader(pool, side.clock.stamp),
        payees=PayeeReader(pool, side.clock.stamp),
        notices=notices,
        apps=AppReader(pool, side.clock.stamp),
        limits=LimitReader(pool, side.clock.stamp),
        cases=CaseReader(pool),
    )
