"""The invariants as SQL. `violations` gives one sentence a row; `counted` says how many things were looked at.

Tables are named without a schema, so that slices.py can put a stretch of each in their place. The fragments with names of their own
are what it asks of a stretch where the whole question would need the whole history.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    name: str
    holds: str
    violations: str
    counted: str


MOVEMENTS = """
select account_id, account_version, posted_at, posted_after, pending_in_after, pending_out_after, journal_id from entries
union
select account_id, account_version, posted_at, posted_after, pending_in_after, pending_out_after, journal_id from pending_entries"""

FIGURES = """
select e.position, e.committed_at, e.event_id, (f->>'account_id')::uuid as account_id, (f->>'version')::bigint as version,
    (f->>'posted')::numeric as posted, (f->>'pending_in')::numeric as pending_in, (f->>'pending_out')::numeric as pending_out
from event_store e cross join lateral jsonb_array_elements(e.data->'figures') f where e.data ? 'figures'"""

FLOOR_NOW = """
select format('account %s: available %s', b.account_id, b.posted - b.pending_out)
from account_balances b join accounts a on a.id = b.account_id
where not a.may_overdraw and b.posted - b.pending_out < 0 and not ('OVERDRAWN' = any(b.freezes) and b.floor is null)
union all
select format('account %s: floor %s does not fit its state', b.account_id, b.floor)
from account_balances b join accounts a on a.id = b.account_id
where (b.floor is null) <> (a.may_overdraw or 'OVERDRAWN' = any(b.freezes))"""

ACCOUNT_STATE = """
select format('account %s: events say version %s, closed %s, frozen %s; the row says %s, %s, %s', b.account_id, s.version, s.closed,
    s.frozen, b.stream_version, b.closed, b.frozen)
from account_balances b left join (
    select e.aggregate_id, max(e.version) as version, bool_or(e.type = 'AccountClosed') as closed,
        exists (
            select from event_store f where f.aggregate_id = e.aggregate_id and f.type = 'AccountFrozen' and not exists (
                select from event_store u where u.aggregate_id = f.aggregate_id and u.type = 'AccountUnfrozen'
                    and u.version > f.version
                    and coalesce(u.data->>'reason', 'UNSPECIFIED') = coalesce(f.data->>'reason', 'UNSPECIFIED'))) as frozen
    from event_store e where e.aggregate_type = 'account' group by e.aggregate_id
) s on s.aggregate_id = b.account_id
where s.version is distinct from b.stream_version or s.closed is distinct from b.closed or s.frozen is distinct from b.frozen"""

HEAD_IS_END = """
select format('log_head says %s, the event store ends at %s', h.position, coalesce(m.position, 0))
from log_head h left join (select position, committed_at from event_store order by position desc limit 1) m on true
where h.position <> coalesce(m.position, 0) or h.committed_at <> m.committed_at
union all
select 'log_head has no row' where not exists (select from log_head)"""

#: What an aggregate's first event follows.
NO_HASH = "decode(repeat('00', 32), 'hex')"
HASHED = """convert_to(position::text || chr(31) || event_id || chr(31) || aggregate_type
    || chr(31) || aggregate_id || chr(31) || version || chr(31) || type || chr(31) || schema_version || chr(31)
    || (extract(epoch from committed_at) * 1000000)::bigint || chr(31) || data::text || chr(31) || metadata::text, 'UTF8')"""

_ALL_EVENTS = "select count(*) from event_store"
_ALL_ACCOUNTS = "select count(*) from account_balances"
_ALL_JOURNALS = "select count(*) from journal_entries"

_LEDGER: tuple[Check, ...] = (
    Check(
        "balanced_journals",
        "per asset, debits = credits in every journal, posted and pending",
        """
select format('journal %s: debits and credits of %s differ by %s', journal_id, asset, difference) from (
    select journal_id, asset, sum(case direction when 'DEBIT' then amount else -amount end) as difference
    from entries group by journal_id, asset
    union all
    select journal_id, asset, sum(case direction when 'DEBIT' then amount else -amount end)
    from pending_entries group by journal_id, asset
) d where difference <> 0""",
        _ALL_JOURNALS,
    ),
    Check(
        "balanced_ledger",
        "per asset, debits = credits over the whole ledger",
        """
