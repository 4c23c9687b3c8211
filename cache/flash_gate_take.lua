-- Takes a ticket for a request, once however often it is asked for.
-- KEYS: the gate, its tickets in flight. ARGV: request, member, pieces, now (ms), the most anybody's early access is
-- (ms), the member's early access (ms) or '' if the caller does not know it, and until when (ms) it may be remembered.
local gate, flight = KEYS[1], KEYS[2]
local request, member, wanted, now = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local most_early, early, early_until = tonumber(ARGV[5]), ARGV[6], ARGV[7]
local facts = redis.call('HMGET', gate, 'state', 'opens', 'closes', 'limit', 'left', 't:' .. request)
if not facts[1] then
    return {'GONE'}
end
if facts[6] then
    return {'KNOWN'}
end
if facts[1] ~= 'open' then
    return {'CLOSED'}
end
local opens = tonumber(facts[2])
if now < opens then
    if now < opens - most_early then
        return {'NOT_OPEN'}
    end
    if early == '' then
        local kept = redis.call('HGET', gate, 'e:' .. member)
        local figure, till = string.match(kept or '', '^(%d+):(%d+)$')
        if not figure or now >= tonumber(till) then
            return {'ASK_EARLY'}
        end
        early = figure
    else
        redis.call('HSET', gate, 'e:' .. member, early .. ':' .. early_until)
    end
    if now < opens - tonumber(early) then
        return {'NOT_OPEN'}
    end
end
if now >= tonumber(facts[3]) then
    return {'OVER'}
end
local limit = tonumber(facts[4])
local had = tonumber(redis.call('HGET', gate, 'm:' .. member) or 0)
if had + wanted > limit then
    return {'LIMIT', limit, had}
end
if tonumber(facts[5]) < wanted then
    return {'SOLD_OUT'}
end
redis.call('HINCRBY', gate, 'left', -wanted)
redis.call('HINCRBY', gate, 'version', 1)
redis.call('HINCRBY', gate, 'm:' .. member, wanted)
redis.call('HSET', gate, 't:' .. request, wanted .. ':f:' .. member)
redis.call('ZADD', flight, now, request)
redis.call('PEXPIRE', flight, 604800000)
return {'TAKEN'}
