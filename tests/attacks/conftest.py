"""The API and the provider as the other tests start them; here they are only attacked."""

from __future__ import annotations

import pytest

from isthmus.graphql import admission
from tests.api.conftest import ada, alan, funded, grace, olga, production, served
from tests.attacks.count import row
from tests.attacks.victim import hers
from tests.auth.conftest import kit, shared

__all__ = ["ada", "alan", "funded", "grace", "hers", "kit", "olga", "production", "row", "served", "shared"]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attackers and server share this process: where its loop comes late, that is the attackers' own doing."""
    monkeypatch.setattr(admission, "LAG_MAX_S", 60.0)