select format('%s: debits and credits differ by %s', asset, sum(case direction when 'DEBIT' then amount else -amount end))
from entries group by asset having sum(case direction when 'DEBIT' then amount else -amount end) <> 0""",
        "select count(*) from entries",
    ),
    Check(
        "balances_are_entries",
        "every balance is the sum of its account's entries, posted and pending",
        """
select format('account %s: balance row says %s/%s/%s, entries say %s/%s/%s', b.account_id, b.posted, b.pending_in, b.pending_out,
    coalesce(e.posted, 0), coalesce(p.pending_in, 0), coalesce(p.pending_out, 0))
from account_balances b join accounts a on a.id = b.account_id
left join (
    select e.account_id, sum(case when e.direction = a.normal_balance then e.amount else -e.amount end) as posted
    from entries e join accounts a on a.id = e.account_id group by e.account_id
) e on e.account_id = b.account_id
left join (
    select p.account_id,
        sum(case when p.direction = a.normal_balance then case p.effect when 'RESERVE' then p.amount else -p.amount end end) as pending_in,
        sum(case when p.direction <> a.normal_balance then case p.effect when 'RESERVE' then p.amount else -p.amount end end) as pending_out
    from pending_entries p join accounts a on a.id = p.account_id group by p.account_id
) p on p.account_id = b.account_id
where b.posted <> coalesce(e.posted, 0) or b.pending_in <> coalesce(p.pending_in, 0) or b.pending_out <> coalesce(p.pending_out, 0)""",
        _ALL_ACCOUNTS,
    ),
    Check(
        "balances_at_every_version",
        "the figures kept with each entry are the running sums, versions rise by one, and the last is the balance row's",
        f"""
select format('account %s, version %s: kept %s, running sum %s, place %s', account_id, account_version, posted_after, running, place)
from (
    select m.*, sum(coalesce(c.change, 0)) over w as running, row_number() over w as place
    from ({MOVEMENTS}) m
    left join (
        select e.account_id, e.account_version, sum(case when e.direction = a.normal_balance then e.amount else -e.amount end) as change
        from entries e join accounts a on a.id = e.account_id group by 1, 2
    ) c using (account_id, account_version)
    window w as (partition by m.account_id order by m.account_version)
) r where running <> posted_after or place <> account_version
union all
select format('account %s: balance row is at version %s of %s, the last movement is version %s of %s', b.account_id, b.version,
    b.as_of, m.account_version, m.posted_at)
from account_balances b join (
    select distinct on (account_id) * from ({MOVEMENTS}) m order by account_id, account_version desc
) m on m.account_id = b.account_id
where b.version <> m.account_version or b.as_of <> m.posted_at or b.posted <> m.posted_after
    or b.pending_in <> m.pending_in_after or b.pending_out <> m.pending_out_after""",
        f"select count(*) from ({MOVEMENTS}) m",
    ),
    Check(
        "never_below_the_floor",
        "no balance that may not go negative is, or ever was, below zero but by a reversal",
        f"""{FLOOR_NOW}
union all
select format('account %s was below zero at version %s', m.account_id, m.account_version)
from ({MOVEMENTS}) m join accounts a on a.id = m.account_id
where not a.may_overdraw and m.posted_after - m.pending_out_after < 0 and not exists (
    select from entries e join journal_entries j on j.id = e.journal_id
    where e.account_id = m.account_id and j.reverses is not null and e.account_version <= m.account_version)""",
        _ALL_ACCOUNTS,
    ),
    Check(
        "one_reference_one_journal",
        "a reference makes one journal, a hold is resolved once, a journal is reversed once",
        """
select format('%s journals for reference %s', count(*), reference_id) from journal_entries group by reference_id having count(*) > 1
union all
select format('hold %s was resolved %s times', resolves, count(*)) from journal_entries
where resolves is not null group by resolves having count(*) > 1
union all
select format('journal %s was reversed %s times', reverses, count(*)) from journal_entries
where reverses is not null group by reverses having count(*) > 1""",
        _ALL_JOURNALS,
    ),
)

_EVENTS: tuple[Check, ...] = (
    Check(
        "journals_are_events",
        "every journal is what its event says, entry by entry, and every event of a journal has its journal",
        """
