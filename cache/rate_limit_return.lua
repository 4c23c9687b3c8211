-- Takes back a call that was taken a moment ago. KEYS: one for each limit. ARGV: for each what the call had cost.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
for i, key in ipairs(KEYS) do
    local paid = (tonumber(redis.call('GET', key)) or now) - ARGV[i]
    if paid > now then
        redis.call('SET', key, string.format('%.0f', paid), 'PX', math.ceil((paid - now) / 1000))
    else
        redis.call('DEL', key)
    end
end
return 0
