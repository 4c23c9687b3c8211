-- GCRA: a key holds the instant (in microseconds) at which all that was taken so far will have been paid for.
-- KEYS: one for each limit. ARGV: for each limit the microseconds that the call costs, and how many may be owed.
-- Answers {0} when every limit allows the call, which is then taken from all of them; otherwise takes nothing and
-- answers the microseconds after which all of them would allow it, and which limit (from 1) it is that takes longest.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local paid = {}
local wait, longest = 0, 0
for i, key in ipairs(KEYS) do
    paid[i] = math.max(tonumber(redis.call('GET', key) or now), now) + ARGV[2 * i - 1]
    local over = paid[i] - ARGV[2 * i] - now
    if over > wait then
        wait, longest = over, i
    end
end
if wait > 0 then
    return {wait, longest}
end
for i, key in ipairs(KEYS) do
    redis.call('SET', key, string.format('%.0f', paid[i]), 'PX', math.ceil((paid[i] - now) / 1000))
end
return {0}
