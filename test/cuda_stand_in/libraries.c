/* CUDA's driver and libraries, as far as Jittor calls them, for machines without a GPU: memory is
   the CPU's, and convolutions and products are plain loops. Kernels are launched and do nothing,
   but where bin/nvcc has compiled them for the CPU. See ../test_cuda_compile.py. */
#include <math.h>
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
const char* cudaGetErrorString(int error) { return "?"; }
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

/* cuBLAS: matrices lie column by column; beta is 0, as in cuDNN, and alpha 1 but in Sgemm. Also what of cuFFT and
   cuSPARSE is called at the start and the end. */
TOLD(cublasCreate_v2)
static void multiply(int ta, int tb, int m, int n, int k, const float* a, int lda, const float* b,
                     int ldb, float* c, int ldc) {
    launches++;
    for (int j = 0; j < n; j++)
        for (int i = 0; i < m; i++) {
            double sum = 0;
            for (int l = 0; l < k; l++)
                sum += a[ta ? i * lda + l : l * lda + i] * b[tb ? l * ldb + j : j * ldb + l];
            c[j * ldc + i] = sum;
        }
}
int cublasGemmEx(handle h, int ta, int tb, int m, int n, int k, void* alpha, const float* a,
                 int a_type, int lda, const float* b, int b_type, int ldb, void* beta, float* c,
                 int c_type, int ldc) {
    multiply(ta, tb, m, n, k, a, lda, b, ldb, c, ldc);
    return 0;
}
int cublasGemmStridedBatchedEx(handle h, int ta, int tb, int m, int n, int k, void* alpha,
                               const float* a, int a_type, int lda, long a_step, const float* b,
                               int b_type, int ldb, long b_step, void* beta, float* c, int c_type,
                               int ldc, long c_step, int count) {
    for (int i = 0; i < count; i++)
        multiply(ta, tb, m, n, k, a + i * a_step, lda, b + i * b_step, ldb, c + i * c_step, ldc);
    return 0;
}
int cublasSgemm_v2(handle h, int ta, int tb, int m, int n, int k, const float* alpha, const float* a,
                   int lda, const float* b, int ldb, const float* beta, float* c, int ldc) {
    multiply(ta, tb, m, n, k, a, lda, b, ldb, c, ldc);
    for (int i = 0; i < m * n; i++)
        c[i] *= *alpha;
    return 0;
}
NOTHING(cublasDestroy_v2) NOTHING(cufftDestroy) NOTHING(cusparseCreate)
NOTHING(cusparseDestroy)

/* cuRAND: xorshift, and for normal numbers Box and Muller. */
static unsigned long state = 1;
int curandCreateGenerator(handle* p, int kind) { say("curandCreateGenerator"); return get(p, 64); }
int curandSetPseudoRandomGeneratorSeed(handle g, unsigned long seed) {
    state = (seed + 1) * 0x9E3779B97F4A7C15ul;
    return 0;
}
static double uniform(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return ((state >> 11) + 1) / 9007199254740992.0;
}
int curandGenerateUniform(handle g, float* p, size_t count) {
    while (count--)
        *p++ = uniform();
    return 0;
}
int curandGenerateNormal(handle g, float* p, size_t count, float mean, float deviation) {
    while (count--)
        *p++ = mean + deviation * sqrt(-2 * log(uniform())) * cos(6.283185307179586 * uniform());
    return 0;
}
NOTHING(curandGenerateUniformDouble) NOTHING(curandGenerateNormalDouble)
NOTHING(curandDestroyGenerator)

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

typedef struct { int size[4], step[4]; } array;         /* N C H W, or O I H W */
typedef struct { int padding[2], stride[2], groups; } convolution;

