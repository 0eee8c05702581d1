// Numbers of 16 channels side by side: one register where there is AVX-512, several elsewhere.
#pragma once
#include <cstddef>
#include <cstring>
#ifdef __AVX__
#include <immintrin.h>
#endif

namespace stylegan {

constexpr int LANES = 16;
typedef float Lanes __attribute__((vector_size(4 * LANES)));
// The same at any address. (With memcpy, compilers move two halves, and whoever loads both as one
// next has to wait for them.)
typedef float FreeLanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

inline Lanes load(const float* from, size_t step, int count) {
    if (count == LANES && step == 1) return *(const FreeLanes*)from;
    Lanes value = {};
    if (count == LANES)
        for (int i = 0; i < LANES; i++) value[i] = from[i * step];
    else
        for (int i = 0; i < count; i++) value[i] = from[i * step];
    return value;
}

// Past the caches, where what is written is too large for them and would be read in first.
inline void store_far(float* to, const Lanes& value) {
#if defined(__AVX512F__)
    _mm512_stream_ps(to, (__m512)value);
#elif defined(__AVX__)
    const __m256* half = (const __m256*)&value;
    _mm256_stream_ps(to, half[0]);
    _mm256_stream_ps(to + 8, half[1]);
#else
    std::memcpy(to, &value, sizeof value);
#endif
}

inline void finish_far_stores() {
#ifdef __AVX__
    _mm_sfence();
#endif
}

template <int POINTS>
inline void store(const Lanes* values, float* to, size_t step, int count, bool far) {
    if (far && count == LANES && (size_t)to % sizeof(Lanes) == 0)
        for (int p = 0; p < POINTS; p++) store_far(to + p * step, values[p]);
    else if (count == LANES)
        for (int p = 0; p < POINTS; p++) *(FreeLanes*)(to + p * step) = values[p];
    else
        for (int p = 0; p < POINTS; p++) std::memcpy(to + p * step, &values[p], 4 * count);
}

// columns[j] = column j of `channels` planes, one in each lane; store_columns is the way back.
#ifdef __AVX512F__
inline void transpose(__m512 (&a)[16]) {
    __m512 b[16];
    for (int i = 0; i < 16; i += 2) {
        b[i] = _mm512_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_ps(a[i], a[i + 1]);
    }
    for (int i = 0; i < 16; i += 4)
        for (int j = 0; j < 2; j++) {
            const __m512d one = _mm512_castps_pd(b[i + j]), two = _mm512_castps_pd(b[i + j + 2]);
            a[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(one, two));
            a[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(one, two));
        }
    for (int i = 0; i < 4; i++)         // a[4 k + i] has rows 4 k to 4 k + 3 of columns i, i + 4 …
        for (int j = 0; j < 16; j += 8) {
            b[i + j] = _mm512_shuffle_f32x4(a[i + j], a[i + j + 4], 0x88);
            b[i + j + 4] = _mm512_shuffle_f32x4(a[i + j], a[i + j + 4], 0xdd);
        }
    for (int i = 0; i < 8; i++) {
        a[i] = _mm512_shuffle_f32x4(b[i], b[i + 8], 0x88);
        a[i + 8] = _mm512_shuffle_f32x4(b[i], b[i + 8], 0xdd);
    }
}

inline void load_columns(const float* from, size_t plane, int channels, int count, Lanes* columns) {
    const __mmask16 some = (1 << count) - 1;
    __m512 rows[16];
    for (int k = 0; k < LANES; k++)
        rows[k] = _mm512_maskz_loadu_ps(k < channels ? some : 0, from + k * plane);
    transpose(rows);
    for (int j = 0; j < count; j++) columns[j] = (Lanes)rows[j];
}

inline void store_columns(const Lanes* columns, float* to, size_t plane, int channels, int count) {
    const __mmask16 some = (1 << count) - 1;
    __m512 rows[16];
    for (int j = 0; j < LANES; j++) rows[j] = j < count ? (__m512)columns[j] : _mm512_setzero_ps();
    transpose(rows);
    for (int k = 0; k < channels; k++) _mm512_mask_storeu_ps(to + k * plane, some, rows[k]);
}
#else
inline void load_columns(const float* from, size_t plane, int channels, int count, Lanes* columns) {
    for (int j = 0; j < count; j++) columns[j] = load(from + j, plane, channels);
}

inline void store_columns(const Lanes* columns, float* to, size_t plane, int channels, int count) {
    for (int k = 0; k < channels; k++)
        for (int j = 0; j < count; j++) to[k * plane + j] = columns[j][k];
}
#endif

}  // namespace stylegan