select format('journal %s has no event, or another time than its event', j.id)
from journal_entries j left join event_store e on e.event_id = j.event_id
where e.event_id is null or e.committed_at <> j.posted_at
    or j.id is distinct from case j.phase when 'VOIDED' then e.event_id else (e.data->>'journal_id')::uuid end
    or j.kind is distinct from coalesce(e.data->>'kind', 'RESERVATION') or j.reference is distinct from e.data->>'reference'
    or j.correlation_id is distinct from e.metadata->>'correlation_id' or j.reverses is distinct from (e.data->>'reverses')::uuid
    or j.resolves is distinct from case j.phase when 'VOIDED' then (e.data->>'journal_id')::uuid else (e.data->>'resolves')::uuid end
    or j.linked is distinct from (e.data->>'linked')::uuid or j.expires_at is distinct from (e.data->>'expires_at')::timestamptz
    or e.type <> case j.phase when 'POSTED' then 'JournalPosted' when 'PENDING' then 'JournalReserved' else 'HoldVoided' end
union all
select format('%s %s has no journal', m.what, m.journal_id)
from (select 'entry of' as what, journal_id, posted_at from entries union all
    select 'pending entry of', journal_id, posted_at from pending_entries) m
left join journal_entries j on j.id = m.journal_id where j.id is null or j.posted_at <> m.posted_at
union all
select format('event %s has %s journals', event_id, count(*)) from journal_entries group by event_id having count(*) > 1
union all
select format('event %s has no journal', e.event_id) from event_store e
where e.aggregate_type = 'journal' and not exists (select from journal_entries j where j.event_id = e.event_id)
union all
select format('journal %s: event and entries differ on account %s', coalesce(s.journal_id, w.journal_id),
    coalesce(s.account_id, w.account_id))
from (
    select (e.data->>'journal_id')::uuid as journal_id, (l->>'account_id')::uuid as account_id, l->>'direction' as direction,
        l->>'asset' as asset, sum((l->>'amount')::numeric) as amount, max(e.committed_at) as at
    from event_store e cross join lateral jsonb_array_elements(e.data->'legs') l where e.type = 'JournalPosted' group by 1, 2, 3, 4
) s full join (
    select journal_id, account_id, direction, asset, sum(amount) as amount, max(posted_at) as at from entries group by 1, 2, 3, 4
) w using (journal_id, account_id, direction, asset)
where s.amount is distinct from w.amount or s.at is distinct from w.at""",
        _ALL_JOURNALS,
    ),
    Check(
        "accounts_are_events",
        "every account is what it was opened as, under the name it was given last, with its balance row; entries are in its asset",
        """
select format('account %s is not what its events say', coalesce(a.id, o.aggregate_id))
from accounts a full join (select * from event_store where type = 'AccountOpened') o on o.aggregate_id = a.id
left join lateral (select data->>'name' as name from event_store n where n.aggregate_id = o.aggregate_id
    and n.type in ('AccountOpened', 'AccountRenamed') order by version desc limit 1) n on true
where a.id is null or o.aggregate_id is null or a.code is distinct from o.data->>'code' or a.type is distinct from o.data->>'account_type'
    or a.asset is distinct from o.data->>'asset' or a.owner is distinct from (o.data->>'owner')::uuid or a.name is distinct from n.name
    or a.may_overdraw is distinct from (o.data->>'may_overdraw')::boolean
