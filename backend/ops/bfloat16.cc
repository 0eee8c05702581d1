#pragma GCC optimize("O3")             // Jittor compiles operators with -O2
#include "bfloat16.h"

#include <map>
#include <tuple>

#include "amx.h"
#include "buffer.h"
#include "lanes.h"
#include "onednn.h"
#include "workers.h"

using namespace dnnl;

namespace stylegan {

#ifndef __AVX512BF16__                  // an older compiler or processor

bool wants_split(const Layer&) { return false; }
bool wants_bfloat16(const Layer&, bool) { return false; }
void convolve_bfloat16(const Layer&, const float*, const float*, float*) {}
void convolve_bfloat16_gradient(const Layer&, const float*, const float*, float*) {}

#else

constexpr double SPEED = 3;             // numbers that are converted in a nanosecond, roughly
constexpr double PRODUCTS = 800;        // in a nanosecond, roughly
constexpr int64_t CACHE = 1 << 20;      // bytes
constexpr int SLICE = 64;               // rows of w that a thread rounds at once
// Found by bench/train_step.py --vs amp: with fewer pixels, rounding w costs more than is won; with
// wider layers, oneDNN's gradient of weights is no faster than winograd.cc's.
constexpr int FEWEST_PIXELS = 512, WIDEST_GRADIENT = 64;

bool wants_split(const Layer& l) {
    return getenv("STYLEGAN1_AMP") && has_amx() && l.from % LANES == 0 && l.to % LANES == 0;
}

// What both sides of a convolution are like while the 3x3 kernel goes over them: UP enlarges x
// before, DOWN sums y after.
struct Sides {
    int before, after, height, width;
    explicit Sides(const Layer& l)
        : before(l.form == UP ? 2 : 1), after(l.form == DOWN ? 2 : 1),
          height(l.height * before), width(l.width * before) {}
    int64_t area() const { return (int64_t)height * width; }
};

bool wants_bfloat16(const Layer& l, bool of_weights) {
    if (!wants_split(l) || l.form == SMOOTH_UP || l.form == SMOOTH_DOWN) return false;
    return of_weights ? std::max(l.from, l.to) <= WIDEST_GRADIENT
                      : l.adjoint && l.batch * Sides(l).area() >= FEWEST_PIXELS;
}

// Pictures [N, channels, height, width] to [N, times · height, times · width, channels], rounded.
static void round_pictures(const float* from, int pictures, int channels, int height, int width,
                           int times, Half* to) {
    const int64_t plane = (int64_t)height * width, across = (int64_t)times * width * channels;
    share_items((int64_t)pictures * height, times * across / SPEED, [&](int64_t item) {
        const float* row = from + (item / height * channels * height + item % height) * width;
        Half* first_line = to + item * times * across;
        for (int c = 0; c < channels; c += LANES)
            for (int first = 0; first < width; first += LANES) {
                Lanes columns[LANES];
                const int count = std::min(LANES, width - first);
                load_columns(row + c * plane + first, plane, LANES, count, columns);
                for (int j = 0; j < count; j++) {
                    const __m256bh rounded = _mm512_cvtneps_pbh((__m512)columns[j]);
                    for (int i = 0; i < times; i++)
                        std::memcpy(first_line + ((first + j) * times + i) * channels + c, &rounded,
                                    sizeof rounded);
                }
            }
        for (int line = 1; line < times; line++)
            std::memcpy(first_line + line * across, first_line, across * sizeof(Half));
    });
}

// [N, times · height, times · width, channels] to [N, channels, height, width]: sums of times · times
// pixels, multiplied by `scale`.
static void collect_pictures(const float* from, int pictures, int channels, int height, int width,
                             int times, float scale, float* to) {
    const int64_t plane = (int64_t)height * width, across = (int64_t)times * width * channels;
    share_items((int64_t)pictures * height, times * across / SPEED, [&](int64_t item) {
        float* row = to + (item / height * channels * height + item % height) * width;
        for (int c = 0; c < channels; c += LANES)
            for (int first = 0; first < width; first += LANES) {
                Lanes columns[LANES];
                const int count = std::min(LANES, width - first);
                for (int j = 0; j < count; j++) {
                    Lanes sum = {};
                    for (int line = 0; line < times; line++)
                        for (int i = 0; i < times; i++) {
                            Lanes one;
                            std::memcpy(&one, from + (item * times + line) * across +
                                        ((first + j) * times + i) * channels + c, sizeof one);
                            sum += one;
                        }
                    columns[j] = sum * scale;
                }
                store_columns(columns, row + c * plane + first, plane, LANES, count);
            }
    });
}

// Some rows of w, between [out, in, 3, 3] and the primitive's order.
struct Slice {
    memory::desc from, to;
    reorder order;
};

// The primitive for some pictures, made once per shape. x and y are those of the forward pass.
struct HalfPlan {
    memory::desc x, w, y, scratchpad;
    primitive run;
    std::vector<Slice> slices;
};

static HalfPlan make_plan(Kind kind, int pictures, int in, int out, int height, int width) {
    const auto f32 = memory::data_type::f32, half = memory::data_type::bf16;
    const auto last = memory::format_tag::nhwc, any = memory::format_tag::any;
    const auto how = algorithm::convolution_direct;
    const memory::dims x = {pictures, in, height, width}, w = {out, in, 3, 3};
    const memory::dims y = {pictures, out, height, width}, ones = {1, 1};
    const memory::desc plain(w, f32, memory::format_tag::oihw);
    primitive_attr attr;
    attr.set_scratchpad_mode(scratchpad_mode::user);
    const convolution_forward::primitive_desc forward(
        {prop_kind::forward_training, how, {x, half, last}, {w, half, any}, {y, f32, last}, ones,
         ones, ones}, attr, cpu());
    HalfPlan plan;
    plan.x = {x, kind == BACKWARD_X ? f32 : half, last};
    plan.y = {y, half, last};
    if (kind == BACKWARD_X) {
        const convolution_backward_data::primitive_desc pd(
            {how, plan.x, {w, half, any}, plan.y, ones, ones, ones}, attr, cpu(), forward);
        plan.w = pd.weights_desc(), plan.scratchpad = pd.scratchpad_desc();
        plan.run = convolution_backward_data(pd);
        const int step = out % SLICE ? out : SLICE;
        for (int first = 0; first < out; first += step) {
            const auto a = plain.submemory_desc({step, in, 3, 3}, {first, 0, 0, 0});
            const auto b = plan.w.submemory_desc({step, in, 3, 3}, {first, 0, 0, 0});
            plan.slices.push_back({a, b, reorder({cpu(), a, cpu(), b})});
        }
    } else {
        const convolution_backward_weights::primitive_desc pd(
            {how, plan.x, {w, f32, any}, plan.y, ones, ones, ones}, attr, cpu(), forward);
        plan.w = pd.diff_weights_desc(), plan.scratchpad = pd.scratchpad_desc();
        plan.run = convolution_backward_weights(pd);
        plan.slices.push_back({plan.w, plain, reorder({cpu(), plan.w, cpu(), plain})});
    }
    return plan;
}

static const HalfPlan& plan_for(Kind kind, int pictures, int in, int out, const Sides& sides) {
    static std::map<std::tuple<Kind, int, int, int, int, int>, HalfPlan> plans;
    const auto key = std::make_tuple(kind, pictures, in, out, sides.height, sides.width);
    auto found = plans.find(key);
    if (found != plans.end()) return found->second;
    const OmpThreads one(1);            // a primitive is made for as many as there are
    return plans.emplace(key, make_plan(kind, pictures, in, out, sides.height, sides.width))
        .first->second;
}

static stream& queue() {
    static thread_local stream one(cpu());
    return one;
}

static void bring(const Slice& slice, const void* from, void* to) {
    memory a(slice.from, cpu(), (void*)from), b(slice.to, cpu(), to);
    slice.order.execute(queue(), a, b);
    queue().wait();
}

static void execute(Kind kind, const HalfPlan& plan, void* x, void* w, void* y) {
    static thread_local Buffer scratchpad;
    const bool of_x = kind == BACKWARD_X;
    plan.run.execute(queue(), {
        {of_x ? DNNL_ARG_DIFF_SRC : DNNL_ARG_SRC, memory(plan.x, cpu(), x)},
        {of_x ? DNNL_ARG_WEIGHTS : DNNL_ARG_DIFF_WEIGHTS, memory(plan.w, cpu(), w)},
        {DNNL_ARG_DIFF_DST, memory(plan.y, cpu(), y)},
        {DNNL_ARG_SCRATCHPAD, memory(plan.scratchpad, cpu(),
                                     scratchpad.at_least(plan.scratchpad.get_size() + 64))}});
    queue().wait();
}

void convolve_bfloat16(const Layer& l, const float* x, const float* w, float* y) {
    const Sides sides(l);
    const int64_t area = sides.area();
    int pictures = l.batch;             // as many at once as the cache holds, whoever computes
    while (pictures > 1 && (l.batch % pictures ||
                            pictures * area * (2 * l.from + 4 * l.to) > CACHE)) pictures--;
    // The adjoint's x is what the gradient comes with.
    const HalfPlan& plan = plan_for(BACKWARD_X, pictures, l.to, l.from, sides);
    void* weights = thread_buffer(0).at_least(plan.w.get_size());
    share_items(plan.slices.size(), 9.0 * l.from * l.to / plan.slices.size() / SPEED,
                [&](int64_t i) { bring(plan.slices[i], w, weights); });
    const int64_t x_step = (int64_t)l.from * l.height * l.width;
    const int64_t y_step = l.to * area / (sides.after * sides.after);
    share(l.batch / pictures, l.batch * area * 9 * l.from * (l.to / PRODUCTS), [&](int64_t part) {
        const int mine = this_thread();
        Half* rounded = (Half*)thread_buffer(1 + 2 * mine).at_least(2 * pictures * area * l.from);
        float* sums = (float*)thread_buffer(2 + 2 * mine).at_least(4 * pictures * area * l.to);
        round_pictures(x + part * pictures * x_step, pictures, l.from, l.height, l.width,
                       sides.before, rounded);
        execute(BACKWARD_X, plan, sums, weights, rounded);
        collect_pictures(sums, pictures, l.to, sides.height / sides.after,
                         sides.width / sides.after, sides.after, l.scale,
                         y + part * pictures * y_step);
    });
}

void convolve_bfloat16_gradient(const Layer& l, const float* x, const float* dy, float* dw) {
    const Sides sides(l);
    const int64_t area = sides.area(), numbers = 9LL * l.from * l.to;
    int parts = std::min(l.batch, 8);
    while (l.batch % parts) parts--;
    const int pictures = l.batch / parts;
    const HalfPlan& plan = plan_for(BACKWARD_W, pictures, l.from, l.to, sides);
    const int64_t x_step = (int64_t)l.from * l.height * l.width;
    const int64_t y_step = l.to * area / (sides.after * sides.after);
    float* all = (float*)shared_buffer().at_least(4 * parts * numbers);
    share(parts, l.batch * area * numbers / PRODUCTS, [&](int64_t part) {
        static thread_local Buffer own;
        const int mine = this_thread();
        Half* rounded = (Half*)thread_buffer(1 + 2 * mine).at_least(2 * pictures * area * l.from);
        Half* gradient = (Half*)thread_buffer(2 + 2 * mine).at_least(2 * pictures * area * l.to);
        float* sums = (float*)own.at_least(plan.w.get_size());
        round_pictures(x + part * pictures * x_step, pictures, l.from, l.height, l.width,
                       sides.before, rounded);
        round_pictures(dy + part * pictures * y_step, pictures, l.to, sides.height / sides.after,
                       sides.width / sides.after, sides.after, gradient);
        execute(BACKWARD_W, plan, rounded, sums, gradient);
        bring(plan.slices[0], sums, all + part * numbers);
    });
    add_parts(all, parts, numbers, l.scale, dw);
}

#endif

}  // namespace stylegan
