"""Batches: one set per request, and a new one per event of a subscription, so that nothing is remembered across either."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any, TypeVar
from uuid import UUID

from aiodataloader import DataLoader

from isthmus.domain.institutions import Institution
from isthmus.graphql.services import Services
from isthmus.read_models.accounts import AccountRow
from isthmus.read_models.api_keys import ApiKeyRow
from isthmus.read_models.balances import Balance, Figures
from isthmus.read_models.bank_accounts import BankAccountRow
from isthmus.read_models.bank_transactions import BankPage, BankPageOf, BankTransactionRow
from isthmus.read_models.consents import ConsentRow
from isthmus.read_models.database import Sight
from isthmus.read_models.journals import JournalRow
from isthmus.read_models.notices import NoticeRow
from isthmus.read_models.payees import PayeeCheckRow, SavedPayeeRow
from isthmus.read_models.payments import PaymentRow, Step
from isthmus.read_models.sca import DeviceRow
from isthmus.read_models.transactions import Page, PageOf, TransactionRow

Key = TypeVar("Key")
Value = TypeVar("Value")


class Loaders:
    """Each is made when a field first asks for it."""

    def __init__(self, services: Services, sight: Sight) -> None:
        self._services = services
        self._sight = sight

    @cached_property
    def accounts(self) -> DataLoader[UUID, AccountRow | None]:
        """Loading raises Incomplete for an account whose opening is set aside."""
        loader: DataLoader[UUID, Any] = self._seen(self._services.read.accounts.load_many)
        return loader

    @cached_property
    def api_keys(self) -> DataLoader[UUID, ApiKeyRow | None]:
        return self._seen(self._services.read.api_keys.load_many)

    @cached_property
    def bank_accounts(self) -> DataLoader[UUID, BankAccountRow | None]:
        return self._seen(self._services.read.bank_accounts.load_many)

    @cached_property
    def consent_accounts(self) -> DataLoader[UUID, list[BankAccountRow]]:
        return self._seen(self._services.read.bank_accounts.of_consents)

    @cached_property
    def bank_pages(self) -> DataLoader[BankPageOf, BankPage]:
        return self._seen(self._services.read.bank_transactions.pages)

    @cached_property
    def bank_counts(self) -> DataLoader[tuple[UUID, str], int]:
        return self._seen(self._services.read.bank_transactions.counts)

    @cached_property
    def bank_transactions(self) -> DataLoader[UUID, BankTransactionRow | None]:
        return self._seen(self._services.read.bank_transactions.load_many)

    @cached_property
    def consents(self) -> DataLoader[UUID, ConsentRow | None]:
        return self._seen(self._services.read.consents.load_many)

    @cached_property
    def batches(self) -> DataLoader[tuple[UUID, UUID], list[PaymentRow]]:
        """(owner, batch), for payments that were loaded for this person."""
        read = self._services.read.payments

        async def load(keys: list[tuple[UUID, UUID]]) -> list[list[PaymentRow]]:
            return await read.of_batches(keys)

        return DataLoader(load)

    @cached_property
    def credentials(self) -> DataLoader[UUID, list[str]]:
        """Of the devices that sign, for a person's own things alone."""
        read = self._services.read.devices

        async def load(keys: list[UUID]) -> list[list[str]]:
            return await read.credentials(keys)

        return DataLoader(load)

    @cached_property
    def devices(self) -> DataLoader[UUID, DeviceRow | None]:
        return self._seen(self._services.read.devices.load_many)

    @cached_property
    def institutions(self) -> DataLoader[str, Institution | None]:
        read = self._services.read.institutions

        async def load(keys: list[str]) -> list[Institution | None]:
            return await read.load_many(keys)

        return DataLoader(load)

    @cached_property
    def journals(self) -> DataLoader[UUID, JournalRow | None]:
        return self._seen(self._services.read.journals.load_many)

    @cached_property
    def notices(self) -> DataLoader[UUID, NoticeRow | None]:
        return self._seen(self._services.read.notices.load_many)

    @cached_property
    def payees(self) -> DataLoader[UUID, SavedPayeeRow | None]:
        return self._seen(self._services.read.payees.load_many)

    @cached_property
    def payee_checks(self) -> DataLoader[UUID, PayeeCheckRow | None]:
        """For payments that were loaded for this person."""
        read = self._services.read.payees

        async def load(keys: list[UUID]) -> list[PayeeCheckRow | None]:
            return await read.checks(keys)

        return DataLoader(load)

    @cached_property
    def payments(self) -> DataLoader[UUID, PaymentRow | None]:
        return self._seen(self._services.read.payments.load_many)

    @cached_property
    def payment_histories(self) -> DataLoader[UUID, list[Step]]:
        """For payments that were loaded for this person."""
        read = self._services.read.payments

        async def load(keys: list[UUID]) -> list[list[Step]]:
            return await read.histories(keys)

        return DataLoader(load)

    @cached_property
    def transactions(self) -> DataLoader[tuple[UUID, UUID], TransactionRow | None]:
        return self._seen(self._services.read.transactions.load_many)

    @cached_property
    def pages(self) -> DataLoader[PageOf, Page]:
        """Loading raises Incomplete for an account of which something is set aside; its neighbours are answered."""
        loader: DataLoader[PageOf, Any] = self._seen(self._services.read.transactions.pages)
        return loader

    @cached_property
    def counts(self) -> DataLoader[tuple[UUID, str], int]:
        return self._seen(self._services.read.transactions.counts)

    @cached_property
    def balances_at(self) -> DataLoader[tuple[UUID, datetime], Balance]:
        """Loading raises FutureInstant for a key whose instant is not over; its neighbours are answered."""
        loader: DataLoader[tuple[UUID, datetime], Any] = self._seen(self._services.read.balances.load_many_at)
        return loader

    @cached_property
    def balances(self) -> DataLoader[UUID, Figures | None]:
        return self._seen(self._services.read.balances.load_many)

    @cached_property
    def texts(self) -> DataLoader[str, str | None]:
        read = self._services.read.texts

        async def load(keys: list[str]) -> list[str | None]:
            return await read.load_many(keys)

        return DataLoader(load)

    def _seen(self, load_many: Callable[[Sight, Sequence[Key]], Awaitable[Sequence[Value]]]) -> DataLoader[Key, Value]:
        async def load(keys: list[Key]) -> list[Value]:
            return list(await load_many(self._sight, keys))

        return DataLoader(load)
