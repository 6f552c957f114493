-- Challenges that a bank puts to its own customer: on which device (sealed), how soon to look again, what the person is to come back
-- with (sealed), and since when the bank is known to ask.
alter table sca_challenges
    add column device text,
    add column poll_after_s integer not null default 2,
    add column return_state text,
    add column asked_at timestamptz
