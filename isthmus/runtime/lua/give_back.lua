-- KEYS: buckets in each of which one request counts that shall not, in this window or the one before.
for _, key in ipairs(KEYS) do
    for _, field in ipairs({'count', 'before'}) do
        if tonumber(redis.call('HGET', key, field) or 0) > 0 then
            redis.call('HINCRBY', key, field, -1)
            break
        end
    end
end
return #KEYS
