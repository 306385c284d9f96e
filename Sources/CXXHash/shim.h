// The XXH3 hash as Swift can call it.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <xxhash.h>

/// XXH3_64bits_withSeed: the header's own declaration hides behind attribute macros, and its hash type is the library's.
static inline uint64_t cxxhash_xxh3(const void *_Nullable bytes, size_t count, uint64_t seed) {
    return XXH3_64bits_withSeed(bytes, count, seed);
}
