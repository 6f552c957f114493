from __future__ import annotations

import pytest

from isthmus.integrations.secrets.link_keys import LinkKeys
from isthmus.integrations.secrets.token_vault import SealedTokens
from isthmus.runtime.wiring import WriteSide


@pytest.fixture
def links(side: WriteSide) -> LinkKeys:
    return side.links


@pytest.fixture
def tokens(side: WriteSide) -> SealedTokens:
    return side.tokens
