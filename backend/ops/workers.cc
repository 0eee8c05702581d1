#include "workers.h"

#include <linux/futex.h>
#include <omp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <xmmintrin.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>

namespace stylegan {

// Nanoseconds.
constexpr int64_t AWAKE = 2'000'000;            // that a thread looks for work before it sleeps
constexpr int MOST_PIECES = 0xffff;
constexpr int64_t WORTH_WAKING = 60'000, WORTH_SHARING = 4'000;
constexpr int64_t LATE = 800'000;               // a piece that takes so much longer than others
constexpr int64_t SHORT_REST = 2'000'000, LONG_REST = 320'000'000;
constexpr int PROVEN = 10;                      // times its rest, after which a thread has no past
constexpr int64_t LOOK = 5'000'000;             // between two looks at what the system did to us
constexpr int64_t LOST = 2'000'000;

static int64_t now(clockid_t clock = CLOCK_MONOTONIC) {
    timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1'000'000'000LL + t.tv_nsec;
}

static void pause() { __builtin_ia32_pause(); }

static void sleep_while(std::atomic<int>& word, int value) {
    syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
}

static void wake_all(std::atomic<int>& word) {
    word.fetch_add(1);
    syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1 << 30, nullptr, nullptr, 0);
}

// Numbers too small for full precision become 0, as Jittor's kernels have it in the threads that
// load them: so it is in all threads, whoever loads what.
static void flush_denormals() { _mm_setcsr(_mm_getcsr() | 0x8040); }

static void* aligned_room(size_t size) {
    void* room;
    if (posix_memalign(&room, 64, size)) throw std::bad_alloc();
    return room;
}

static thread_local int own_index = 0;

struct Worker {
    alignas(64) std::atomic<bool> working{false};
    std::atomic<int64_t> rests_until{0};
    int64_t rest = 0, back_since = 0;           // the calling thread's
};

struct Pool {
    // The pieces that nobody has taken yet: the first, and the one after the last, 16 bits each;
    // above them the number of the loop, so that a piece is taken of the loop that was looked at,
    // whose other fields then stay.
    alignas(64) std::atomic<uint64_t> ticket{0};
    alignas(64) std::atomic<int64_t> unfinished{0};
    alignas(64) std::atomic<int> wake{0}, asleep{0};
    void (*piece)(void*, int64_t);
    void* context;
    int count = 0;
    int64_t looked = 0, used_before = 0;
    long switches = 0;
    Worker* workers;
    std::exception_ptr error;
    std::mutex error_lock;

    // Never deleted: the threads run until the end.
    Pool() {
        workers = new (aligned_room(most_threads() * sizeof(Worker))) Worker[most_threads()];
        sigset_t all, before;                   // signals are for Python's threads
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        try {
            for (; count < most_threads() - 1; count++)
                std::thread([this, i = count] { help(workers[i], i + 1); }).detach();
        } catch (const std::system_error&) {    // the system does not allow more
        }
        pthread_sigmask(SIG_SETMASK, &before, nullptr);
    }

    static int first(uint64_t t) { return t >> 16 & MOST_PIECES; }
    static int end(uint64_t t) { return t & MOST_PIECES; }
    bool any() const {
        const uint64_t t = ticket.load(std::memory_order_relaxed);
        return first(t) < end(t);
    }

    // Computes pieces until there are none left; how many. The calling thread begins at the front
    // and the others at the back: what lies side by side is mostly computed by the same one.
    int64_t compute(bool front) {
        int64_t done = 0;
        uint64_t t = ticket.load(std::memory_order_acquire);
        while (first(t) < end(t)) {
            const int own = front ? first(t) : end(t) - 1;
            if (!ticket.compare_exchange_weak(t, front ? t + (1 << 16) : t - 1)) continue;
            try {
                piece(context, own);
            } catch (...) {
                std::lock_guard<std::mutex> lock(error_lock);
                error = std::current_exception();
            }
            unfinished.fetch_sub(1, std::memory_order_release);
            done++;
            t = ticket.load(std::memory_order_acquire);
        }
        return done;
    }

