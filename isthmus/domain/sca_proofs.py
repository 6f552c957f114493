"""What a person answers a challenge with, once it was looked at: whether it is right, and what it came from."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True)
class CodeProof:
    """A code that was compared with the challenge's. `holds`: whether it is the same."""

    holds: bool


@dataclass(frozen=True)
class DeviceProof:
    """An assertion that was checked against the device's key and the challenge. `holds`: whether it is right. `counter`: how often the
    device says that it signed, 0 where it does not count."""

    device_id: UUID | None
    holds: bool
    counter: int = 0


@dataclass(frozen=True)
class TotpProof:
    """A code that was compared with those that the person's app shows about now. `step`: which of them it is."""

    app_id: UUID | None
    holds: bool
    step: int = 0


@dataclass(frozen=True)
class BankProof:
    """What the provider itself says of its customer's authentication. None: not answered yet."""

    holds: bool | None


Proof = CodeProof | DeviceProof | TotpProof | BankProof
