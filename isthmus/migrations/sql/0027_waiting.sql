-- Since when it is not known what became of a payment that was sent; it means nothing in any other state, where a process of the release
-- before may have left it.
alter table payments add column unknown_since timestamptz
--;
update payments p set unknown_since = (
    select min(e.committed_at) from event_store e where e.aggregate_id = p.id and e.type = 'PaymentSubmissionStarted')
where p.state = 'AUTHORISED'
--;
create index payments_unknown on payments (unknown_since) where unknown_since is not null and state = 'AUTHORISED'
--;
-- The house's own accounts are few among everybody's, and are looked at every few seconds.
create index accounts_house on accounts (split_part(code, ':', 1)) where owner is null
