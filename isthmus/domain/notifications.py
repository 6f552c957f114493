"""Telling a person something, behind one port. Whom a message reaches by which device is the provider's to know: we name the person."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol
from uuid import UUID


class Undeliverable(Exception):
    """It was not taken. `again`: whether it may be, later, and not before `after_s`. Messages name no person and nothing of the text."""

    def __init__(self, message: str, *, again: bool, after_s: float = 0) -> None:
        super().__init__(message)
        self.again = again
        self.after_s = after_s


class Channel(StrEnum):
    PUSH = "PUSH"
    EMAIL = "EMAIL"


@dataclass(frozen=True)
class Message:
    """`key`: the same for every attempt, so that it is delivered once."""

    person: UUID
    key: UUID
    title: str = field(repr=False)
    body: str = field(repr=False)
    channel: Channel = Channel.PUSH


class Notifier(Protocol):
    async def send(self, message: Message) -> None:
        """Raises Undeliverable."""
        ...
