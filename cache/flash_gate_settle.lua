-- Says what became of tickets. Each is settled once, however often it is said. A ticket is pieces:state:member, its
-- state f (in flight), k (kept by an order) or r (released; its request stays known).
-- KEYS: the gate, its tickets in flight. ARGV: how many pieces the database would let anybody take, or -1 if that was
-- not asked; then for each ticket what became of it, its request, member and pieces:
--   keep     its order is written, with pieces that anybody could have taken; fewer than before: the rest came back
--   claim    its order is written, with pieces that had been set aside for this member
--   drop     no order was written
--   release  its order gave the pieces back
local gate, flight = KEYS[1], KEYS[2]
if redis.call('EXISTS', gate) == 0 then
    return 0
end
local open = tonumber(ARGV[1])
local function add_left(amount)
    local left = tonumber(redis.call('HGET', gate, 'left')) + amount
    if open >= 0 and amount > 0 and left > open then
        -- The queue has them, or there are orders that this gate has missed.
        left = open
        redis.call('HSET', gate, 'lowered', 1)
    end
    redis.call('HSET', gate, 'left', math.max(left, 0))
end
local function add_had(member, amount)
    if redis.call('HINCRBY', gate, 'm:' .. member, amount) <= 0 then
        redis.call('HDEL', gate, 'm:' .. member)
    end
end
for at = 2, #ARGV, 4 do
    local what, request, member, pieces = ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
    local field = 't:' .. request
    local known = redis.call('HGET', gate, field)
    local has, state = string.match(known or '0::', '^(%d+):(%a?):')
    has = tonumber(has)
    if what == 'keep' or what == 'claim' then
        if state == '' or state == 'r' then
            add_had(member, pieces)
            if what == 'keep' then
                add_left(-pieces)
            end
        elseif pieces < has then
            add_had(member, pieces - has)
            add_left(has - pieces)
        else
            pieces = has
        end
        redis.call('HSET', gate, field, pieces .. ':k:' .. member)
    elseif what == 'drop' and state == 'f' then
        add_had(member, -pieces)
        add_left(pieces)
        redis.call('HDEL', gate, field)
    elseif what == 'release' and (state == 'f' or state == 'k') then
        add_had(member, -has)
        add_left(has)
        redis.call('HSET', gate, field, has .. ':r:' .. member)
    end
    redis.call('ZREM', flight, request)
end
redis.call('HINCRBY', gate, 'version', 1)
return 1
