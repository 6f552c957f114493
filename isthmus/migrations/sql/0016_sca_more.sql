-- Payments that nobody was asked for: by which rule, and those since the person was last asked, which are counted.
alter table payments add column exempted_by text, add column exempted_under text
--;
create table unproven_payments (
    payment_id uuid primary key,
    owner uuid not null,
    asset text not null,
    amount numeric(78, 18) not null
)
--;
create index unproven_payments_owner on unproven_payments (owner)
