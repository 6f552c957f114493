-- Payments whose payee we are: which account here they top up.
alter table payments
    add column credits_account_id uuid
