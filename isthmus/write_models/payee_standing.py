"""What a payee is to a payer: here alone it is asked whether they are trusted, or the payer themselves."""

from __future__ import annotations

from uuid import UUID

from isthmus.domain.exemptions import NOBODY_KNOWN, Standing
from isthmus.domain.payees import PayeeAccount
from isthmus.domain.personal import PersonalTexts
from isthmus.write_models.connection import Connection


async def standing_of(
    connection: Connection,  # noqa: ARG001 - until payees are kept
    texts: PersonalTexts,  # noqa: ARG001
    person: UUID,  # noqa: ARG001
    name: str,  # noqa: ARG001
    account: PayeeAccount,  # noqa: ARG001
) -> Standing:
    """Nobody is known yet: there is no list of trusted payees, and no account here that a payee's account number names."""
    return NOBODY_KNOWN
