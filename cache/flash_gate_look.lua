-- How a gate stands, and lowers it to what the database would let anybody take.
-- KEYS: the gate, its tickets in flight. ARGV: those pieces, or -1 to lower nothing; the instant (ms) before which a
-- ticket in flight is old; how many old ones to name.
-- Answers nothing when there is no gate; else its mark, its pieces before lowering, how many tickets are in flight,
-- whether it has missed something since it was loaded (1 or 0), and of the old ones request, member and pieces.
-- It has if it was lowered, or if this is another life of the server than the one in which it was loaded: its last
-- moments may be lost, and what was lost of two members may leave the right number of pieces.
local gate, flight = KEYS[1], KEYS[2]
local there = redis.call('HMGET', gate, 'epoch', 'version', 'left', 'lowered', 'life')
if not there[1] then
    return {}
end
local mark, left = there[1] .. '.' .. there[2], tonumber(there[3])
local open = tonumber(ARGV[1])
if open >= 0 and left > open then
    redis.call('HSET', gate, 'left', open, 'lowered', 1)
    redis.call('HINCRBY', gate, 'version', 1)
end
local about = redis.pcall('INFO', 'server')
local life = type(about) == 'string' and string.match(about, 'run_id:(%x+)') or ''
local missed = (there[4] == '1' or there[5] ~= life) and 1 or 0
local seen = {mark, left, redis.call('ZCARD', flight), missed}
for _, request in ipairs(redis.call('ZRANGEBYSCORE', flight, '-inf', ARGV[2], 'LIMIT', 0, ARGV[3])) do
    local pieces, member = string.match(redis.call('HGET', gate, 't:' .. request) or '', '^(%d+):%a:(.+)$')
    seen[#seen + 1] = request
    seen[#seen + 1] = member or ''
    seen[#seen + 1] = pieces or '0'
end
return seen
