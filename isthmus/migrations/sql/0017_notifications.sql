-- What people are told of without asking: a row per event, written once. `number` counts a person's own, in the order of the commits.
create table notification_heads (
    owner uuid primary key,
    last bigint not null default 0
)
--;
create table notifications (
    id uuid primary key,
    owner uuid not null,
    number bigint not null,
    kind text not null,
    subject_id uuid not null,
    happened_at timestamptz not null,
    noted_at timestamptz not null default now(),
    read_at timestamptz,
    unique (owner, number)
)
--;
create index notifications_unread on notifications (owner) where read_at is null
--;
create function tell_of_notification() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $body$
begin
    perform pg_notify('isthmus_notifications', new.owner || ' ' || new.id || ' ' || new.number);
    return new;
end
$body$
--;
create trigger tell_of_notification after insert on notifications for each row execute function tell_of_notification()
--;
-- What carries each to its person: once per channel.
create table notification_deliveries (
    notification_id uuid not null references notifications,
    channel text not null check (channel in ('PUSH', 'EMAIL')),
    state text not null default 'WAITING' check (state in ('WAITING', 'SENT', 'FAILED', 'LATE', 'UNWANTED', 'ERASED')),
    tries integer not null default 0,
    look_at timestamptz not null default now(),
    primary key (notification_id, channel)
)
--;
create index notification_deliveries_waiting on notification_deliveries (look_at) where state = 'WAITING'
--;
-- What a person does not want; what has no row they do.
create table notification_preferences (
    owner uuid not null,
    kind text not null,
    channel text not null check (channel in ('PUSH', 'EMAIL')),
    primary key (owner, kind, channel)
)
--;
-- Up to where in the log nothing is missing, whatever the bus lost. What happened before this table was made is told to nobody.
create table notification_cursor (
    one boolean primary key default true check (one),
    position bigint not null
)
--;
insert into notification_cursor (position) select coalesce(max(position), 0) from event_store
--;
-- With what their words are made of (texts sealed). An erased person's key row is gone; one who came back has a younger one.
create view listed_notifications as
select n.id, n.owner, n.number, n.kind, n.subject_id, n.happened_at, n.read_at, p.amount, p.asset, p.payee_name, d.name as device_name,
    i.name as bank_name, c.expires_at
from notifications n
left join payments p on p.id = n.subject_id and p.owner = n.owner
left join sca_devices d on d.id = n.subject_id and d.owner = n.owner
left join consents c on c.id = n.subject_id and c.owner = n.owner
left join institutions i on i.id = c.institution_id
where exists (select from person_keys k where k.person_id = n.owner and k.created_at <= n.noted_at)
