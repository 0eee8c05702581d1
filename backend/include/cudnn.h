// Before cuDNN's own, for Jittor 1.3.11: see backend/cuda.py.
#pragma once
#include <stdlib.h>
#include <../include_real/cudnn.h>

#if CUDNN_MAJOR >= 9
// Functions for recurrent networks that are gone. Jittor compiles calls of them; nothing here makes
// one.
#define STYLEGAN1_GONE(name)                                                  \
    template <class... Arguments>                                             \
    static inline cudnnStatus_t name(Arguments...) {                          \
        return CUDNN_STATUS_NOT_SUPPORTED;                                    \
    }
STYLEGAN1_GONE(cudnnSetRNNDescriptor_v6)
STYLEGAN1_GONE(cudnnGetRNNParamsSize)
STYLEGAN1_GONE(cudnnGetRNNWorkspaceSize)
STYLEGAN1_GONE(cudnnGetRNNTrainingReserveSize)
STYLEGAN1_GONE(cudnnGetRNNLinLayerMatrixParams)
STYLEGAN1_GONE(cudnnGetRNNLinLayerBiasParams)
STYLEGAN1_GONE(cudnnRNNForwardTraining)
STYLEGAN1_GONE(cudnnRNNForwardInference)
STYLEGAN1_GONE(cudnnRNNBackwardData)
STYLEGAN1_GONE(cudnnRNNBackwardWeights)
#undef STYLEGAN1_GONE
#endif

// Convolutions multiply in float32; in TF32, which keeps 10 bits of a number instead of 23, only
// where train.py --amp asks for it. Left alone, cuDNN takes TF32 on every GPU since Ampere.
static inline cudnnStatus_t stylegan1_set_convolution(
        cudnnConvolutionDescriptor_t convolution, int n, const int* padding, const int* stride,
        const int* dilation, cudnnConvolutionMode_t mode, cudnnDataType_t type) {
    cudnnStatus_t status = (cudnnSetConvolutionNdDescriptor)(
        convolution, n, padding, stride, dilation, mode, type);
    if (status != CUDNN_STATUS_SUCCESS || type != CUDNN_DATA_FLOAT) return status;
    return cudnnSetConvolutionMathType(
        convolution, getenv("STYLEGAN1_AMP") ? CUDNN_TENSOR_OP_MATH : CUDNN_FMA_MATH);
}
#define cudnnSetConvolutionNdDescriptor(...) stylegan1_set_convolution(__VA_ARGS__)
