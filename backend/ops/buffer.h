#pragma once
#include <cstdlib>
#include <new>
#include <vector>

#include "workers.h"

namespace stylegan {

// Memory that grows and is never given back. Fresh memory costs as much in page faults as a
// convolution costs in arithmetic.
struct Buffer {
    void* data = nullptr;
    size_t size = 0;
    void* at_least(size_t wanted) {
        if (wanted > size) {
            std::free(data);
            size = (wanted + wanted / 4 + 4095) / 4096 * 4096;
            if (posix_memalign(&data, 4096, size)) {
                data = nullptr;
                size = 0;
                throw std::bad_alloc();
            }
        }
        return data;
    }
};

// Jittor runs one operator at a time, so that all can share this one.
inline Buffer& shared_buffer() {
    static Buffer buffer;
    return buffer;
}

// One for all threads, then two for each.
inline Buffer& thread_buffer(int i) {
    static std::vector<Buffer> buffers(1 + 2 * most_threads());
    return buffers[i];
}

}  // namespace stylegan
