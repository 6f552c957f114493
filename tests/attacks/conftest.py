"""The API and the provider as the other tests start them; here they are only attacked."""

from __future__ import annotations

from tests.api.conftest import ada, alan, funded, grace, olga, production, served
from tests.attacks.count import row
from tests.attacks.victim import hers

__all__ = ["ada", "alan", "funded", "grace", "hers", "olga", "production", "row", "served"]
