#!lua name=tiltshift
-- The writes of the farm, each atomic and fenced. KEYS[1] is always the epoch; ARGV[1] the caller's. A caller
-- with another epoch is no longer the leader and changes nothing. docs/redis.md describes the keys.

local function check_epoch(keys, args)
  if redis.call('GET', keys[1]) ~= args[1] then
    return redis.error_reply('STALE_EPOCH another scheduler leads this farm')
  end
end

-- Takes or keeps the lead. KEYS: epoch, leader. ARGV: name, ttl_ms, epoch held (0: none), by how much a new epoch
-- is greater than the last. A server that knows an earlier epoch than the one held, and no holder but us, came back
-- without this leadership: it begins anew, as a later one.
-- Returns {epoch, holder}: the caller's epoch, or 0 and who leads.
local function lead(keys, args)
  local holder = redis.call('GET', keys[2])
  if holder and holder ~= args[1] then
    return {0, holder}
  end
  local epoch = args[3]
  if epoch == '0' then
    epoch = redis.call('INCRBY', keys[1], args[4])
  else
    local stored = redis.call('GET', keys[1])
    if not stored then return {0, 'nobody: Redis is empty'} end
    if tonumber(stored) > tonumber(epoch) then return {0, 'a later epoch'} end
    if stored ~= epoch then
      epoch = string.format('%.0f', tonumber(epoch) + tonumber(args[4]))
      redis.call('SET', keys[1], epoch)
    end
  end
  redis.call('SET', keys[2], args[1], 'PX', args[2])
  return {tonumber(epoch), args[1]}
end

-- KEYS: epoch, leader. ARGV: epoch, name.
local function resign(keys, args)
  if redis.call('GET', keys[2]) == args[2] and redis.call('GET', keys[1]) == args[1] then
    redis.call('DEL', keys[2])
  end
  return 1
end

-- KEYS: epoch, jobs, job, request (or the job again, where no request id was given).
-- ARGV: epoch, job id, submitted_ms, variants, spec, has_request. Returns the job's id, old or new.
local function submit(keys, args)
  local stale = check_epoch(keys, args)
  if stale then return stale end
  if args[6] == '1' then
    local earlier = redis.call('GET', keys[4])
    if earlier then return earlier end
    redis.call('SET', keys[4], args[2])
  end
  if redis.call('EXISTS', keys[3]) == 0 then
    redis.call('HSET', keys[3], 'spec', args[5], 'variants', args[4], 'submitted_ms', args[3],
               'started_ms', '0', 'ended_ms', '0', 'committed', '0', 'failed', '0', 'cancelled', '0')
    redis.call('ZADD', keys[2], args[3], args[2])
  end
  return args[2]
end

-- A contest has further entries. KEYS: epoch, job. ARGV: epoch, spec, variants in all. Later calls have more of them;
-- fewer change nothing. An ended job runs again, unless it was cancelled.
local function append(keys, args)
  local stale = check_epoch(keys, args)
  if stale then return stale end
  local job = redis.call('HMGET', keys[2], 'variants', 'cancelled')
  if not job[1] or tonumber(job[1]) >= tonumber(args[3]) or job[2] == '1' then return 0 end
  redis.call('HSET', keys[2], 'spec', args[2], 'variants', args[3], 'ended_ms', '0')
  return 1
end

