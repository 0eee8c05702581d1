/* The one stand-in that needs a header of CUDA: what the GPU says of itself. */
#include <string.h>
#define cudaGetDeviceProperties declared_otherwise
#include <cuda_runtime_api.h>
#undef cudaGetDeviceProperties

int cudaGetDeviceProperties(struct cudaDeviceProp* p, int device) {
    memset(p, 0, sizeof *p);
    strcpy(p->name, "stand-in");
    p->totalGlobalMem = 16ul << 30;
    p->major = 9;
    p->multiProcessorCount = 132;
    p->maxThreadsPerBlock = 1024;
    p->warpSize = 32;
    p->sharedMemPerBlock = 48 << 10;
    p->unifiedAddressing = p->managedMemory = p->concurrentManagedAccess = 1;
    return 0;
}
