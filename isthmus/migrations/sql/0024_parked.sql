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
