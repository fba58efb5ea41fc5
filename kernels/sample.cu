// Drawing tokens from logits, so that nothing but tokens and the log-probabilities that are asked for leaves the GPU.
//
// Of each row, in this order: bias, bans, mask, penalties; then the largest, or (temperature above zero) what top-k, min-p and top-p
// leave, by the largest of `logit / temperature + noise`. The definition is that of `src/sample`, token for token: noise is a function
// of seed, choice, position and token; logits are ranked by value and equal ones by id; top-p sums are of integers, whose order does
// not matter. Log-probabilities are of the logits as they come.
//
// logits `[B, V]` f32, V below 2^24; work `[B, V]` f32, for the rows that change. counts `[slots, V]`: how often a token is in a
// sequence's output, and in bit 31 whether it is in its prompt; `count_tokens` keeps it.
// Must move 4 V bytes a row and pass: one to draw; with filters one for the largest and up to 7 for each of top-k and top-p (from the
// second-level cache).
// Launch: a block of 512 threads a row. count_tokens: a block of 256 threads a run of tokens.
#include "common.cuh"

constexpr int THREADS = 512, WARPS = THREADS / WARP;
constexpr int MAX_LOGPROBS = 20;
constexpr uint32_t NONE = 0xffffffff, IN_PROMPT = 0x80000000;
/// A top-p weight of one. 2^18 of them fit 64 bits.
constexpr double ONE = double(1ull << 44);

/// How a row is drawn from. Ranges are of `pool`, with each token once; those of the bias have its values, too, in `pool_values`.
struct Row {
    float temperature, top_p, min_p, repetition, frequency, presence;
    int top_k;
    /// How many of the likeliest are told; below zero: none, nor the drawn one's.
    int num_logprobs;
    /// The token that is known to come next, or below zero.
    int known;
    /// Of its sequence in counts and of its mask in masks; below zero where it has none.
    int counts, mask;
    uint32_t choice, position, seed_low, seed_high;
    int bias, bias_end, banned, banned_end;
};

/// Rises with the logit, as IEEE's total order does; both zeros are one.
DEVICE uint32_t key_of(float logit) {
    const uint32_t bits = float_to_bits(logit + 0.0f);
    return bits & 0x80000000 ? ~bits : bits | 0x80000000;
}

/// The last of those that are selected, which are ranked by key, the largest first, and of one key by id.
struct Last {
    uint32_t key, id;
    DEVICE_MEMBER bool includes(uint32_t k, uint32_t i) const { return k > key || (k == key && i <= id); }
};
constexpr Last ALL = {0, NONE};

