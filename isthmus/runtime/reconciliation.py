"""Puts together what compares our book with the banks' and what books money that comes: for `work` and for the command."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx

from isthmus.domain.identifiers import uuid7_source
from isthmus.domain.statements import Statements
from isthmus.integrations.payments.truelayer_statements import TrueLayerStatements
from isthmus.runtime.payments import truelayer_payouts
from isthmus.runtime.wiring import WriteSide
from isthmus.settings import Settings
from isthmus.write_models.pay_ins import PayIns
from isthmus.write_models.reconciliation import Reconciler

_TELL_S = 15.0


@dataclass(frozen=True)
class Reconciling:
    reconciler: Reconciler
    pay_ins: PayIns

    async def run_due(self) -> None:
        await self.reconciler.run_due()

    async def sweep(self) -> None:
        await self.pay_ins.sweep()

    async def tell(self) -> None:
        """Until cancelled."""
        while True:
            await self.reconciler.tell()
            await asyncio.sleep(_TELL_S)


@asynccontextmanager
async def reconciling(settings: Settings, side: WriteSide) -> AsyncIterator[Reconciling]:
    """Nothing is compared where there is no account at a bank."""
    async with httpx.AsyncClient(timeout=settings.banking.deadline_s, trust_env=False) as http:
        statements = _statements(settings, side, http)
        ids = uuid7_source(side.clock.now)
        yield Reconciling(
            Reconciler(side.pool, side.commands, statements, side.clock, ids),
            PayIns(side.pool, side.commands, statements, side.clock),
        )


def _statements(settings: Settings, side: WriteSide, http: httpx.AsyncClient) -> dict[str, Statements]:
    payouts = truelayer_payouts(settings, side, http)
    accounts = settings.banking.truelayer_merchant_accounts
    if payouts is None or not accounts:
        return {}
    return {payouts.name: TrueLayerStatements(payouts.api.ask, accounts)}