int cudnnSetTensorNdDescriptor(array* a, int type, int count, const int* size, const int* step) {
    memcpy(a->size, size, sizeof a->size);
    memcpy(a->step, step, sizeof a->step);
    return 0;
}
int cudnnSetFilterNdDescriptor(array* a, int type, int format, int count, const int* size) {
    memcpy(a->size, size, sizeof a->size);
    for (int i = 3, step = 1; i >= 0; step *= size[i--])
        a->step[i] = step;
    return format;                                      /* other than OIHW: an error */
}
int cudnnSetConvolutionNdDescriptor(convolution* c, int count, const int* padding,
                                    const int* stride) {
    memcpy(c->padding, padding, sizeof c->padding);
    memcpy(c->stride, stride, sizeof c->stride);
    c->groups = 1;
    return 0;
}
int cudnnSetConvolutionGroupCount(convolution* c, int groups) { c->groups = groups; return 0; }

/* y = alpha · x * w; or, of the others, the array `result`, by the same multiplications. */
static int convolve(const float* alpha, const array* xs, float* x, const array* ws, float* w,
                    const array* ys, float* y, const convolution* c, float* result) {
    const int outputs = ws->size[0] / c->groups, inputs = ws->size[1];
    const array* of = result == x ? xs : result == w ? ws : ys;
    launches++;
    for (int i = 0; i < of->size[0]; i++)
        for (int j = 0; j < of->size[1]; j++)
            for (int k = 0; k < of->size[2]; k++)
                for (int l = 0; l < of->size[3]; l++)
                    result[i * of->step[0] + j * of->step[1] + k * of->step[2] + l * of->step[3]] =
                        0;
    for (int n = 0; n < ys->size[0]; n++)
    for (int o = 0; o < ys->size[1]; o++)
    for (int i = 0; i < inputs; i++)
    for (int h = 0; h < ys->size[2]; h++)
    for (int dh = 0; dh < ws->size[2]; dh++) {
        const int row = h * c->stride[0] - c->padding[0] + dh;
        if (row < 0 || row >= xs->size[2])
            continue;
        float* from = x + n * xs->step[0] + (o / outputs * inputs + i) * xs->step[1]
                      + row * xs->step[2];
        float* to = y + n * ys->step[0] + o * ys->step[1] + h * ys->step[2];
        float* by = w + o * ws->step[0] + i * ws->step[1] + dh * ws->step[2];
        for (int v = 0; v < ys->size[3]; v++)
        for (int dv = 0; dv < ws->size[3]; dv++) {
            const int column = v * c->stride[1] - c->padding[1] + dv;
            if (column < 0 || column >= xs->size[3])
                continue;
            if (result == y)
                to[v * ys->step[3]] += *alpha * from[column * xs->step[3]] * by[dv];
            else if (result == x)
                from[column * xs->step[3]] += *alpha * to[v * ys->step[3]] * by[dv];
            else
                by[dv] += *alpha * from[column * xs->step[3]] * to[v * ys->step[3]];
        }
    }
    return 0;
}
int cudnnConvolutionForward(handle h, const float* alpha, array* xs, float* x, array* ws, float* w,
                            convolution* c, int algorithm, void* space, size_t size, void* beta,
                            array* ys, float* y) {
    return convolve(alpha, xs, x, ws, w, ys, y, c, y);
}
int cudnnConvolutionBackwardData(handle h, const float* alpha, array* ws, float* w, array* ys, float* y,
                                 convolution* c, int algorithm, void* space, size_t size,
                                 void* beta, array* xs, float* x) {
    return convolve(alpha, xs, x, ws, w, ys, y, c, x);
}
int cudnnConvolutionBackwardFilter(handle h, const float* alpha, array* xs, float* x, array* ys, float* y,
                                   convolution* c, int algorithm, void* space, size_t size,
                                   void* beta, array* ws, float* w) {
    return convolve(alpha, xs, x, ws, w, ys, y, c, w);
}
const char* cudnnGetErrorString(int error) { return "?"; }
NOTHING(cudnnDestroy) NOTHING(cudnnDestroyTensorDescriptor) NOTHING(cudnnDestroyFilterDescriptor)
NOTHING(cudnnDestroyConvolutionDescriptor) NOTHING(cudnnDestroyRNNDescriptor)
NOTHING(cudnnDestroyDropoutDescriptor) NOTHING(cudnnDropoutGetStatesSize)
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
