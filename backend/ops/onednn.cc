#include "onednn.h"

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
                             const std::string formats[3], const Geometry& g) {
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
    return plans[key] = make_plan(kind, user, g);
}

void convolve(Kind kind, void* const arrays[3], const std::vector<int> shapes[3],
              const std::string formats[3], const Geometry& geometry) {
    const Plan& plan = find_plan(kind, shapes, formats, geometry);
    static stream queue(cpu());
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
            : memory(plan.kernel[i], cpu(), shared_buffer(i).at_least(plan.kernel[i].get_size()));
        if (plan.reordered[i] && i != output) plan.reorder[i].execute(queue, user[i], kernel[i]);
        arguments[names[kind][i]] = kernel[i];
    }
    arguments[DNNL_ARG_SCRATCHPAD] =
        memory(plan.scratchpad, cpu(), shared_buffer(3).at_least(plan.scratchpad.get_size() + 64));
    plan.primitive.execute(queue, arguments);
    if (plan.reordered[output]) plan.reorder[output].execute(queue, kernel[output], user[output]);
    queue.wait();
}

}  // namespace stylegan
