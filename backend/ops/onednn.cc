#include "onednn.h"

#include <omp.h>

#include "products.h"
#include "workers.h"

using namespace dnnl;

namespace stylegan {

engine& cpu() {
    static engine instance(engine::kind::cpu, 0);
    return instance;
}

// A Jittor array seen in oneDNN's logical order (nchw, oihw or goihw), whatever its own order is.
static memory::desc view(const std::vector<int>& shape, const std::string& format,
                         const char* logical, int groups) {
    std::vector<memory::dim> strides(4, 1);
    for (int i = 2; i >= 0; i--) strides[i] = strides[i + 1] * shape[i + 1];
    memory::dims dims, steps;
    for (int i = 0; i < 4; i++) {
        int j = axis(format, logical[i]);
        dims.push_back(shape[j]);
        steps.push_back(strides[j]);
    }
    if (groups > 1 && logical[0] == 'o') {
        dims[0] /= groups;
        dims.insert(dims.begin(), groups);
        steps.insert(steps.begin(), steps[0] * dims[1]);
    }
    return memory::desc(dims, memory::data_type::f32, steps);
}

static memory::desc any(const memory::desc& user) {
    return memory::desc(user.dims(), memory::data_type::f32, memory::format_tag::any);
}

static Plan make_plan(Kind kind, const memory::desc user[3], const Geometry& g) {
    Plan plan;
    const auto how = algorithm::convolution_direct;
    memory::dims stride(g.stride, g.stride + 2), padding(g.padding, g.padding + 2);
    memory::dims dilation = {g.dilation[0] - 1, g.dilation[1] - 1};
    auto x = any(user[SRC]), w = any(user[WEIGHTS]), y = any(user[DST]);
    primitive_attr attr;
    attr.set_scratchpad_mode(scratchpad_mode::user);
    // forward_training also where no gradient follows: forward_inference wants weights that are
    // transformed beforehand, by a reorder that costs more than the convolution saves.
    convolution_forward::primitive_desc forward(
        {prop_kind::forward_training, how, x, w, y, stride, dilation, padding, padding},
        attr, cpu());
    auto take = [&](const memory::desc& a, const memory::desc& b, const memory::desc& c,
                    const memory::desc& scratchpad, const primitive& made) {
        plan.kernel[SRC] = a; plan.kernel[WEIGHTS] = b; plan.kernel[DST] = c;
        plan.scratchpad = scratchpad; plan.primitive = made;
    };
    if (kind == FORWARD) {
        take(forward.src_desc(), forward.weights_desc(), forward.dst_desc(),
             forward.scratchpad_desc(), convolution_forward(forward));
    } else if (kind == BACKWARD_X) {
        convolution_backward_data::primitive_desc pd(
            {how, x, w, y, stride, dilation, padding, padding}, attr, cpu(), forward);
        take(pd.diff_src_desc(), pd.weights_desc(), pd.diff_dst_desc(),
             pd.scratchpad_desc(), convolution_backward_data(pd));
    } else {
        convolution_backward_weights::primitive_desc pd(
            {how, x, w, y, stride, dilation, padding, padding}, attr, cpu(), forward);
        take(pd.src_desc(), pd.diff_weights_desc(), pd.diff_dst_desc(),
             pd.scratchpad_desc(), convolution_backward_weights(pd));
    }
    const Role output = kind == FORWARD ? DST : kind == BACKWARD_X ? SRC : WEIGHTS;
    for (int i = 0; i < 3; i++) {
        plan.user[i] = user[i];
        plan.reordered[i] = plan.kernel[i] != user[i];
        if (!plan.reordered[i]) continue;
        plan.reorder[i] = i == output ? reorder({cpu(), plan.kernel[i], cpu(), user[i]})
                                      : reorder({cpu(), user[i], cpu(), plan.kernel[i]});
    }
    return plan;
}

static const Plan& find_plan(Kind kind, const std::vector<int> shapes[3],
                             const std::string formats[3], const Geometry& g, int threads) {
    static std::map<std::vector<int>, Plan> plans;
    std::vector<int> key = {kind, g.stride[0], g.stride[1], g.padding[0], g.padding[1],
                            g.dilation[0], g.dilation[1], g.groups};
    for (int i = 0; i < 3; i++) {
        key.insert(key.end(), shapes[i].begin(), shapes[i].end());
        key.insert(key.end(), formats[i].begin(), formats[i].end());
    }
    auto found = plans.find(key);
    if (found != plans.end()) return found->second;
    const memory::desc user[3] = {view(shapes[SRC], formats[SRC], "abcd", 1),
                                  view(shapes[WEIGHTS], formats[WEIGHTS], "oihw", g.groups),
                                  view(shapes[DST], formats[DST], "abcd", 1)};
    const OmpThreads one(threads);          // a primitive is made for as many as there are
    return plans.emplace(key, make_plan(kind, user, g)).first->second;
}

static bool is_pointwise(const std::vector<int> shapes[3], const std::string formats[3],
                         const Geometry& g) {
    return formats[SRC] == "abcd" && formats[DST] == "abcd" && formats[WEIGHTS] == "oihw" &&
           shapes[WEIGHTS][2] * shapes[WEIGHTS][3] == 1 && g.stride[0] * g.stride[1] == 1 &&
           g.padding[0] + g.padding[1] == 0 && g.groups == 1;
}

constexpr int64_t MOST_SUMS = 64 << 20;     // bytes

void add_parts(const float* sums, int64_t parts, int64_t size, float scale, float* to) {
    share_range(size, parts * 0.2, [&](int64_t begin, int64_t end) {
        std::copy(sums + begin, sums + end, to + begin);
        for (int64_t part = 1; part < parts; part++)
            for (int64_t i = begin; i < end; i++) to[i] += sums[part * size + i];
        if (scale != 1)
            for (int64_t i = begin; i < end; i++) to[i] *= scale;
    });
}

// A convolution with a kernel of one pixel: products of matrices, picture by picture.
static void convolve_pointwise(Kind kind, void* const arrays[3], const std::vector<int> shapes[3]) {
    const int64_t batch = shapes[SRC][0], area = (int64_t)shapes[SRC][2] * shapes[SRC][3];
    const int64_t from = shapes[SRC][1], to = shapes[DST][1];
    float *x = (float*)arrays[SRC], *w = (float*)arrays[WEIGHTS], *y = (float*)arrays[DST];
    const double numbers = area * (from + to);              // memory is what it waits for
    if (kind != BACKWARD_W) {
        share_items(batch, numbers / 4, [&](int64_t n) {
            float *own_x = x + n * from * area, *own_y = y + n * to * area;
            if (kind == FORWARD)
                multiply('N', 'N', to, area, from, 1, w, from, own_x, area, 0, own_y, area);
            else
                multiply('T', 'N', from, area, to, 1, w, from, own_y, area, 0, own_x, area);
        });
        return;
    }
    // Sums of some pictures, then of those, always in the same order.
    const int64_t parts = std::max<int64_t>(1, std::min<int64_t>(batch, 8)), size = to * from;
    float* sums = (float*)shared_buffer().at_least(4 * parts * size);
    share(parts, batch * numbers / 4, [&](int64_t part) {
        const int64_t begin = batch * part / parts, end = batch * (part + 1) / parts;
        for (int64_t n = begin; n < end; n++)
            multiply('N', 'T', to, from, area, 1, y + n * to * area, area, x + n * from * area,
                     area, n > begin, sums + part * size, from);
    });
    add_parts(sums, parts, size, 1, w);
}

static void execute(Kind kind, const Plan& plan, void* const arrays[3]) {
    static thread_local stream queue(cpu());
    static thread_local Buffer buffers[4];
    static const int names[3][3] = {
        {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST},
        {DNNL_ARG_DIFF_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_DST},
        {DNNL_ARG_SRC, DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_DIFF_DST}};
    const int output = kind == FORWARD ? DST : kind == BACKWARD_X ? SRC : WEIGHTS;

    std::unordered_map<int, memory> arguments;
    memory user[3], kernel[3];
    for (int i = 0; i < 3; i++) {
        user[i] = memory(plan.user[i], cpu(), arrays[i]);
        kernel[i] = !plan.reordered[i] ? user[i]
            : memory(plan.kernel[i], cpu(), buffers[i].at_least(plan.kernel[i].get_size()));
        if (plan.reordered[i] && i != output) plan.reorder[i].execute(queue, user[i], kernel[i]);
        arguments[names[kind][i]] = kernel[i];
    }
    arguments[DNNL_ARG_SCRATCHPAD] =
        memory(plan.scratchpad, cpu(), buffers[3].at_least(plan.scratchpad.get_size() + 64));
    plan.primitive.execute(queue, arguments);
    if (plan.reordered[output]) plan.reorder[output].execute(queue, kernel[output], user[output]);
    queue.wait();
}

void convolve(Kind kind, void* const arrays[3], const std::vector<int> shapes[3],
              const std::string formats[3], const Geometry& geometry) {
    if (is_pointwise(shapes, formats, geometry)) return convolve_pointwise(kind, arrays, shapes);
    // Some pictures each: as many parts as the shape asks for, whoever computes them.
    const bool in_front = formats[SRC][0] == 'a' && formats[DST][0] == 'a';
    const int batch = shapes[SRC][axis(formats[SRC], 'a')];
    int64_t weights = 4;
    for (int extent : shapes[WEIGHTS]) weights *= extent;
    int parts = in_front ? std::max(1, std::min(batch, 8)) : 1;
    while (batch % parts || (parts > 1 && kind == BACKWARD_W && parts * weights > MOST_SUMS)) parts--;
    std::vector<int> part_shapes[3] = {shapes[0], shapes[1], shapes[2]};
    int64_t sizes[3] = {1, 1, 1};
    for (Role role : {SRC, DST}) part_shapes[role][axis(formats[role], 'a')] /= parts;
    for (int role = 0; role < 3; role++)
        for (int extent : part_shapes[role]) sizes[role] *= extent;
    if (parts == 1) {       // of a single picture, say: left to OpenMP
        const OmpThreads all(most_threads());
        execute(kind, find_plan(kind, shapes, formats, geometry, most_threads()), arrays);
        return;
    }
    const Plan& plan = find_plan(kind, part_shapes, formats, geometry, 1);
    float* sums = kind != BACKWARD_W ? nullptr
        : (float*)shared_buffer().at_least(4 * parts * sizes[WEIGHTS]);
    const double products =
        (double)parts * sizes[DST] * sizes[WEIGHTS] / shapes[DST][axis(formats[DST], 'b')];
    share(parts, products / 20, [&](int64_t part) {
        void* own[3];
        for (int role : {SRC, DST}) own[role] = (float*)arrays[role] + part * sizes[role];
        own[WEIGHTS] = sums ? sums + part * sizes[WEIGHTS] : arrays[WEIGHTS];
        execute(kind, plan, own);
    });
    if (sums) add_parts(sums, parts, sizes[WEIGHTS], 1, (float*)arrays[WEIGHTS]);
}

void matrix_product(bool trans_a, bool trans_b, int64_t rows, int64_t columns, int64_t inner,
                    float scale, const float* a, int64_t a_step, const float* b, int64_t b_step,
                    float* c) {
    // Blocks of the longer side, as many as the shape asks for, whoever computes them.
    const double products = (double)rows * columns * inner;
    const bool down = rows > columns;
    const int64_t length = down ? rows : columns;
    const int64_t parts = std::max(1.0, std::min({16.0, products / 1e6, length / 32.0}));
    const int64_t block = (length + parts - 1) / parts;
    share(parts, products / 30, [&](int64_t part) {
        const int64_t first = part * block, count = std::min(block, length - first);
        if (count <= 0) return;
        multiply(trans_a ? 'T' : 'N', trans_b ? 'T' : 'N', down ? count : rows,
                 down ? columns : count, inner, scale,
                 down ? a + first * (trans_a ? 1 : a_step) : a, a_step,
                 down ? b : b + first * (trans_b ? b_step : 1), b_step, 0,
                 c + first * (down ? columns : 1), columns);
    });
}

}  // namespace stylegan
