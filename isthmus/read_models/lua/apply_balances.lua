-- One partition's balances moved from ARGV[2] to ARGV[3]: KEYS[1] the hash, ARGV[1] the log's identity, then account and value pairs.
-- Values are "version|posted|pending in|pending out|as of"; a field is only replaced by a greater version;
-- an empty value takes the account away.
local stored = redis.call('HMGET', KEYS[1], '@log', '@position')
local at = -1
if stored[1] == ARGV[1] and stored[2] then at = tonumber(stored[2]) end
-- News of what is passed: the hash may have lost fields since, so that even an unknown field must not come back.
if at >= tonumber(ARGV[3]) then return at end
-- What lies between is unknown: nothing that is here can be believed any more.
if at < tonumber(ARGV[2]) then
    redis.call('UNLINK', KEYS[1])
    redis.call('HSET', KEYS[1], '@log', ARGV[1])
end
for i = 4, #ARGV, 2 do
    local held = redis.call('HGET', KEYS[1], ARGV[i])
    if ARGV[i + 1] == '' then
        redis.call('HDEL', KEYS[1], ARGV[i])
    elseif not held or tonumber(string.match(held, '^%d+')) < tonumber(string.match(ARGV[i + 1], '^%d+')) then
        redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
    end
end
redis.call('HSET', KEYS[1], '@position', ARGV[3])
return tonumber(ARGV[3])