union all
select format('account %s has no balance row', a.id) from accounts a left join account_balances b on b.account_id = a.id
where b.account_id is null
union all
select format('account %s: floor %s is not zero', account_id, floor) from account_balances where floor <> 0
union all
select format('account %s: was opened at %s, its row says %s', b.account_id, o.committed_at, b.as_of)
from account_balances b join event_store o on o.aggregate_id = b.account_id and o.version = 1
where b.version = 0 and b.as_of <> o.committed_at
union all
select format('journal %s: entry in %s on account %s of %s', m.journal_id, m.asset, m.account_id, a.asset)
from (select journal_id, account_id, asset from entries union all select journal_id, account_id, asset from pending_entries) m
join accounts a on a.id = m.account_id where a.asset <> m.asset
union all
select format('account %s: frozen for %s, events say %s', b.account_id, b.freezes, f.reasons)
from account_balances b cross join lateral (
    select coalesce(array_agg(distinct coalesce(f.data->>'reason', 'UNSPECIFIED')), '{}') as reasons from event_store f
    where f.aggregate_id = b.account_id and f.type = 'AccountFrozen' and not exists (
        select from event_store u where u.aggregate_id = f.aggregate_id and u.type = 'AccountUnfrozen' and u.version > f.version
            and coalesce(u.data->>'reason', 'UNSPECIFIED') = coalesce(f.data->>'reason', 'UNSPECIFIED'))) f
where not (b.freezes @> f.reasons and b.freezes <@ f.reasons)""",
        "select count(*) from accounts",
    ),
    Check(
        "movements_are_events",
        "the figures kept with every entry are those in its event, and no account skips one",
        f"""
select format('account %s, version %s: event and entries differ', coalesce(m.account_id, f.account_id),
    coalesce(m.account_version, f.version))
from ({MOVEMENTS}) m full join ({FIGURES}) f on f.account_id = m.account_id and f.version = m.account_version
where m.account_id is null or f.account_id is null or m.posted_after <> f.posted or m.pending_in_after <> f.pending_in
    or m.pending_out_after <> f.pending_out or m.posted_at <> f.committed_at""",
        _ALL_EVENTS,
    ),
    Check(
        "keys_are_events",
        "every remembered answer points at events that are there, and every journal's event is the answer of one",
        """
select format('key %s points at position %s with outcome %s', encode(i.scope, 'hex'), i.position, i.outcome)
from idempotency i cross join log_head h
where i.position > h.position or not (i.outcome ? 'events' or i.outcome ? 'refusal')
    or (i.outcome ? 'events' and i.position < (i.outcome->>'events')::bigint)
union all
select format('event %s at position %s is the answer of no key', e.event_id, e.position)
from event_store e left join (
    select generate_series(position - (outcome->>'events')::bigint + 1, position) as position from idempotency where outcome ? 'events'
) k using (position) where k.position is null and e.aggregate_type = 'journal'""",
        "select count(*) from idempotency",
    ),
    Check(
        "balances_are_events",
        "folding the events gives every balance row, account state included",
        f"""
select format('account %s: events end at version %s with %s, the balance row at %s with %s', b.account_id, f.version, f.posted,
    b.version, b.posted)
from account_balances b
left join (select distinct on (account_id) * from ({FIGURES}) f order by account_id, version desc) f using (account_id)
where b.version <> coalesce(f.version, 0) or b.posted <> coalesce(f.posted, 0) or b.pending_in <> coalesce(f.pending_in, 0)
    or b.pending_out <> coalesce(f.pending_out, 0)
union all
{ACCOUNT_STATE}""",
        _ALL_ACCOUNTS,
    ),
    Check(
        "one_order",
        "positions are 1 to the log's end without a gap, and stamps rise with them",
        f"""
select format('position %s follows %s', position, before) from (
    select position, lag(position, 1, 0::bigint) over (order by position) as before from event_store) p where position <> before + 1
union all
select format('position %s is stamped no later than the one before', position) from (
    select position, committed_at, lag(committed_at) over (order by position) as before from event_store) p where committed_at <= before
union all
{HEAD_IS_END}""",
        _ALL_EVENTS,
    ),
    Check(
        "hash_chains",
        "every event's hash is over its stored content and its predecessor's hash, and versions have no gap",
        f"""
select format('event %s (position %s, %s %s version %s) is not what was stored', event_id, position, aggregate_type, aggregate_id, version)
from (
    select e.*, lag(hash, 1, {NO_HASH}) over w as before, row_number() over w as place
    from event_store e window w as (partition by aggregate_id order by version)
) c
where version <> place or hash <> sha256(before || {HASHED})""",
        _ALL_EVENTS,
    ),
    Check(
        "published_from_events",
        "every event has its row for the bus, and nothing is published that is not in the store",
        """
