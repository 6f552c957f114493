-- When each payment was made: what a person paid in a day is counted from here. By which rule, and which version of its data, it was
-- screened last, and since when it waits for an operator.
alter table payments
    add column made_at timestamptz,
    add column screened_by text,
    add column screened_against text,
    add column review_since timestamptz
--;
update payments p set made_at = (select e.committed_at from event_store e where e.aggregate_id = p.id and e.version = 1)
--;
alter table payments alter column made_at set not null
--;
create index payments_spent on payments (owner, made_at)
--;
create index payments_in_review on payments (review_since, id) where parked = 'REVIEW' and state = 'AWAITING_SCA'
