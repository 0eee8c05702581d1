/* CUDA's driver and libraries, as far as Jittor calls them, for machines without a GPU: memory is
   the CPU's, copies are made, and whatever would compute returns at once and leaves zeros. With
   them a whole run can be compiled for CUDA and gone through (../test_cuda.py). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void* handle;

int launches;
static __thread int device;

static void say(const char* what) {
    const char* rank = getenv("OMPI_COMM_WORLD_RANK");
    if (getenv("STAND_IN_LOG"))
        fprintf(stderr, "stand-in: process %s: %s, GPU %d\n", rank ? rank : "0", what, device);
}

__attribute__((destructor)) static void at_the_end(void) {
    if (launches)
        fprintf(stderr, "stand-in: %d launches\n", launches);
}

static int get(void** p, size_t size) {
    *p = aligned_alloc(256, (size + 256) / 256 * 256);
    if (!*p)
        return 2;
    memset(*p, 0, size);
    return 0;
}

static int number(int* p, int value) { *p = value; return 0; }
static int gpus(int* p) {
    const char* count = getenv("STAND_IN_GPUS");
    return number(p, count ? atoi(count) : 1);
}

#define NOTHING(name) int name(void) { return 0; }
#define CREATE(name) int name(handle* p) { return get(p, 256); }
#define TOLD(name) int name(handle* p) { say(#name); return get(p, 256); }

/* Driver: 75 and 76 are the compute capability, here 9.0. */
NOTHING(cuInit)
int cuDriverGetVersion(int* v) { return number(v, 13000); }
int cuDeviceGetCount(int* n) { return gpus(n); }
int cuDeviceGet(int* d, int ordinal) { return number(d, ordinal); }
int cuDeviceGetName(char* name, int size, int d) { return snprintf(name, size, "stand-in") < 0; }
int cuDeviceGetAttribute(int* v, int attribute, int d) {
    return number(v, attribute == 75 ? 9 : 0);
}
int cuDevicePrimaryCtxRetain(handle* context, int d) {
    *context = (handle)(long)(d + 1);
    return 0;
}
int cuCtxSetCurrent(handle context) {
    device = (long)context - 1;
    say("cuCtxSetCurrent");
    return 0;
}
int cuGetErrorName(int error, const char** name) { *name = "?"; return 0; }

/* Runtime */
int cudaGetDeviceCount(int* n) { return gpus(n); }
int cudaGetDevice(int* d) { return number(d, device); }
int cudaSetDevice(int d) { device = d; say("cudaSetDevice"); return 0; }
int cudaMalloc(void** p, size_t size) {
    say("cudaMalloc");
    return get(p, size);
}
int cudaMallocManaged(void** p, size_t size, unsigned flags) {
    say("cudaMallocManaged");
    return get(p, size);
}
int cudaMallocHost(void** p, size_t size, unsigned flags) {
    say("cudaMallocHost");
    return get(p, size);
}
int cudaFree(void* p) { free(p); return 0; }
int cudaFreeHost(void* p) { free(p); return 0; }
int cudaMemcpy(void* to, const void* from, size_t size, int kind) {
    memcpy(to, from, size);
    return 0;
}
int cudaMemcpyAsync(void* to, const void* from, size_t size, int kind, handle stream) {
    memcpy(to, from, size);
    return 0;
}
int cudaMemset(void* p, int value, size_t size) { memset(p, value, size); return 0; }
int cudaMemGetInfo(size_t* there, size_t* all) { *there = 8ul << 30; *all = 16ul << 30; return 0; }
int cudaLaunchHostFunc(handle stream, void (*function)(void*), void* data) {
    function(data);
    return 0;
}
int cudaEventElapsedTime(float* time, handle from, handle to) { *time = 1; return 0; }
TOLD(cudaEventCreate)
int cudaEventCreateWithFlags(handle* p, unsigned flags) {
    say("cudaEventCreateWithFlags");
    return get(p, 256);
}
int cudaStreamCreateWithFlags(handle* p, unsigned flags) {
    say("cudaStreamCreateWithFlags");
    return get(p, 256);
}
const char* cudaGetErrorName(int error) { return "?"; }
NOTHING(cudaDeviceSynchronize) NOTHING(cudaGetLastError) NOTHING(cudaEventDestroy)
NOTHING(cudaEventRecord) NOTHING(cudaEventSynchronize) NOTHING(cudaStreamDestroy)
NOTHING(cudaStreamWaitEvent)

/* What nvcc makes of a kernel and of its launch */
handle* __cudaRegisterFatBinary(void* code) { static handle binary; return &binary; }
int __cudaGetKernel(handle* kernel, handle function) { *kernel = function; return 0; }
int __cudaPopCallConfiguration(unsigned* grid, unsigned* block, size_t* shared, handle* stream) {
    memset(grid, 0, 12);
    memset(block, 0, 12);
    *shared = 0;
    *stream = 0;
    return 0;
}
int cudaLaunchKernel(void) { launches++; return 0; }
int __cudaLaunchKernel(void) { launches++; return 0; }
NOTHING(__cudaRegisterFatBinaryEnd) NOTHING(__cudaUnregisterFatBinary) NOTHING(__cudaInitModule)
NOTHING(__cudaRegisterFunction) NOTHING(__cudaRegisterVar) NOTHING(__cudaPushCallConfiguration)