/// The finaliser of SplitMix64.
DEVICE uint64_t mix(uint64_t x) {
    x += 0x9e3779b97f4a7c15;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

/// A score and whose it is.
struct Best {
    double score;
    uint32_t id;
    DEVICE_MEMBER void take(double s, uint32_t i) {
        if (s > score || (s == score && i < id && id != NONE)) score = s, id = i;
    }
};

/// What the threads of a row share.
struct Scratch {
    Shared<double> doubles;
    Shared<uint32_t> words;
    /// Sums of weights by digit, by halves: cards add to words of 64 bits by trying until it fits.
    Shared<uint32_t> low, high;
    /// What a warp has found for all: the digit, whether there was one, and what is still to be reached.
    Shared<uint64_t> found;

    /// Adds to a digit's weight. A half's overflow goes to the other one, whoever else adds meanwhile.
    DEVICE_MEMBER void add(uint32_t digit, uint64_t weight) const {
        if (weight == 0) return;
        const uint32_t before = atomic_add(low + digit, uint32_t(weight));
        const uint32_t more = uint32_t(weight >> 32) + (before + uint32_t(weight) < before);
        if (more != 0) atomic_add(high + digit, more);
    }
};

/// The same in every thread. The scratch may be used again.
template <class T, class Combine>
DEVICE T over_block(T x, Shared<T> partials, Combine combine) {
#pragma unroll
    for (int mask = WARP / 2; mask > 0; mask /= 2) x = combine(x, shuffle_xor(x, mask));
    if (lane_idx() == 0) partials[warp_idx()] = x;
    sync_block();
    x = partials[0];
    for (int w = 1; w < WARPS; w++) x = combine(x, T(partials[w]));
    sync_block();
    return x;
}

DEVICE uint32_t best_over_block(Best best, const Scratch& scratch) {
#pragma unroll
    for (int mask = WARP / 2; mask > 0; mask /= 2) {
        const double score = shuffle_xor(best.score, mask);
        const uint32_t id = shuffle_xor(best.id, mask);
        if (id != NONE && (best.id == NONE || score > best.score || (score == best.score && id < best.id))) best = {score, id};
    }
    if (lane_idx() == 0) scratch.doubles[warp_idx()] = best.score, scratch.words[warp_idx()] = best.id;
    sync_block();
    for (int w = 0; w < WARPS; w++) {
        const Best other = {scratch.doubles[w], scratch.words[w]};
        if (other.id != NONE && (best.id == NONE || other.score > best.score || (other.score == best.score && other.id < best.id)))
            best = other;
    }
    sync_block();
    return best.id;
}

/// In low and high, which hold weights by digit, finds the digit where the sum from one end reaches `target`; takes off it what
/// comes before. False if it is not reached. The first warp does it for all. The scratch may be used again.
DEVICE bool find_digit(const Scratch& scratch, bool is_from_top, uint64_t& target, uint32_t& digit) {
    sync_block();
    if (warp_idx() == 0) {
        constexpr int EACH = 256 / WARP;
        const auto weight_of = [&](int digit) { return scratch.low[digit] | uint64_t(scratch.high[digit]) << 32; };
        const auto bin = [&](int i) { return weight_of(is_from_top ? 255 - i : i); };
        uint64_t own = 0;
        for (int i = 0; i < EACH; i++) own += bin(lane_idx() * EACH + i);
        uint64_t sum = own;
#pragma unroll
        for (int step = 1; step < WARP; step *= 2) {
            const uint64_t before = shuffle(sum, lane_idx() >= step ? lane_idx() - step : lane_idx());
            if (lane_idx() >= step) sum += before;
        }
        const uint32_t reached = vote(sum >= target);
        if (lane_idx() == 0 && reached == 0) scratch.found[0] = 0;
        if (reached != 0 && lane_idx() == first_bit(reached)) {
            uint64_t before = sum - own;
            int i = lane_idx() * EACH;
            while (before + bin(i) < target) before += bin(i++);
            scratch.found[0] = 1;
            scratch.found[1] = is_from_top ? 255 - i : i;
            scratch.found[2] = target - before;
        }
    }
    sync_block();
    const bool is_found = scratch.found[0] != 0;
    if (is_found) digit = uint32_t(uint64_t(scratch.found[1])), target = scratch.found[2];
    sync_block();
    return is_found;
}

/// The fewest of highest rank whose weights add up to `target`. `weight(key, id, logit)` is zero for what does not count.
template <class Weight>
DEVICE Last select(Global<const float> logits, int vocab_size, uint64_t target, const Scratch& scratch, Weight weight) {
    uint32_t key = 0, id = 0, digit = 0;
    // Digits of the key from the top; then, among equal keys, of the id from the lowest.
    for (int round = 0; round < 7; round++) {
        const bool is_key = round < 4;
        const int shift = is_key ? 24 - 8 * round : 48 - 8 * round;
        for (int i = threadIdx.x; i < 256; i += THREADS) scratch.low[i] = 0, scratch.high[i] = 0;
        sync_block();
        uint32_t held_digit = 0;
        uint64_t held = 0;
        for (int i = threadIdx.x; i < vocab_size; i += THREADS) {
            const float logit = logits[i];
            const uint32_t k = key_of(logit);
            // What the digits so far are.
            const bool is_here = is_key ? round == 0 || (k ^ key) >> (shift + 8) == 0 : k == key && (i ^ id) >> (shift + 8) == 0;
            if (!is_here) continue;
            const uint64_t w = weight(k, uint32_t(i), logit);
            const uint32_t its = (is_key ? k : i) >> shift & 255;
            // Neighbours often share a digit: one addition for all.
            if (its != held_digit) scratch.add(held_digit, held), held_digit = its, held = 0;
            held += w;
        }
        scratch.add(held_digit, held);
        if (!find_digit(scratch, is_key, target, digit)) return ALL;
        if (is_key) key |= digit << shift;
        else id |= digit << shift;
    }
    return {key, id};
}

/// Writes the logits as they are drawn from to `to`. In the end each thread has written what it goes on to read: every pass gives it
/// the same tokens.
DEVICE void adjust(Global<float> to, Global<const float> logits, int vocab_size, const Row& row, Global<const uint32_t> pool,
                   Global<const float> pool_values, Global<const uint32_t> counts, Global<const uint32_t> masks,
                   const Scratch& scratch) {
    const int mask_len = ceil_div(vocab_size, 32);
    const auto allows = [&](uint32_t id) { return (masks[int64_t(row.mask) * mask_len + id / 32] >> id % 32 & 1) != 0; };
    for (int i = threadIdx.x; i < vocab_size; i += THREADS) to[i] = logits[i];
    sync_block();
    for (int i = row.bias + threadIdx.x; i < row.bias_end; i += THREADS) to[pool[i]] += pool_values[i];
    sync_block();
    // Where a mask allows nothing but what is banned, the ban gives way.
    bool is_only_way = false;
    if (row.mask >= 0 && row.banned < row.banned_end) {
        uint32_t num_allowed = 0, num_banned = 0;
        for (int i = threadIdx.x; i < mask_len; i += THREADS) num_allowed += count_bits(masks[int64_t(row.mask) * mask_len + i]);
        for (int i = row.banned + threadIdx.x; i < row.banned_end; i += THREADS) num_banned += allows(pool[i]);
        const auto sum = [](uint32_t a, uint32_t b) { return a + b; };
        num_allowed = over_block(num_allowed, scratch.words, sum);
        is_only_way = num_allowed == over_block(num_banned, scratch.words, sum);
    }
    if (!is_only_way)
        for (int i = row.banned + threadIdx.x; i < row.banned_end; i += THREADS) to[pool[i]] = -INFINITY;
    sync_block();
    if (row.mask < 0 && row.counts < 0) return;
    for (int i = threadIdx.x; i < vocab_size; i += THREADS) {
        float logit = to[i];
        if (row.mask >= 0 && !allows(i)) logit = -INFINITY;
        if (row.counts >= 0) {
            const uint32_t count = counts[int64_t(row.counts) * vocab_size + i];
            const uint32_t num_output = count & ~IN_PROMPT;
            if (row.repetition != 1 && (num_output > 0 || (count & IN_PROMPT) != 0))
                logit = logit > 0 ? logit / row.repetition : rounded_product(logit, row.repetition);
            // Without fused products, as the CPU does it.
            if (num_output > 0)
                logit = rounded_sum(logit, -rounded_sum(rounded_product(row.frequency, float(num_output)), row.presence));
        }
        to[i] = logit;
    }
}

/// The id that is drawn at this row's temperature, or NONE if no logit is finite.
DEVICE uint32_t draw(Global<const float> logits, int vocab_size, const Row& row, const Scratch& scratch) {
    Best best = {-INFINITY, NONE};
    if (row.temperature == 0) {
        for (int i = threadIdx.x; i < vocab_size; i += THREADS) best.take(logits[i], i);
        return best_over_block(best, scratch);
    }
    const double inverse = 1 / double(row.temperature);
    const bool has_top_k = row.top_k >= 1 && row.top_k < vocab_size, has_top_p = row.top_p < 1, has_min_p = row.min_p > 0;
    const bool is_filtered = has_top_k || has_top_p || has_min_p;
    float max = -INFINITY;
    double floor = -INFINITY;
    Last last = ALL;
    if (is_filtered) {
        for (int i = threadIdx.x; i < vocab_size; i += THREADS) max = fmaxf(max, logits[i]);
        max = over_block(max, at<float>(scratch.words), [](float a, float b) { return fmaxf(a, b); });
        if (has_min_p) floor = log(double(row.min_p));
    }
    // What is no number passes no filter.
    const auto relative = [&](float logit) { return (double(logit) - double(max)) * inverse; };
    if (has_top_k) {
        const auto one = [&](uint32_t, uint32_t, float logit) { return uint64_t(relative(logit) >= floor); };
        last = select(logits, vocab_size, row.top_k, scratch, one);
    }
    if (has_top_p) {
        const auto weight = [&](uint32_t key, uint32_t id, float logit) -> uint64_t {
            const double nats = relative(logit);
            // Below it the weight is zero; and cards for graphics are slow at doubles.
            constexpr double SMALLEST = -30.6;
            return nats >= SMALLEST && nats >= floor && last.includes(key, id) ? uint64_t(exp(nats) * ONE) : 0;
        };
        uint64_t total = 0;
        for (int i = threadIdx.x; i < vocab_size; i += THREADS) total += weight(key_of(logits[i]), i, logits[i]);
        total = over_block(total, scratch.found, [](uint64_t a, uint64_t b) { return a + b; });
        const uint64_t target = uint64_t(ceil(double(row.top_p) * double(total)));
        const Last within = select(logits, vocab_size, target > 0 ? target : 1, scratch, weight);
        last = within.key > last.key || (within.key == last.key && within.id < last.id) ? within : last;
    }
    const uint64_t seed = row.seed_low | uint64_t(row.seed_high) << 32;
    const uint64_t noise = mix(mix(seed) ^ (uint64_t(row.choice) << 32 | row.position));
    for (int i = threadIdx.x; i < vocab_size; i += THREADS) {
        const float logit = logits[i];
        if (is_filtered && !(relative(logit) >= floor && last.includes(key_of(logit), i))) continue;
        const double scaled = rounded_product(double(logit), inverse);
        const uint64_t bits = mix(noise ^ i * 0x9e3779b97f4a7c15);
        // The noise is at most this: with k leading ones, -ln u is at least 2^-(k + 1).
        const int ones = leading_ones(bits);
        if (scaled + ((ones < 52 ? ones : 52) + 1) * 0.6931471805599453 + 1e-9 < best.score) continue;
        const double u = (double(bits >> 12) + 0.5) * (1.0 / double(1ull << 52));
        best.take(scaled - log(-log(u)), i);
    }
    return best_over_block(best, scratch);
}

/// The likeliest tokens and the sum that log-probabilities are relative to, of logits as they come.
DEVICE double likeliest(Global<float> top_logprobs, Global<uint32_t> top_ids, Global<const float> logits, int vocab_size,
                        int count, const Scratch& scratch) {
    float max = -INFINITY;
    for (int i = threadIdx.x; i < vocab_size; i += THREADS) max = fmaxf(max, logits[i]);
    max = over_block(max, at<float>(scratch.words), [](float a, float b) { return fmaxf(a, b); });
    double sum = 0;
    for (int i = threadIdx.x; i < vocab_size; i += THREADS) sum += double(expf(logits[i] - max));
    sum = over_block(sum, scratch.doubles, [](double a, double b) { return a + b; });
    const double log_sum = double(max) + log(sum);
    count = count < vocab_size ? count : vocab_size;
    if (count <= 0) return log_sum;
    const Last last = select(logits, vocab_size, count, scratch, [](uint32_t, uint32_t, float) -> uint64_t { return 1; });
    SHARED(uint32_t, keys, MAX_LOGPROBS);
    SHARED(uint32_t, ids, MAX_LOGPROBS);
    if (threadIdx.x == 0) scratch.words[0] = 0;
    sync_block();
    for (int i = threadIdx.x; i < vocab_size; i += THREADS) {
        const uint32_t key = key_of(logits[i]);
        if (!last.includes(key, i)) continue;
        const uint32_t place = atomic_add(scratch.words, 1u);
        keys[place] = key, ids[place] = i;
    }
    sync_block();
    if (int(threadIdx.x) < count) {
        const Last own = {keys[threadIdx.x], ids[threadIdx.x]};
        int rank = -1;
        for (int i = 0; i < count; i++) rank += own.includes(keys[i], ids[i]);
        top_ids[rank] = own.id;
        top_logprobs[rank] = float(double(logits[own.id]) - log_sum);
    }
    return log_sum;
}

/// tokens `[B]`, NONE where nothing can be drawn; chosen_logprobs and ranks `[B]`; top_ids and top_logprobs `[B, 20]`; masks `[masks,
/// ceil(V / 32)]`, a bit a token.
KERNEL_OF(sample, THREADS, 1)
(Global<uint32_t> tokens, Global<float> chosen_logprobs, Global<uint32_t> ranks, Global<uint32_t> top_ids,
 Global<float> top_logprobs, Global<const float> logits, Global<float> work, Global<const Row> rows,
 Global<const uint32_t> pool, Global<const float> pool_values, Global<const uint32_t> counts, Global<const uint32_t> masks,
 int vocab_size) {
    SHARED(double, doubles, WARPS);
    SHARED(uint32_t, words, WARPS);
    SHARED(uint32_t, low, 256);
    SHARED(uint32_t, high, 256);
    SHARED(uint64_t, found, WARPS);
    const Scratch scratch = {doubles, words, low, high, found};
    const Row row = rows[blockIdx.x];
    logits += int64_t(blockIdx.x) * vocab_size;
    work += int64_t(blockIdx.x) * vocab_size;
    double log_sum = 0;
    if (row.num_logprobs >= 0) {
        const int64_t at = int64_t(blockIdx.x) * MAX_LOGPROBS;
        log_sum = likeliest(top_logprobs + at, top_ids + at, logits, vocab_size, row.num_logprobs, scratch);
    }
    uint32_t token = row.known;
    if (row.known < 0) {
        const bool changes = row.bias < row.bias_end || row.banned < row.banned_end || row.mask >= 0 || row.counts >= 0;
        if (changes) adjust(work, logits, vocab_size, row, pool, pool_values, counts, masks, scratch);
        if (changes) token = draw(work, vocab_size, row, scratch);
        else token = draw(logits, vocab_size, row, scratch);
    }
    if (threadIdx.x == 0) tokens[blockIdx.x] = token;
    if (row.num_logprobs < 0 || token == NONE) return;
    const float logit = logits[token];
    uint32_t rank = 0;
    for (int i = threadIdx.x; i < vocab_size; i += THREADS) rank += logits[i] >= logit;
    rank = over_block(rank, scratch.words, [](uint32_t a, uint32_t b) { return a + b; });
    if (threadIdx.x == 0) ranks[blockIdx.x] = rank, chosen_logprobs[blockIdx.x] = float(double(logit) - log_sum);
}
EXPORT(sample)

/// A run of one sequence's tokens that counts are to have.
struct Run {
    int counts, start, end, is_prompt;
};

KERNEL(count_tokens, 256)(Global<uint32_t> counts, Global<const uint32_t> tokens, Global<const Run> runs, int vocab_size) {
    const Run run = runs[blockIdx.x];
    for (int i = run.start + threadIdx.x; i < run.end; i += 256) {
        const auto count = counts + (int64_t(run.counts) * vocab_size + tokens[i]);
        if (run.is_prompt) atomic_or(count, IN_PROMPT);
        else atomic_add(count, 1u);
    }
}
EXPORT(count_tokens)
