/**
 * Everything that changes the server is one of these scripts: Redis runs each as a whole, so that a term is looked at and
 * acted upon in the same instant. KEYS: 1 office (hash: term, revision), 2 lease (owner and name of the leader, with an end),
 * 3 data (hash: key → revision LF value), 4 index (sorted set of keys, in the order of bytes). ARGV 1 is the channel on
 * which changes of the leader are told. Counts stay strings: Lua's own formatting rounds beyond 14 digits.
 */
const office = `
local function count(field) return redis.call('HGET', KEYS[1], field) or '0' end
local function behind(field, seen)
  if tonumber(count(field)) < tonumber(seen) then return {'BEHIND', field, count(field)} end
end
`

/**
 * ARGV: channel, term, revision seen, then key, expected revision or '', '1' and value or '0' and ''.
 * Answers OK and the revision; TERM and the newest; BEHIND, field and count; CONFLICT, key and revision.
 */
export const writeScript = `${office}
if tonumber(count('term')) > tonumber(ARGV[2]) then return {'TERM', count('term')} end
local lost = behind('term', ARGV[2]) or behind('revision', ARGV[3])
if lost then return lost end
for i = 4, #ARGV, 4 do
  if ARGV[i + 1] ~= '' then
    local entry = redis.call('HGET', KEYS[3], ARGV[i])
    local found = entry and string.match(entry, '^%d+') or '0'
    if found ~= ARGV[i + 1] then return {'CONFLICT', ARGV[i], found} end
  end
end
redis.call('HINCRBY', KEYS[1], 'revision', 1)
local revision = count('revision')
for i = 4, #ARGV, 4 do
  if ARGV[i + 2] == '1' then
    redis.call('HSET', KEYS[3], ARGV[i], revision .. '\\n' .. ARGV[i + 3])
    redis.call('ZADD', KEYS[4], 0, ARGV[i])
  else
    redis.call('HDEL', KEYS[3], ARGV[i])
    redis.call('ZREM', KEYS[4], ARGV[i])
  end
end
return {'OK', revision}
`

/** ARGV: channel, prefix, last key of the page before or '', page size. Answers key, entry, key, entry, … . */
export const listScript = `
local from = ARGV[3] == '' and '[' .. ARGV[2] or '(' .. ARGV[3]
local keys = redis.call('ZRANGEBYLEX', KEYS[4], from, '(' .. ARGV[2] .. '\\255', 'LIMIT', 0, ARGV[4])
local page = {}
for _, key in ipairs(keys) do
  page[#page + 1] = key
  page[#page + 1] = redis.call('HGET', KEYS[3], key)
end
return page
`

/**
 * ARGV: channel, owner, lease in ms, term seen, revision seen. Answers OK and the term; HELD, how long still (ms), term, revision;
 * BEHIND, field and count. The holder itself may ask again, when it did not hear the answer.
 */
export const electScript = `${office}
local lost = behind('term', ARGV[4]) or behind('revision', ARGV[5])
if lost then return lost end
local holder = redis.call('GET', KEYS[2])
if holder == ARGV[2] then
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
  return {'OK', count('term')}
end
if holder then return {'HELD', tostring(redis.call('PTTL', KEYS[2])), count('term'), count('revision')} end
redis.call('SET', KEYS[2], ARGV[2], 'NX', 'PX', ARGV[3])
redis.call('HINCRBY', KEYS[1], 'term', 1)
redis.call('PUBLISH', ARGV[1], ARGV[2])
return {'OK', count('term')}
`

/**
 * ARGV: channel, owner, lease in ms, term, revision seen. Answers OK; LOST when another leads or the lease has ended; BEHIND,
 * field and count: a leader that has nothing to write must learn too that the server has lost what it wrote.
 */
export const renewScript = `${office}
local lost = behind('revision', ARGV[5])
if lost then return lost end
if redis.call('GET', KEYS[2]) ~= ARGV[2] or count('term') ~= ARGV[4] then return {'LOST', count('term')} end
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return {'OK', count('term')}
`

/** ARGV: channel, owner. Gives the lease back, if it is the owner's. */
export const resignScript = `
if redis.call('GET', KEYS[2]) == ARGV[2] then
  redis.call('DEL', KEYS[2])
  redis.call('PUBLISH', ARGV[1], '')
end
return {'OK'}
`
