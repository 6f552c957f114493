"""Sessions, codes and token families. Secrets are kept as SHA-256 digests: each has 256 random bits, so that needs no salt.

A family is one sign-in at one client: its refresh tokens follow from one another, and all die together. Everything here runs on
a synchronous connection inside the caller's transaction, so that the check and the use of a code are one.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID, uuid4

import sqlalchemy as sa

from isthmus.auth.scopes import Role

CODE_LIFE = timedelta(seconds=60)
SESSION_LIFE = timedelta(hours=8)
REFRESH_LIFE = timedelta(days=1)
FAMILY_LIFE = timedelta(days=30)
#: A used code is remembered this long, so that its replay is recognised.
_REPLAY_MEMORY = timedelta(days=1)

Because = Literal["code replayed", "refresh token reused", "revoked", "logout"]


@dataclass(frozen=True)
class User:
    subject: str
    roles: frozenset[Role]
    email_sealed: str
    name_sealed: str


@dataclass(frozen=True)
class Session:
    digest: bytes
    user: User
    signed_in_at: datetime


@dataclass(frozen=True)
class Grant:
    """What a code or a refresh token stands for; the methods are those that authlib asks."""

    digest: bytes
    family: UUID
    client_id: str
    subject: str
    scope: str
    session_digest: bytes
    signed_in_at: datetime
    expires_at: datetime
    redirect_uri: str = ""
    nonce: str | None = None
    code_challenge: str = ""
    code_challenge_method: str = "S256"

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope

    def check_client(self, client: Any) -> bool:
        return bool(client.client_id == self.client_id)


def new_secret() -> str:
    return secrets.token_urlsafe(32)


def digest_of(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).digest()


_USER = "u.subject, u.roles, u.email_sealed, u.name_sealed"


def _user(row: Any) -> User:
    return User(row.subject, frozenset(Role(role) for role in row.roles), row.email_sealed, row.name_sealed)


def _one(connection: sa.Connection, statement: str, **values: Any) -> Any:
    return connection.execute(sa.text(statement), values).one_or_none()


def find_user(connection: sa.Connection, subject: str) -> User | None:
    row = _one(connection, f"select {_USER} from provider.users u where subject = :subject", subject=subject)
    return _user(row) if row else None


def find_session(connection: sa.Connection, cookie: str | None, now: datetime) -> Session | None:
    if not cookie:
        return None
    row = _one(
        connection,
        f"select s.digest, s.signed_in_at, {_USER} from provider.sessions s join provider.users u using (subject) "
        "where s.digest = :digest and s.expires_at > :now",
        digest=digest_of(cookie),
        now=now,
    )
    return Session(row.digest, _user(row), row.signed_in_at) if row else None


def start_session(connection: sa.Connection, user: User, now: datetime, instead_of: str | None) -> tuple[str, Session]:
    """A fresh cookie value each time (no fixation). The session of the cookie that was there before ends; what the same person's
    apps were given on its strength lives on under the new one."""
    cookie = new_secret()
    session = Session(digest_of(cookie), user, now)
    before = find_session(connection, instead_of, now)
    if before is not None:
        if before.user.subject == user.subject:
            for table in ("families", "codes"):
                connection.execute(
                    sa.text(f"update provider.{table} set session_digest = :new where session_digest = :old"),
                    {"new": session.digest, "old": before.digest},
                )
        end_session(connection, before.digest, now)
    connection.execute(
        sa.text("insert into provider.sessions values (:digest, :subject, :now, :expires_at)"),
        {"digest": session.digest, "subject": user.subject, "now": now, "expires_at": now + SESSION_LIFE},
    )
    return cookie, session


def end_session(connection: sa.Connection, digest: bytes, now: datetime) -> None:
    """And with it every code and refresh token that was given on its strength."""
    values = {"digest": digest, "now": now}
    connection.execute(sa.text("delete from provider.sessions where digest = :digest"), values)
    connection.execute(sa.text("delete from provider.codes where session_digest = :digest and used_at is null"), values)
    connection.execute(
        sa.text(
            "update provider.families set revoked_at = :now, revoked_because = 'logout' "
            "where session_digest = :digest and revoked_at is null"
        ),
        values,
    )


def save_code(
    connection: sa.Connection,
    code: str,
    session: Session,
    now: datetime,
    *,
    client_id: str,
    redirect_uri: str,
    scope: str,
    nonce: str | None,
    code_challenge: str,
) -> None:
    connection.execute(
        sa.text(
            "insert into provider.codes (digest, family, client_id, subject, redirect_uri, scope, nonce, code_challenge, "
            "session_digest, signed_in_at, expires_at) values (:digest, :family, :client_id, :subject, :redirect_uri, "
            ":scope, :nonce, :code_challenge, :session_digest, :signed_in_at, :expires_at)"
        ),
        {
            "digest": digest_of(code),
            "family": uuid4(),
            "client_id": client_id,
            "subject": session.user.subject,
            "redirect_uri": redirect_uri,
            "scope": scope,
            "nonce": nonce,
            "code_challenge": code_challenge,
            "session_digest": session.digest,
            "signed_in_at": session.signed_in_at,
            "expires_at": now + CODE_LIFE,
        },
    )


def lock_code(connection: sa.Connection, code: str, client_id: str) -> Any:
    """Whoever else presents it waits until our transaction has ended. Another client's code is as good as none."""
    return _one(
        connection,
        "select * from provider.codes where digest = :digest and client_id = :client_id for update",
        digest=digest_of(code),
        client_id=client_id,
    )


