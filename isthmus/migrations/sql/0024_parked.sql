-- Since when a payment waits for somebody to look into it; and what operators found that the bank moved for it, where they had to.
alter table payments
    add column parked_since timestamptz,
    add column moved numeric(78, 18) check (moved >= 0)
--;
update payments p set parked_since = (
    select max(e.committed_at) from event_store e where e.aggregate_id = p.id and e.type = 'PaymentParked')
where p.parked is not null
--;
create index payments_parked on payments (parked_since, id) where parked is not null and parked <> 'REVIEW'
--;
-- What a person is told of is what moved.
create or replace view listed_notifications as
select n.id, n.owner, n.number, n.kind, n.subject_id, n.happened_at, n.read_at,
    coalesce(nullif(p.moved, 0), p.amount)::numeric(78, 18) as amount, p.asset, p.payee_name, d.name as device_name,
    i.name as bank_name, c.expires_at
from notifications n
left join payments p on p.id = n.subject_id and p.owner = n.owner
left join sca_devices d on d.id = n.subject_id and d.owner = n.owner
left join consents c on c.id = n.subject_id and c.owner = n.owner
left join institutions i on i.id = c.institution_id
where exists (select from person_keys k where k.person_id = n.owner and k.created_at <= n.noted_at)
