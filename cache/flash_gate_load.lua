-- Loads a gate from what the database says. Answers 1, or 0 when a newer one is there.
-- KEYS: the gate, its tickets in flight. ARGV: its epoch; the mark that the gate there must still bear with nothing in
-- flight, or '' when any older gate may be overwritten; milliseconds to live; then its fields and their values.
local gate, flight = KEYS[1], KEYS[2]
local there = redis.call('HMGET', gate, 'epoch', 'version')
if ARGV[2] == '' then
    if there[1] and tonumber(there[1]) >= tonumber(ARGV[1]) then
        return 0
    end
elseif not there[1] or there[1] .. '.' .. there[2] ~= ARGV[2] or redis.call('ZCARD', flight) > 0 then
    return 0
end
redis.call('DEL', gate, flight)
-- A server that comes back from its file, or a replica in its place, has another life: see flash_gate_look.lua.
local about = redis.pcall('INFO', 'server')
local life = type(about) == 'string' and string.match(about, 'run_id:(%x+)') or ''
redis.call('HSET', gate, 'epoch', ARGV[1], 'version', 0, 'life', life)
for at = 4, #ARGV, 1000 do
    redis.call('HSET', gate, unpack(ARGV, at, math.min(at + 999, #ARGV)))
end
redis.call('PEXPIRE', gate, ARGV[3])
return 1
