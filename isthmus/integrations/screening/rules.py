"""Compliance by our own rules over lists that are kept here. A service that screens for us would take its place behind the same port."""

from __future__ import annotations

from isthmus.domain.compliance import Intent, Limits, LimitTable, SanctionsList, Verdict, sanctions


class ListedCompliance:
    def __init__(self, listed: SanctionsList, limits: LimitTable) -> None:
        self._listed = listed
        self._limits = limits

    async def decide(self, intent: Intent) -> Verdict:
        return sanctions(self._listed, intent)

    def limits(self, asset: str) -> Limits:
        return self._limits.of(asset)
