-- buckets: token buckets, exact to the microsecond, in one hash.
-- KEYS: buckets
-- A bucket is stored as tokens and the time they were counted (d d); one that is not stored is full.

local bucket_cache, bucket_dirty = {}, {}

-- The bucket FIELD, filled up to now: {tokens, rate (per second), burst}. A burst under one token counts as one,
-- else nothing would ever pass.
local function bucket(field, rate, burst)
  local b = bucket_cache[field]
  if b then return b end
  burst = math.max(1, burst)
  b = {tokens = burst, rate = rate, burst = burst}
  local raw = call('HGET', BUCKETS, field)
  if raw then
    local tokens, at = struct.unpack('>dd', raw)
    b.tokens = math.min(burst, tokens + math.max(0, now_us - at) * rate / 1000000)
  end
  bucket_cache[field] = b
  return b
end

local function bucket_take(field, b, n)
  b.tokens = b.tokens - n
  bucket_dirty[field] = b
end

-- Milliseconds until the bucket holds a whole token again.
local function bucket_wait(b)
  if b.tokens >= 1 then return 0 end
  return math.ceil((1 - b.tokens) / b.rate * 1000)
end

local function bucket_flush()
  local pairs_ = {}
  for field, b in pairs(bucket_dirty) do
    pairs_[#pairs_ + 1] = field
    pairs_[#pairs_ + 1] = struct.pack('>dd', b.tokens, now_us)
  end
  call_many('HSET', BUCKETS, pairs_)
  bucket_dirty = {}
end
