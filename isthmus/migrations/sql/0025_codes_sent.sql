-- When challenges were issued: those that send a code are counted. Codes have lasted for five minutes ever since there are any.
alter table sca_challenges
    add column issued_at timestamptz not null default now()
--;
update sca_challenges set issued_at = expires_at - interval '5 minutes'
--;
create index sca_challenges_codes on sca_challenges (owner, issued_at) where method = 'ONE_TIME_CODE'
