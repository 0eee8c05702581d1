// What a GPU did between start() and stop(): for bench/gpu_profile.py, by CUPTI's activity records.
#include <cupti.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <utility>
#include <vector>

#if CUPTI_API_VERSION >= 130000
typedef CUpti_ActivityKernel10 Kernel;
#else
typedef CUpti_ActivityKernel9 Kernel;
#endif

static std::map<std::string, std::pair<long, long>> work;       // name: times, nanoseconds
static std::vector<std::pair<uint64_t, uint64_t>> intervals;

static void add(const std::string& name, uint64_t start, uint64_t end) {
    work[name].first++;
    work[name].second += end - start;
    intervals.push_back({start, end});
}

static void CUPTIAPI wanted(uint8_t** buffer, size_t* size, size_t* records) {
    *size = 8 << 20;
    *buffer = (uint8_t*)aligned_alloc(8, *size);
    *records = 0;
}

static void CUPTIAPI filled(CUcontext, uint32_t, uint8_t* buffer, size_t, size_t valid) {
    CUpti_Activity* record = nullptr;
    while (cuptiActivityGetNextRecord(buffer, valid, &record) == CUPTI_SUCCESS) {
        if (record->kind == CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) {
            const Kernel* k = (Kernel*)record;
            add(k->name, k->start, k->end);
        } else if (record->kind == CUPTI_ACTIVITY_KIND_MEMCPY) {
            const auto* copy = (CUpti_ActivityMemcpy5*)record;  // later ones only add at the end
            const char* kinds[] = {"?", "to the GPU", "from the GPU"};
            add(std::string("[copy ") + (copy->copyKind < 3 ? kinds[copy->copyKind] : "on the GPU")
                + "]", copy->start, copy->end);
        } else if (record->kind == CUPTI_ACTIVITY_KIND_MEMSET) {
            const auto* set = (CUpti_ActivityMemset4*)record;
            add("[set memory]", set->start, set->end);
        }
    }
    free(buffer);
}

static const CUpti_ActivityKind KINDS[] = {CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL,
                                           CUPTI_ACTIVITY_KIND_MEMCPY, CUPTI_ACTIVITY_KIND_MEMSET};

// 0, or the number of CUPTI's error.
extern "C" int start() {
    work.clear();
    intervals.clear();
    int error = cuptiActivityRegisterCallbacks(wanted, filled);
    for (CUpti_ActivityKind kind : KINDS) error = error ? error : cuptiActivityEnable(kind);
    return error;
}

// Writes lines "times nanoseconds name" to a file, the first for all, where what overlaps counts
// once.
extern "C" int stop(const char* path) {
    const int error = cuptiActivityFlushAll(1);
    for (CUpti_ActivityKind kind : KINDS) cuptiActivityDisable(kind);
    std::sort(intervals.begin(), intervals.end());
    uint64_t busy = 0, until = 0;
    for (auto& [from, to] : intervals) {
        if (to > until) busy += to - std::max(from, until);
        until = std::max(until, to);
    }
    FILE* file = fopen(path, "w");
    fprintf(file, "%zu %lu all\n", intervals.size(), (unsigned long)busy);
    for (auto& [name, sums] : work) fprintf(file, "%ld %ld %s\n", sums.first, sums.second, name.c_str());
    fclose(file);
    return error;
}
