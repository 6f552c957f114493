-- Requests weighed against sliding windows: each is admitted by all of its buckets and counted in all, or counted in none.
-- KEYS: the buckets of every request, one request after the other. ARGV: the window in ms, then per request the number of its
-- buckets and each bucket's limit. Returns two numbers per request: the wait in ms, 0 where it is admitted; and which of its buckets
-- demands it, from 0.
-- A window slides by weighing the fixed window before with what is left of it: two counters a bucket, whatever the rate. The
-- clock is Redis's own, one for all processes.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local window = tonumber(ARGV[1])
local slot, into = math.floor(now / window), now % window
local waits, key, argument = {}, 0, 2
while argument <= #ARGV do
    local buckets, wait, full, counts = tonumber(ARGV[argument]), 0, 0, {}
    for i = 1, buckets do
        local limit = tonumber(ARGV[argument + i])
        local held = redis.call('HMGET', KEYS[key + i], 'slot', 'count', 'before')
        local at, count, before = tonumber(held[1]), tonumber(held[2]), tonumber(held[3])
        if at == slot - 1 then
            count, before = 0, count
        elseif at ~= slot then
            count, before = 0, 0
        end
        counts[i] = {count, before}
        local until_room = 0
        if count + 1 > limit then -- full until the next window, in which these count as the ones before
            until_room = window - into + math.ceil(window * (1 - (limit - 1) / count))
        elseif before * (window - into) / window + count + 1 > limit then
            until_room = math.max(math.ceil(window * (1 - (limit - 1 - count) / before)) - into, 1)
        end
        if until_room > wait then
            wait, full = until_room, i - 1
        end
    end
    if wait == 0 then
        for i = 1, buckets do
            redis.call('HSET', KEYS[key + i], 'slot', slot, 'count', counts[i][1] + 1, 'before', counts[i][2])
            redis.call('PEXPIRE', KEYS[key + i], 2 * window)
        end
    end
    waits[#waits + 1] = wait
    waits[#waits + 1] = full
    key, argument = key + buckets, argument + buckets + 1
end
return waits