/* cuBLAS, cuFFT, cuSPARSE */
TOLD(cublasCreate_v2)
int cublasGemmEx(void) { launches++; return 0; }
int cublasSgemm_v2(void) { launches++; return 0; }
int cublasGemmStridedBatchedEx(void) { launches++; return 0; }
NOTHING(cublasDestroy_v2) NOTHING(cufftDestroy) NOTHING(cusparseCreate) NOTHING(cusparseDestroy)

/* cuRAND */
int curandCreateGenerator(handle* p, int kind) { say("curandCreateGenerator"); return get(p, 64); }
static float uniform(void) { return rand() / (RAND_MAX + 1.0f); }
int curandGenerateUniform(handle g, float* p, size_t count) {
    while (count--)
        *p++ = uniform();
    return 0;
}
int curandGenerateNormal(handle g, float* p, size_t count, float mean, float deviation) {
    while (count--)
        *p++ = mean + deviation * 3.46f * (uniform() - 0.5f);
    return 0;
}
NOTHING(curandGenerateUniformDouble) NOTHING(curandGenerateNormalDouble)
NOTHING(curandDestroyGenerator) NOTHING(curandSetPseudoRandomGeneratorSeed)

/* cuDNN. Its answer to which algorithm is best: each, in the order of their numbers. */
struct performance { int algorithm, status; float time; size_t memory; int rest[5]; };
static int all(int wanted, int* found, struct performance* p) {
    for (int i = 0; i < wanted; i++)
        p[i] = (struct performance){.algorithm = i};
    return number(found, wanted);
}
#define FIND(name) int name(handle h, handle a, void* x, handle b, void* y, handle c, handle d, \
    void* z, int wanted, int* found, struct performance* p) { return all(wanted, found, p); }
#define GET(name) int name(handle h, handle a, handle b, handle c, handle d, int wanted, \
    int* found, struct performance* p) { return all(wanted, found, p); }
#define WORKSPACE(name) int name(handle h, handle a, handle b, handle c, handle d, int algorithm, \
    size_t* size) { *size = 4096; return 0; }
FIND(cudnnFindConvolutionForwardAlgorithmEx) GET(cudnnGetConvolutionForwardAlgorithm_v7)
FIND(cudnnFindConvolutionBackwardDataAlgorithmEx) GET(cudnnGetConvolutionBackwardDataAlgorithm_v7)
FIND(cudnnFindConvolutionBackwardFilterAlgorithmEx)
GET(cudnnGetConvolutionBackwardFilterAlgorithm_v7)
WORKSPACE(cudnnGetConvolutionForwardWorkspaceSize)
WORKSPACE(cudnnGetConvolutionBackwardDataWorkspaceSize)
WORKSPACE(cudnnGetConvolutionBackwardFilterWorkspaceSize)
TOLD(cudnnCreate) CREATE(cudnnCreateTensorDescriptor) CREATE(cudnnCreateFilterDescriptor)
CREATE(cudnnCreateConvolutionDescriptor) CREATE(cudnnCreateRNNDescriptor)
CREATE(cudnnCreateDropoutDescriptor)
int cudnnConvolutionForward(void) { launches++; return 0; }
int cudnnConvolutionBackwardData(void) { launches++; return 0; }
int cudnnConvolutionBackwardFilter(void) { launches++; return 0; }
const char* cudnnGetErrorString(int error) { return "?"; }
NOTHING(cudnnDestroy) NOTHING(cudnnDestroyTensorDescriptor) NOTHING(cudnnDestroyFilterDescriptor)
NOTHING(cudnnDestroyConvolutionDescriptor) NOTHING(cudnnDestroyRNNDescriptor)
NOTHING(cudnnDestroyDropoutDescriptor) NOTHING(cudnnDropoutGetStatesSize)
NOTHING(cudnnSetTensorNdDescriptor) NOTHING(cudnnSetTensor4dDescriptorEx)
NOTHING(cudnnSetTensor4dDescriptor) NOTHING(cudnnSetFilterNdDescriptor)
NOTHING(cudnnSetFilter4dDescriptor) NOTHING(cudnnSetConvolutionNdDescriptor)
NOTHING(cudnnSetConvolution2dDescriptor) NOTHING(cudnnSetConvolutionGroupCount)
NOTHING(cudnnSetConvolutionMathType) NOTHING(cudnnSetDropoutDescriptor)

/* NCCL: what is there stays, as if the other processes had zeros. Numbers are of 4 bytes. */
struct id { char bytes[128]; };
int ncclGetUniqueId(struct id* id) { memset(id, 7, sizeof *id); return 0; }
int ncclCommInitRank(handle* p, int count, struct id id, int rank) {
    say("ncclCommInitRank");
    return get(p, 64);
}
int ncclAllReduce(const void* from, void* to, size_t count) {
    say("ncclAllReduce");
    memcpy(to, from, 4 * count);
    return 0;
}
const char* ncclGetErrorString(int error) { return "?"; }
NOTHING(ncclCommDestroy) NOTHING(ncclBroadcast) NOTHING(ncclReduce)