select format('outbox row %s is no event at position %s', o.id, o.position)
from outbox o left join event_store e on e.event_id = o.id where e.event_id is null or e.position <> o.position
union all
select format('event %s at position %s has no outbox row and was not published', e.event_id, e.position)
from event_store e left join outbox o on o.id = e.event_id
where o.id is null and e.position > coalesce((select min(position) from relay_state where name = 'relay'), 0)
union all
select format('the relay is at %s, beyond the log''s end', r.position) from relay_state r, log_head h
where r.name = 'relay' and r.position > h.position""",
        "select count(*) from outbox",
    ),
    Check(
        "api_keys_are_events",
        "every API key's row says what its events say: whose it is, when it ends, whether it was answered for, whether it was revoked",
        """
select format('API key %s is not what its events say', coalesce(k.id, m.aggregate_id))
from api_keys k full join (select * from event_store where type = 'ApiKeyMade') m on m.aggregate_id = k.id
left join event_store r on r.aggregate_id = k.id and r.type = 'ApiKeyRevoked'
left join event_store y on y.aggregate_id = k.id and y.type = 'ApiKeyConfirmed'
where k.id is null or m.aggregate_id is null or k.owner is distinct from (m.data->>'owner')::uuid
    or k.expires_at is distinct from (m.data->>'expires_at')::timestamptz or k.revoked is distinct from (r.aggregate_id is not null)
    or k.confirmed is distinct from (m.data->>'challenge_id' is null or y.aggregate_id is not null)""",
        "select count(*) from api_keys",
    ),
    Check(
        "text_is_sealed",
        "no journal, account or event holds personal text in the clear",
        """
select format('journal %s has a reference in the clear', id) from journal_entries where reference !~ '^sealed:v1:'
union all
select format('account %s has a name in the clear', id) from accounts where owner is not null and name !~ '^sealed:v1:'
union all
select format('event %s has text in the clear', event_id) from event_store
where coalesce(data->>'name', 'sealed:v1:') !~ '^sealed:v1:' or coalesce(data->>'reference', 'sealed:v1:') !~ '^sealed:v1:'""",
        _ALL_EVENTS,
    ),
)

_READ_MODELS: tuple[Check, ...] = (
    Check(
        "read_models_are_events",
        "the balances that readers see, and their history, are what the events said; no version was skipped; the trail is the store's",
        f"""
select format('account %s: readers see %s at version %s, the event says %s', r.account_id, r.posted, r.version, f.posted)
from read_models.accounts r left join ({FIGURES}) f on f.account_id = r.account_id and f.version = r.version
where r.version > 0 and (f.version is null or r.posted <> f.posted or r.pending_in <> f.pending_in or r.pending_out <> f.pending_out
    or r.as_of <> f.committed_at)
union all
select format('account %s: history has %s versions of %s', r.account_id, count(h.version), r.version)
from read_models.accounts r left join read_models.balance_history h using (account_id)
group by r.account_id, r.version having count(h.version) <> r.version
union all
select format('account %s: history says %s at version %s, the event says %s', h.account_id, h.posted, h.version, f.posted)
from read_models.balance_history h left join ({FIGURES}) f using (account_id, version)
where f.version is null or h.posted <> f.posted or h.position <> f.position or h.event_id <> f.event_id
union all
select format('account %s: readers see another owner, asset or code than its events', r.account_id)
from read_models.accounts r left join accounts a on a.id = r.account_id
where a.id is null or r.owner is distinct from a.owner or r.asset <> a.asset or r.code <> a.code or r.account_type <> a.type
union all
select format('audit trail: event at position %s is missing, or differs from the store', coalesce(a.position, e.position))
from read_models.audit_events a
full join (
    select * from event_store where position <= (select min(position) from read_models.projection_positions)
) e using (position)
left join event_store later on later.position = a.position
where a.position is null
    or (later.hash, later.event_id, later.type, later.version, later.metadata->>'actor', later.metadata->>'correlation_id')
        is distinct from (a.hash, a.event_id, a.event_type, a.version, a.actor, a.correlation_id)""",
        "select count(*) from read_models.accounts",
    ),
)

CHECKS: tuple[Check, ...] = (*_LEDGER, *_EVENTS, *_READ_MODELS)