-- redis.call for the arguments from `first` on, however many: Lua unpacks a few thousand at most.
local function call_in_parts(command, key, arguments, first)
  for i = first, #arguments, 2000 do
    redis.call(command, key, unpack(arguments, i, math.min(i + 1999, #arguments)))
  end
end

-- KEYS: epoch, leases, last token, job. ARGV: epoch, now_ms, the greatest token, then token, record, in the order of
-- the grants. Redis keeps a small hash as a list, and walks through it for every field; one value over 64 bytes makes
-- it a table for as long as the key is there: the first record ends in spaces.
local function lease(keys, args)
  local stale = check_epoch(keys, args)
  if stale then return stale end
  if redis.call('EXISTS', keys[2]) == 0 then args[5] = args[5] .. string.rep(' ', 65) end
  call_in_parts('HSET', keys[2], args, 4)
  if tonumber(args[3]) > tonumber(redis.call('GET', keys[3]) or '0') then redis.call('SET', keys[3], args[3]) end
  if redis.call('HGET', keys[4], 'started_ms') == '0' then
    redis.call('HSET', keys[4], 'started_ms', args[2])
  end
  return 1
end

-- KEYS: epoch, leases. ARGV: epoch, token...
local function release(keys, args)
  local stale = check_epoch(keys, args)
  if stale then return stale end
  call_in_parts('HDEL', keys[2], args, 2)
  return 1
end

local kLong = 8192     -- bits: a longer range is set as a whole, the rest of its neighbourhood bit by bit
local kWindow = 16384  -- bits that are read, changed and written back together
local kMask = {128, 64, 32, 16, 8, 4, 2, 1}

local function bytes_of(key, from, to)
  local bytes = {string.byte(redis.call('GETRANGE', key, from, to), 1, -1)}
  for i = #bytes + 1, to - from + 1 do bytes[i] = 0 end
  return bytes
end

-- Sets the bits of the ranges i .. j in one piece.
local function set_window(key, other, ranges, i, j)
  local from, to = math.floor(ranges[i][1] / 8), math.floor(ranges[j][2] / 8)
  local bytes, taken = bytes_of(key, from, to), other and bytes_of(other, from, to)
  local new = 0
  for r = i, j do
    local at, last = ranges[r][1], ranges[r][2]
    while at <= last do
      local k = math.floor(at / 8) - from + 1
      if at % 8 == 0 and at + 7 <= last and bytes[k] == 0 and not (taken and taken[k] ~= 0) then
        bytes[k] = 255
        new = new + 8
        at = at + 8
      else
        local mask = kMask[at % 8 + 1]
        if bit.band(bytes[k], mask) == 0 and not (taken and bit.band(taken[k], mask) ~= 0) then
          bytes[k] = bytes[k] + mask
          new = new + 1
        end
        at = at + 1
      end
    end
  end
  if new > 0 then redis.call('SETRANGE', key, from, string.char(unpack(bytes))) end
  return new
end

-- Sets whole bytes from .. to; false where `other` has one of their bits.
local function set_bytes(key, other, from, to)
  if other and redis.call('BITCOUNT', other, from, to) > 0 then return false end
  local new = 8 * (to - from + 1) - redis.call('BITCOUNT', key, from, to)
  if new > 0 then redis.call('SETRANGE', key, from, string.rep('\255', to - from + 1)) end
  return new
end

-- Sets the bits of n ranges, in arguments first, count from `at` on, sorted and apart, of `key`, leaving out what
-- `other` has; returns how many were new.
local function set_bits(key, other, args, at, n)
  if redis.call('EXISTS', other) == 0 then other = nil end
  local pieces = {}  -- a long one is cut into bytes and what is before and after
  for k = at, at + 2 * n - 2, 2 do
    local first = tonumber(args[k])
    local last = first + args[k + 1] - 1
    if last - first >= kLong then
      local from, to = math.ceil(first / 8), math.floor((last + 1) / 8) - 1
      if first < 8 * from then pieces[#pieces + 1] = {first, 8 * from - 1} end
      pieces[#pieces + 1] = {8 * from, 8 * to + 7, true}
      first = 8 * to + 8
    end
    if first <= last then pieces[#pieces + 1] = {first, last} end
  end
  local new, i = 0, 1
  while i <= #pieces do
    if pieces[i][3] then
      local set = set_bytes(key, other, pieces[i][1] / 8, (pieces[i][2] - 7) / 8)
      if not set then  -- something of it has failed: in parts
        set = 0
        for at = pieces[i][1], pieces[i][2], kLong do
          set = set + set_window(key, other, {{at, math.min(at + kLong - 1, pieces[i][2])}}, 1, 1)
        end
      end
      new = new + set
      i = i + 1
    else
      local j = i
      while j < #pieces and not pieces[j + 1][3] and pieces[j + 1][2] - pieces[i][1] < kWindow do j = j + 1 end
      new = new + set_window(key, other, pieces, i, j)
      i = j + 1
    end
  end
  return new
end

-- KEYS: epoch, leases, job, done bitmap, failed bitmap, failures, attempts.
-- ARGV: epoch, now_ms, job id, bytes of all its outputs, n, n tokens, m, m x (first, count), then failures: index,
-- final, attempts, reason.
-- Where a token is no live lease of this job nothing is changed. Returns {the job's committed and failed in all,
-- such tokens...}: totals, so that a group sent twice tells the truth both times.
local function commit(keys, args)
  local stale = check_epoch(keys, args)
  if stale then return stale end
  local job = redis.call('HMGET', keys[3], 'variants', 'committed', 'failed', 'ended_ms')
  local variants = tonumber(job[1] or nil)
  if not variants then return {0, 0} end -- a server that lost this job's last second: its leases as well
  local n = tonumber(args[5])
  local refused, prefix = {}, args[3] .. ' '
  for i = 6, 5 + n, 2000 do
    for k, record in ipairs(redis.call('HMGET', keys[2], unpack(args, i, math.min(i + 1999, 5 + n)))) do
      if not record or string.sub(record, 1, #prefix) ~= prefix then refused[#refused + 1] = args[i + k - 1] end
    end
  end
  if #refused > 0 then return {tonumber(job[2]), tonumber(job[3]), unpack(refused, 1, math.min(#refused, 1000))} end
  local m = tonumber(args[6 + n])
  local committed, failed = set_bits(keys[4], keys[5], args, 7 + n, m), 0
  for f = 7 + n + 2 * m, #args, 4 do
    if redis.call('GETBIT', keys[4], args[f]) == 0 then
      redis.call('HSET', keys[7], args[f], args[f + 2])
      if args[f + 1] == '1' and redis.call('SETBIT', keys[5], args[f], 1) == 0 then
        failed = failed + 1
        redis.call('HSET', keys[6], args[f], args[f + 3])
      end
    end
  end
  local all_committed, all_failed = job[2] + committed, job[3] + failed
  redis.call('HSET', keys[3], 'committed', all_committed, 'failed', all_failed, 'stored_bytes', args[4])
  if all_committed + all_failed >= variants and job[4] == '0' then
    redis.call('HSET', keys[3], 'ended_ms', args[2])
  end
  return {all_committed, all_failed}
end

-- KEYS: epoch, job. ARGV: epoch, now_ms. A job that has ended stays as it is.
local function cancel(keys, args)
  local stale = check_epoch(keys, args)
  if stale then return stale end
  if redis.call('HGET', keys[2], 'ended_ms') == '0' then
    redis.call('HSET', keys[2], 'cancelled', '1', 'ended_ms', args[2])
  end
  return 1
end

-- KEYS: epoch, job. ARGV: epoch, field ('paused', 'priority' or 'render_class'), value.
local function set(keys, args)
  local stale = check_epoch(keys, args)
  if stale then return stale end
  if redis.call('EXISTS', keys[2]) == 1 then redis.call('HSET', keys[2], args[2], args[3]) end
  return 1
end

-- Failed variants wait again. KEYS: epoch, job, failed bitmap, failures, attempts. ARGV: epoch. A cancelled job stays
-- cancelled. Doing it twice changes nothing more.
local function retry(keys, args)
  local stale = check_epoch(keys, args)
  if stale then return stale end
  if redis.call('HGET', keys[2], 'cancelled') ~= '0' or redis.call('HGET', keys[2], 'failed') == '0' then return 0 end
  redis.call('DEL', keys[3], keys[4], keys[5])
  redis.call('HSET', keys[2], 'failed', '0', 'ended_ms', '0')
  return 1
end

redis.register_function('ts_lead', lead)
redis.register_function('ts_resign', resign)
redis.register_function('ts_submit', submit)
redis.register_function('ts_append', append)
redis.register_function('ts_lease', lease)
redis.register_function('ts_release', release)
redis.register_function('ts_commit', commit)
redis.register_function('ts_cancel', cancel)
redis.register_function('ts_set', set)
redis.register_function('ts_retry', retry)