def use_code(connection: sa.Connection, grant: Grant, now: datetime) -> None:
    values = {"digest": grant.digest, "now": now}
    connection.execute(sa.text("update provider.codes set used_at = :now where digest = :digest"), values)


def start_family(connection: sa.Connection, grant: Grant, now: datetime) -> None:
    connection.execute(
        sa.text(
            "insert into provider.families (family, subject, client_id, scope, session_digest, signed_in_at, expires_at) "
            "values (:family, :subject, :client_id, :scope, :session_digest, :signed_in_at, :expires_at)"
        ),
        {
            "family": grant.family,
            "subject": grant.subject,
            "client_id": grant.client_id,
            "scope": grant.scope,
            "session_digest": grant.session_digest,
            "signed_in_at": grant.signed_in_at,
            "expires_at": now + FAMILY_LIFE,
        },
    )


def add_refresh_token(connection: sa.Connection, token: str, family: UUID, now: datetime) -> None:
    connection.execute(
        sa.text(
            "insert into provider.refresh_tokens (digest, family, issued_at, expires_at) select :digest, family, :now, "
            "least(expires_at, :expires_at) from provider.families where family = :family"
        ),
        {"digest": digest_of(token), "family": family, "now": now, "expires_at": now + REFRESH_LIFE},
    )


def lock_refresh_token(connection: sa.Connection, token: str, client_id: str) -> Any:
    """With its family; two uses at once take turns. Another client's token is as good as none."""
    return _one(
        connection,
        "select t.digest, t.used_at, t.expires_at, f.family, f.client_id, f.subject, f.scope, f.session_digest, "
        "f.signed_in_at, f.revoked_at from provider.refresh_tokens t join provider.families f using (family) "
        "where t.digest = :digest and f.client_id = :client_id for update",
        digest=digest_of(token),
        client_id=client_id,
    )


def use_refresh_token(connection: sa.Connection, grant: Grant, now: datetime) -> None:
    values = {"digest": grant.digest, "now": now}
    connection.execute(sa.text("update provider.refresh_tokens set used_at = :now where digest = :digest"), values)


def revoke_family(connection: sa.Connection, family: UUID, because: Because, now: datetime) -> bool:
    """Whether there was something to revoke."""
    found = connection.execute(
        sa.text(
            "update provider.families set revoked_at = :now, revoked_because = :because "
            "where family = :family and revoked_at is null"
        ),
        {"family": family, "because": because, "now": now},
    )
    return found.rowcount > 0


def is_alive(connection: sa.Connection, family: UUID, now: datetime) -> bool:
    row = _one(
        connection,
        "select 1 from provider.families where family = :family and revoked_at is null and expires_at > :now",
        family=family,
        now=now,
    )
    return row is not None


def sweep(connection: sa.Connection, now: datetime) -> None:
    """Forget what has expired."""
    for statement, before in (
        ("delete from provider.sessions where expires_at <= :before", now),
        ("delete from provider.codes where expires_at <= :before and used_at is null", now),
        ("delete from provider.codes where expires_at <= :before", now - _REPLAY_MEMORY),
        ("delete from provider.families where expires_at <= :before", now),
    ):
        connection.execute(sa.text(statement), {"before": before})
