"""The embedded OpenID provider's own schema: users, clients, signing keys, sessions, codes, refresh tokens.

Codes, tokens and session cookies are kept as SHA-256 digests (each has 256 random bits), e-mails as a keyed digest.
"""

import sqlalchemy as sa
from alembic import context, op

revision = "0002"
down_revision = "0001"

_STATEMENTS = (
    "create schema provider",
    """
    create table provider.users (
        subject text primary key check (length(subject) between 1 and 255),
        login_digest bytea not null unique check (length(login_digest) = 32),
        email_sealed text not null check (email_sealed like 'sealed:%'),
        name_sealed text not null check (name_sealed like 'sealed:%'),
        password_hash text not null check (password_hash like '$argon2id$%'),
        roles text[] not null check (roles <@ array['customer', 'operator', 'auditor', 'service']),
        created_at timestamptz not null default now()
    )
    """,
    """
    create table provider.clients (
        client_id text primary key check (client_id ~ '^[A-Za-z0-9._-]{1,64}$'),
        name text not null,
        redirect_uris text[] not null,
        post_logout_redirect_uris text[] not null default '{}',
        scopes text[] not null,
        native boolean not null default false,
        updated_at timestamptz not null default now()
    )
    """,
    """
    insert into provider.clients (client_id, name, redirect_uris, scopes, native) values
        ('isthmus-cli', 'Isthmus on the command line', '{http://127.0.0.1/callback}',
         '{openid,profile,email,offline_access,read,write,operate,audit}', true),
        ('isthmus-playground', 'Isthmus playground', '{}',
         '{openid,profile,email,offline_access,read,write,operate,audit}', false)
    """,
    """
    create table provider.keys (
        kid text primary key,
        public_jwk jsonb not null check (not public_jwk ? 'd'),
        private_wrapped bytea not null,
        signs_from timestamptz not null,
        retires_at timestamptz,
        check (retires_at is null or retires_at > signs_from)
    )
    """,
    """
    create table provider.sessions (
        digest bytea primary key check (length(digest) = 32),
        subject text not null references provider.users on delete cascade,
        signed_in_at timestamptz not null,
        expires_at timestamptz not null
    )
    """,
    "create index sessions_expires_at on provider.sessions (expires_at)",
    """
    create table provider.families (
        family uuid primary key,
        subject text not null references provider.users on delete cascade,
        client_id text not null references provider.clients,
        scope text not null,
        session_digest bytea not null,
        signed_in_at timestamptz not null,
        expires_at timestamptz not null,
        revoked_at timestamptz,
        revoked_because text check (revoked_because in ('code replayed', 'refresh token reused', 'revoked', 'logout')),
        check ((revoked_at is null) = (revoked_because is null))
    )
    """,
    "create index families_session on provider.families (session_digest)",
    "create index families_expires_at on provider.families (expires_at)",
    """
    create table provider.codes (
        digest bytea primary key check (length(digest) = 32),
        family uuid not null,
        client_id text not null references provider.clients,
        subject text not null references provider.users on delete cascade,
        redirect_uri text not null,
        scope text not null,
        nonce text,
        code_challenge text not null,
        session_digest bytea not null,
        signed_in_at timestamptz not null,
        expires_at timestamptz not null,
        used_at timestamptz
    )
    """,
    "create index codes_expires_at on provider.codes (expires_at)",
    "create index codes_session on provider.codes (session_digest)",
    """
    create table provider.refresh_tokens (
        digest bytea primary key check (length(digest) = 32),
        family uuid not null references provider.families on delete cascade,
        issued_at timestamptz not null,
        expires_at timestamptz not null,
        used_at timestamptz
    )
    """,
    "create index refresh_tokens_family on provider.refresh_tokens (family)",
)
_GRANTS = (
    "grant usage on schema provider to {role}",
    "grant select, insert, update, delete on all tables in schema provider to {role}",
)


def upgrade() -> None:
    role = context.config.attributes.get("app_role")
    for statement in (*_STATEMENTS, *((grant.format(role=role) for grant in _GRANTS) if role else ())):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    raise sa.exc.NotSupportedError("people's sign-ins are not thrown away; restore a backup", None, Exception())
