// The time of one fused multiply-add of sixteen numbers, where nothing waits for anything else.
#include <time.h>

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX2__) && defined(__FMA__)
#define LANES 8
#else
#define LANES 4
#endif
typedef float lanes __attribute__((vector_size(LANES * sizeof(float))));

double sixteen_nanoseconds(void) {
    lanes a[12];
    for (int i = 0; i < 12; i++) a[i] = (lanes){0} + 1.0f;
    const lanes half = (lanes){0} + 0.5f;
    struct timespec began, ended;
    const int rounds = 100000;
    clock_gettime(CLOCK_MONOTONIC, &began);
    for (int round = 0; round < rounds; round++) {
#pragma GCC unroll 12
        for (int i = 0; i < 12; i++) a[i] = a[i] * half + half;
        __asm__ volatile("" : : "x"(a[0]));
    }
    clock_gettime(CLOCK_MONOTONIC, &ended);
    float sum = 0;
    for (int i = 0; i < 12; i++) sum += a[i][0];
    const double nanoseconds =
        (ended.tv_sec - began.tv_sec) * 1e9 + (ended.tv_nsec - began.tv_nsec) + 0 * sum;
    return nanoseconds / rounds / 12 * 16 / LANES;
}
