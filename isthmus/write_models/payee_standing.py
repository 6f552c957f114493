"""What a payee is to a payer, before it is decided on: whether they are trusted."""

from __future__ import annotations

from uuid import UUID

from isthmus.domain.exemptions import Standing
from isthmus.domain.payees import PayeeAccount
from isthmus.domain.personal import PersonalTexts
from isthmus.write_models.connection import Connection
from isthmus.write_models.payee_rows import is_trusted


async def standing_of(
    connection: Connection, texts: PersonalTexts, person: UUID, name: str, account: PayeeAccount
) -> Standing:
    """Trusted is whom they saved. Whether it is the payer's own account is seen under its lock (`domain/own_accounts.py`)."""
    return Standing(trusted=await is_trusted(connection, texts, person, name, account))