    void help(Worker& me, int index) {
        own_index = index;
        omp_set_num_threads(1);
        flush_denormals();
        for (int64_t idle_since = now();;) {
            for (int i = 0; i < 64 && !any(); i++) pause();
            const int64_t until = me.rests_until.load(std::memory_order_relaxed);
            if (until && until > now()) {
                std::this_thread::sleep_for(std::chrono::nanoseconds(until - now()));
                idle_since = now();
            } else if (any()) {
                me.working.store(true);
                compute(false);
                me.working.store(false);
                idle_since = 0;
            } else if (!idle_since) {
                idle_since = now();
            } else if (now() - idle_since > AWAKE) {
                const int value = wake.load();
                asleep.fetch_add(1);
                std::atomic_thread_fence(std::memory_order_seq_cst);
                if (!any()) sleep_while(wake, value);
                asleep.fetch_sub(1);
                idle_since = 0;
            }
        }
    }

    bool all_rest(int64_t time) const {
        for (int i = 0; i < count; i++)
            if (workers[i].rests_until.load(std::memory_order_relaxed) <= time) return false;
        return true;
    }

    // The next loops do without this thread, for longer every time.
    bool leave_out(Worker& w, int64_t time) {
        if (w.rests_until.load() > time) return false;
        const bool proven = time - w.back_since > PROVEN * w.rest;
        w.rest = proven ? SHORT_REST : std::min(2 * w.rest, LONG_REST);
        w.back_since = time + w.rest;
        w.rests_until.store(w.back_since);
        return true;
    }

    // Where another program took the processor away from the calling thread, there are too many.
    void look(int64_t time) {
        const int64_t since = time - looked;
        if (since < LOOK) return;
        rusage usage;
        getrusage(RUSAGE_THREAD, &usage);
        const int64_t used = now(CLOCK_THREAD_CPUTIME_ID);
        // It also loses time of its own will, where it waits for a file.
        if (usage.ru_nivcsw > switches && since - (used - used_before) > LOST && since < 4 * LOOK)
            for (int i = 0; i < count && !leave_out(workers[i], time); i++) {}
        switches = usage.ru_nivcsw;
        used_before = used;
        looked = time;
    }

    void share(int64_t pieces, int64_t work) {
        unfinished.store(pieces, std::memory_order_relaxed);
        ticket.store(((ticket.load() >> 32) + 1) << 32 | (uint64_t)pieces);
        if (work > WORTH_WAKING && asleep.load()) wake_all(wake);
        const int64_t begin = now(), done = compute(true), end = now();
        look(begin);
        const int64_t deadline = end + LATE + 3 * (end - begin) / std::max<int64_t>(done, 1);
        bool late = false;
        while (unfinished.load(std::memory_order_acquire)) {
            for (int i = 0; i < 64 && unfinished.load(std::memory_order_relaxed); i++) pause();
            if (late) {
                sched_yield();
            } else if (now() > deadline) {
                late = true;
                for (int i = 0; i < count; i++)         // has not got its processor
                    if (workers[i].working.load()) leave_out(workers[i], now());
            }
        }
        if (error) {
            const auto found = error;
            error = nullptr;
            std::rethrow_exception(found);
        }
    }
};

// When the library is loaded, before anything here changes it.
static const int MOST_THREADS = (flush_denormals(), std::max(1, omp_get_max_threads()));

int most_threads() { return MOST_THREADS; }
int this_thread() { return own_index; }

OmpThreads::OmpThreads(int count) : before(omp_get_max_threads()) { omp_set_num_threads(count); }
OmpThreads::~OmpThreads() { omp_set_num_threads(before); }

// Whoever shares a loop; nobody else does so meanwhile.
struct Turn {
    static std::atomic_flag taken;
    const bool mine;
    explicit Turn(bool wanted) : mine(wanted && !taken.test_and_set()) {}
    ~Turn() {
        if (mine) taken.clear();
    }
};
std::atomic_flag Turn::taken = ATOMIC_FLAG_INIT;

void share(int64_t count, int64_t work, void (*piece)(void*, int64_t), void* context) {
    static Pool* const pool = new (aligned_room(sizeof(Pool))) Pool;
    const OmpThreads one(1);
    const Turn turn(count > 1 && count <= MOST_PIECES && work > WORTH_SHARING && pool->count);
    if (turn.mine && !pool->all_rest(now())) {
        pool->piece = piece;
        pool->context = context;
        pool->share(count, work);
    } else {
        for (int64_t i = 0; i < count; i++) piece(context, i);
    }
}

}  // namespace stylegan
