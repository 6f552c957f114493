create function create_read_models(target text) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $body$
begin
    if target not in ('read_models', 'read_models_next') then
        raise exception 'not a read model schema: %', target;
    end if;
    execute format('create schema %I', target);
    execute format($ddl$
        create table %1$I.projection_positions (
            projection text not null,
            partition smallint not null,
            position bigint not null,
            primary key (projection, partition)
        );
        create table %1$I.accounts (
            account_id uuid primary key,
            owner uuid,
            kind text not null,
            code text not null,
            name text,
            account_type text not null,
            asset text not null,
            status text not null,
            freezes text[] not null default '{}',
            posted numeric(78, 18) not null default 0,
            pending_in numeric(78, 18) not null default 0,
            pending_out numeric(78, 18) not null default 0,
            version bigint not null default 0,
            as_of timestamptz not null,
            transactions bigint not null default 0,
            opened_at timestamptz not null,
            opened_position bigint not null,
            position bigint not null
        );
        create index on %1$I.accounts (owner, opened_position) where owner is not null;
        create table %1$I.account_counts (
            owner uuid not null,
            kind text not null,
            accounts bigint not null,
            primary key (owner, kind)
        );
        create table %1$I.balance_history (
            account_id uuid not null,
            version bigint not null,
            position bigint not null,
            committed_at timestamptz not null,
            posted numeric(78, 18) not null,
            pending_in numeric(78, 18) not null,
            pending_out numeric(78, 18) not null,
            event_id uuid not null,
            event_type text not null,
            correlation_id text not null,
            primary key (account_id, version)
        );
        create table %1$I.transactions (
            account_id uuid not null,
            position bigint not null,
            journal_id uuid not null,
            amount numeric(78, 18) not null,
            asset text not null,
            direction text not null,
            status text not null,
            kind text not null,
            booked_at timestamptz not null,
            description text,
            primary key (account_id, position)
        );
        create unique index on %1$I.transactions (journal_id, account_id);
        create table %1$I.journals (
            journal_id uuid primary key,
            kind text not null,
            status text not null,
            reference text,
            posted_at timestamptz not null,
            correlation_id text not null,
            position bigint not null,
            reverses uuid,
            resolves uuid,
            lines jsonb not null
        );
        create table %1$I.audit_events (
            position bigint primary key,
            event_id uuid not null unique,
            aggregate_type text not null,
            aggregate_id uuid not null,
            version integer not null,
            event_type text not null,
            occurred_at timestamptz not null,
            correlation_id text not null,
            causation_id text,
            actor text not null,
            hash bytea not null
        );
        create index on %1$I.audit_events (correlation_id, position);
        create table %1$I.audit_visibility (
            person uuid not null,
            position bigint not null,
            primary key (person, position)
        );
    $ddl$, target);
    -- Written by `create_read_models` alone, so that a rebuild and a migration make the same tables.
    if exists (select from pg_roles where rolname = 'isthmus_app') then
        execute format('grant usage on schema %I to isthmus_app', target);
        execute format('grant select, insert, update, delete on all tables in schema %I to isthmus_app', target);
    end if;
end
$body$
--;
create function swap_read_models() returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $body$
begin
    alter schema read_models rename to read_models_old;
    alter schema read_models_next rename to read_models;
    drop schema read_models_old cascade;
end
$body$
--;
create function drop_next_read_models() returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $body$
begin
    drop schema if exists read_models_next cascade;
end
$body$
