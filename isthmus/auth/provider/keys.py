"""The signing keys (ES256): rows of `provider.keys`, the private part wrapped by the master key.

A key is published (RFC 7517) from the moment it is made, signs from `signs_from`, and stays published until everything that it
signed has expired. So whoever caches the JWKS for less than `lead` never meets a signature of a key that it has not seen.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from joserfc.jwk import ECKey
from sqlalchemy.util import await_only

from isthmus.integrations.secrets.master_key import MasterKey, Plain, Wrapped
from isthmus.integrations.secrets.rotation import Place

ALGORITHM = "ES256"
#: Longest that anyone should cache the JWKS; the endpoint says so too.
JWKS_CACHE = timedelta(minutes=5)
LEAD = timedelta(hours=1)
KEY_LIFE = timedelta(days=30)
#: What a verifier may forgive on top of a token's life.
_CLOCK_DIFFERENCE = timedelta(minutes=5)
_LOCK = 0x1574_0002
WRAPPED = Place("provider.keys", "kid", "private_wrapped", lambda kid: b"provider signing key " + kid.encode())


class SigningKeys:
    """`token_life`: of the longest-lived token that is signed."""

    def __init__(self, master: MasterKey, token_life: timedelta) -> None:
        self._master = master
        self._token_life = token_life
        self._unwrapped: dict[str, ECKey] = {}

    def current(self, connection: sa.Connection, now: datetime) -> ECKey:
        """The key that signs now; the first one is made when it is asked for."""
        row = self._current_row(connection, now)
        if row is None:
            connection.execute(sa.text("select pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            row = self._current_row(connection, now)  # another process may have made it meanwhile
        if row is None:
            self._add(connection, now)
            row = self._current_row(connection, now)
        assert row is not None, "a key that signs from now on was just made"
        key = self._unwrapped.get(row.kid)
        if key is None:
            wrapped = Wrapped(row.master_key, row.master_key_version, row.private_wrapped)
            # We run on a greenlet (see `Provider.run`), and the master key may be over a network.
            (plain,) = await_only(self._master.unwrap_many([(wrapped, WRAPPED.context_of(row.kid))]))
            key = self._unwrapped[row.kid] = ECKey.import_key(json.loads(plain))
        return key

    def rotate(self, connection: sa.Connection, now: datetime, lead: timedelta = LEAD) -> str:
        """A new key, published at once, that signs after `lead` (zero: at once, for a key that leaked). Returns its kid."""
        connection.execute(sa.text("select pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        starts = now + lead
        kid = self._add(connection, starts)
        # One that was to sign later never will. One that a slower rotation was replacing goes as soon as all others.
        connection.execute(
            sa.text("delete from provider.keys where kid <> :kid and signs_from > :now and signs_from >= :starts"),
            {"kid": kid, "now": now, "starts": starts},
        )
        connection.execute(
            sa.text("update provider.keys set retires_at = least(retires_at, :retires_at) where kid <> :kid"),
            {"retires_at": starts + self._token_life + _CLOCK_DIFFERENCE, "kid": kid},
        )
        connection.execute(sa.text("delete from provider.keys where retires_at <= :now"), {"now": now})
        self._unwrapped.clear()
        return kid

    def rotate_if_due(self, connection: sa.Connection, now: datetime) -> None:
        self.current(connection, now)
        newest = connection.execute(sa.text("select max(signs_from) from provider.keys")).scalar_one()
        if newest <= now - KEY_LIFE:
            self.rotate(connection, now)

    def published(self, connection: sa.Connection, now: datetime) -> list[dict[str, Any]]:
        """The public halves: of the key that signs, of those that will, and of those that signed what is still valid."""
        self.current(connection, now)
        rows = connection.execute(
            sa.text(
                "select cast(public_jwk as text) as jwk from provider.keys "
                "where retires_at is null or retires_at > :now order by signs_from"
            ),
            {"now": now},
        )
        return [json.loads(row.jwk) for row in rows]

    def _current_row(self, connection: sa.Connection, now: datetime) -> Any:
        return connection.execute(
            sa.text(
                "select kid, private_wrapped, master_key, master_key_version from provider.keys where signs_from <= :now "
                "and (retires_at is null or retires_at > :now) order by signs_from desc, kid limit 1"
            ),
            {"now": now},
        ).one_or_none()

    def _add(self, connection: sa.Connection, signs_from: datetime) -> str:
        key = ECKey.generate_key("P-256", parameters={"use": "sig", "alg": ALGORITHM}, auto_kid=True)
        kid = key.kid
        assert kid is not None
        kind, private = self._master.kind, json.dumps(key.as_dict(private=True)).encode()
        version = connection.execute(
            sa.text("select max(version) from master_key_versions where master_key = :kind"), {"kind": kind}
        ).scalar_one()
        (wrapped,) = await_only(self._master.wrap_many(version, [Plain(private, WRAPPED.context_of(kid))]))
        connection.execute(
            sa.text(
                "insert into provider.keys (kid, public_jwk, private_wrapped, master_key, master_key_version, signs_from) "
                "values (:kid, cast(:public_jwk as jsonb), :private_wrapped, :kind, :version, :signs_from)"
            ),
            {
                "kid": kid,
                "public_jwk": json.dumps(key.as_dict(private=False)),
                "private_wrapped": wrapped,
                "kind": kind,
                "version": version,
                "signs_from": signs_from,
            },
        )
        return kid
