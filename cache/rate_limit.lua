-- GCRA: a key holds the instant (in microseconds) at which all that was taken so far will have been paid for.
-- KEYS: one for each limit, and after them the session that calls, if it must be alive (see session_state.py).
-- ARGV: for each limit the microseconds that the call costs, and how many may be owed.
-- Answers {0} when every limit allows the call, which is then taken from all of them; otherwise takes nothing and
-- answers the microseconds after which all of them would allow it, and which limit (from 1) it is that takes longest;
-- {-1, 0} when nothing is known of the session, {-1, 1} when it has ended.
local limits = #ARGV / 2
if KEYS[limits + 1] then
    local state = redis.call('GET', KEYS[limits + 1])
    if state ~= '1' then
        return {-1, state and 1 or 0}
    end
end
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local paid = {}
local wait, longest = 0, 0
for i = 1, limits do
    paid[i] = math.max(tonumber(redis.call('GET', KEYS[i]) or now), now) + ARGV[2 * i - 1]
    local over = paid[i] - ARGV[2 * i] - now
    if over > wait then
        wait, longest = over, i
    end
end
if wait > 0 then
    return {wait, longest}
end
for i = 1, limits do
    redis.call('SET', KEYS[i], string.format('%.0f', paid[i]), 'PX', math.ceil((paid[i] - now) / 1000))
end
return {0}
