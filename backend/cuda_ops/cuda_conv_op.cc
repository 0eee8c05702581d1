// cuDNN's convolutions. Jittor's own operators describe the arrays, and ask how much memory is
// wanted, at every call, and a fast GPU has computed before they are done; here both are kept.
#include "cuda_conv_op.h"

#include <cudnn.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <vector>

#include "executor.h"
#include "mem/allocator.h"
#include "var.h"

namespace jittor {

CudaConvOp::CudaConvOp(Var* a, Var* b, int kind, NanoVector shape, int stride, int padding,
                       float64 scale)
    : a(a), b(b), kind(kind), stride(stride), padding(padding), scale(scale) {
    flags.set(NodeFlags::_cuda);
    flags.set(NodeFlags::_cpu, 0);
    result = create_output(shape, ns_float32);
}

namespace {

void check(cudnnStatus_t status) {
    CHECK(status == CUDNN_STATUS_SUCCESS) << "cuDNN:" << cudnnGetErrorString(status);
}

// How one convolution of these shapes is done.
struct Way {
    cudnnTensorDescriptor_t x, y;
    cudnnFilterDescriptor_t w;
    cudnnConvolutionDescriptor_t convolution;
    int algorithm;
    size_t memory;
};

// Memory that is taken while it lives, from what Jittor keeps for that.
struct Room {
    size_t size, allocation = 0;
    void* at = nullptr;
    Room(size_t size) : size(size) {
        if (size) at = exe.temp_allocator->alloc(size, allocation);
    }
    ~Room() {
        if (size) exe.temp_allocator->free(at, size, allocation);
    }
};

cudnnTensorDescriptor_t describe(const int (&size)[4]) {
    cudnnTensorDescriptor_t tensor;
    const int steps[4] = {size[1] * size[2] * size[3], size[2] * size[3], size[3], 1};
    check(cudnnCreateTensorDescriptor(&tensor));
    check(cudnnSetTensorNdDescriptor(tensor, CUDNN_DATA_FLOAT, 4, size, steps));
    return tensor;
}

// The fastest of cuDNN's algorithms, tried with these arrays, that makes do with a gibibyte beside
// them. `Found` is what cuDNN says of one.
template <class Found, class Memory, class Find>
void choose(Way& way, int count, Memory memory, Find find) {
    const size_t limit = size_t(1) << 30;
    size_t most = 0;
    for (int algorithm = 0; algorithm < count; algorithm++) {
        size_t wanted = 0;
        if (memory(algorithm, &wanted) == CUDNN_STATUS_SUCCESS && wanted <= limit)
            most = std::max(most, wanted);
    }
    std::vector<Found> found(count);
    int tried = 0;
    {
        Room room(most);
        check(find(count, &tried, found.data(), room.at, most));
    }
    for (int i = 0; i < tried; i++)
        if (found[i].status == CUDNN_STATUS_SUCCESS) {
            way.algorithm = found[i].algo;
            check(memory(way.algorithm, &way.memory));
            return;
        }
    LOGf << "cuDNN has no algorithm for this convolution";
}

} // namespace

void CudaConvOp::run() {
    static cudnnHandle_t handle = nullptr;
    static std::map<std::vector<int64>, Way> ways;
    if (!handle) check(cudnnCreate(&handle));
    for (Var* v : {a, b, result})
        if (v->num > INT32_MAX)
            LOGf << "out of memory: cuDNN's arrays end at 2147483647 numbers, and one of"
                 << v->shape << "has" << v->num;
    Var* x = kind == CONV_BACKWARD_X ? result : a;
    Var* w = kind == CONV ? b : kind == CONV_BACKWARD_X ? a : result;
    Var* y = kind == CONV ? result : b;
    std::vector<int64> key = {kind, stride, padding, getenv("STYLEGAN1_AMP") != nullptr};
    for (Var* v : {x, w, y})
        for (int i = 0; i < 4; i++) key.push_back(v->shape[i]);
    auto found = ways.find(key);
    const bool is_new = found == ways.end();
    Way way;
    if (!is_new) {
        way = found->second;
    } else {
        int sizes[3][4];
        for (int i = 0; i < 12; i++) sizes[i / 4][i % 4] = key[4 + i];
        const int paddings[2] = {padding, padding}, strides[2] = {stride, stride}, one[2] = {1, 1};
        way.x = describe(sizes[0]);
        way.y = describe(sizes[2]);
        check(cudnnCreateFilterDescriptor(&way.w));
        check(cudnnSetFilterNdDescriptor(way.w, CUDNN_DATA_FLOAT, CUDNN_TENSOR_NCHW, 4, sizes[1]));
        check(cudnnCreateConvolutionDescriptor(&way.convolution));
        check(cudnnSetConvolutionNdDescriptor(way.convolution, 2, paddings, strides, one,
                                              CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT));
    }
    const float alpha = scale, beta = 0;
    float *px = x->ptr<float>(), *pw = w->ptr<float>(), *py = y->ptr<float>();
    if (kind == CONV) {
        typedef cudnnConvolutionFwdAlgo_t Algorithm;
        if (is_new)
            choose<cudnnConvolutionFwdAlgoPerf_t>(way, CUDNN_CONVOLUTION_FWD_ALGO_COUNT,
                [&](int algorithm, size_t* size) {
                    return cudnnGetConvolutionForwardWorkspaceSize(
                        handle, way.x, way.w, way.convolution, way.y, Algorithm(algorithm), size);
                },
                [&](int count, int* tried, cudnnConvolutionFwdAlgoPerf_t* list, void* room,
                    size_t size) {
                    return cudnnFindConvolutionForwardAlgorithmEx(
                        handle, way.x, px, way.w, pw, way.convolution, way.y, py, count, tried,
                        list, room, size);
                });
        Room room(way.memory);
        check(cudnnConvolutionForward(handle, &alpha, way.x, px, way.w, pw, way.convolution,
                                      Algorithm(way.algorithm), room.at, room.size, &beta, way.y,
                                      py));
    } else if (kind == CONV_BACKWARD_X) {
        typedef cudnnConvolutionBwdDataAlgo_t Algorithm;
        if (is_new)
            choose<cudnnConvolutionBwdDataAlgoPerf_t>(way, CUDNN_CONVOLUTION_BWD_DATA_ALGO_COUNT,
                [&](int algorithm, size_t* size) {
                    return cudnnGetConvolutionBackwardDataWorkspaceSize(
                        handle, way.w, way.y, way.convolution, way.x, Algorithm(algorithm), size);
                },
                [&](int count, int* tried, cudnnConvolutionBwdDataAlgoPerf_t* list, void* room,
                    size_t size) {
                    return cudnnFindConvolutionBackwardDataAlgorithmEx(
                        handle, way.w, pw, way.y, py, way.convolution, way.x, px, count, tried,
                        list, room, size);
                });
        Room room(way.memory);
        check(cudnnConvolutionBackwardData(handle, &alpha, way.w, pw, way.y, py, way.convolution,
                                           Algorithm(way.algorithm), room.at, room.size, &beta,
                                           way.x, px));
    } else {
        typedef cudnnConvolutionBwdFilterAlgo_t Algorithm;
        if (is_new)
            choose<cudnnConvolutionBwdFilterAlgoPerf_t>(
                way, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_COUNT,
                [&](int algorithm, size_t* size) {
                    return cudnnGetConvolutionBackwardFilterWorkspaceSize(
                        handle, way.x, way.y, way.convolution, way.w, Algorithm(algorithm), size);
                },
                [&](int count, int* tried, cudnnConvolutionBwdFilterAlgoPerf_t* list, void* room,
                    size_t size) {
                    return cudnnFindConvolutionBackwardFilterAlgorithmEx(
                        handle, way.x, px, way.y, py, way.convolution, way.w, pw, count, tried,
                        list, room, size);
                });
        Room room(way.memory);
        check(cudnnConvolutionBackwardFilter(handle, &alpha, way.x, px, way.y, py, way.convolution,
                                             Algorithm(way.algorithm), room.at, room.size, &beta,
                                             way.w, pw));
    }
    if (is_new) ways[key] = way;
}

} // jittor
