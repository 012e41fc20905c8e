// A libcuda.so.1 on host memory, so that the real cuda-bindings are called where there is no GPU.
//
// Declares what it needs of cuda.h itself. Work happens at once, in order, unless it is recorded. What the driver
// refuses is refused: calls without a current context, calls that spoil a capture, addresses beyond an allocation,
// unpinned memory, images that are not cubins or PTX, freed handles. Freed memory goes to the next allocation of its
// size, with noise in it. Kernels are those of host_kernels.cpp, in the library that STUB_KERNELS names;
// STUB_CAPABILITY (90), STUB_VERSION (13000) and STUB_INTEGRATED describe the GPU.
#include <dlfcn.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#define API extern "C" __attribute__((visibility("default"))) int
#define NEED_CONTEXT \
    if (!contexts().size() || !contexts().back()) return kInvalidContext

namespace {

constexpr int kSuccess = 0, kInvalidValue = 1, kInvalidDevice = 101, kInvalidImage = 200, kInvalidContext = 201,
              kInvalidHandle = 400, kIllegalState = 401, kNotFound = 500, kCaptureUnsupported = 900,
              kCaptureInvalidated = 901;
constexpr uintptr_t kContext = 0xC0DE;

using Action = std::function<void()>;
using Operations = std::vector<Action>;
struct Stream {
    bool capturing = false, spoilt = false;
    std::thread::id by;
    Operations recorded;
};
struct Memory {
    std::map<uintptr_t, size_t> live;
    std::multimap<size_t, uintptr_t> freed;
};

std::recursive_mutex mutex;
unsigned context_flags = 0;
bool context_active = false;
Memory device, pinned;
std::set<uintptr_t> streams, events, graphs, executables, modules;
std::map<std::string, std::string*> functions;

std::vector<uintptr_t>& contexts() {
    thread_local std::vector<uintptr_t> stack;
    return stack;
}

int setting(const char* name, int otherwise) {
    const char* given = getenv(name);
    return given ? atoi(given) : otherwise;
}

int (*host_parameters)(const char*, int*);
void (*host_launch)(const char*, const unsigned*, const unsigned*, void**);
bool load_kernels() {
    if (host_launch) return true;
    void* library = getenv("STUB_KERNELS") ? dlopen(getenv("STUB_KERNELS"), RTLD_NOW) : nullptr;
    if (!library) return false;
    host_parameters = reinterpret_cast<decltype(host_parameters)>(dlsym(library, "host_parameters"));
    host_launch = reinterpret_cast<decltype(host_launch)>(dlsym(library, "host_launch"));
    return host_launch;
}

int allocate(Memory& memory, uintptr_t* out, size_t bytes) {
    if (!bytes) return kInvalidValue;
    std::lock_guard<std::recursive_mutex> lock(mutex);
    const size_t room = (bytes + 511) / 512 * 512;
    const auto kept = memory.freed.find(room);
    uintptr_t at;
    if (kept != memory.freed.end()) {
        at = kept->second;
        memory.freed.erase(kept);
    } else {
        at = reinterpret_cast<uintptr_t>(aligned_alloc(512, room));
    }
    uint32_t noise = uint32_t(bytes) * 2654435761u + 1;
    for (size_t i = 0; i < room; ++i)
        reinterpret_cast<uint8_t*>(at)[i] = uint8_t((noise = noise * 1664525u + 1013904223u) >> 24);
    memory.live[at] = bytes;
    *out = at;
    return kSuccess;
}

int release(Memory& memory, uintptr_t at) {
    std::lock_guard<std::recursive_mutex> lock(mutex);
    const auto found = memory.live.find(at);
    if (found == memory.live.end()) return kInvalidValue;
    memory.freed.emplace((found->second + 511) / 512 * 512, at);
    memory.live.erase(found);
    return kSuccess;
}

bool holds(const Memory& memory, uintptr_t at, size_t bytes) {
    std::lock_guard<std::recursive_mutex> lock(mutex);
    auto found = memory.live.upper_bound(at);
    if (found == memory.live.begin()) return false;
    --found;
    return at + bytes <= found->first + found->second;
}

// Whether this thread records something, which the call that asks has spoilt (capture mode "thread local").
bool spoil() {
    std::lock_guard<std::recursive_mutex> lock(mutex);
    bool any = false;
    for (uintptr_t handle : streams) {
        Stream& stream = *reinterpret_cast<Stream*>(handle);
        if (stream.capturing && stream.by == std::this_thread::get_id()) stream.spoilt = any = true;
    }
    return any;
}

bool known(uintptr_t stream) { return stream <= 2 || streams.count(stream); }

int put(uintptr_t stream, Action action) {
    std::lock_guard<std::recursive_mutex> lock(mutex);
    if (!known(stream)) return kInvalidHandle;
    if (stream > 2 && reinterpret_cast<Stream*>(stream)->capturing)
        reinterpret_cast<Stream*>(stream)->recorded.push_back(std::move(action));
    else
        action();
    return kSuccess;
}

enum { kUp, kDown, kWithin, kLaunches };
long long counts[4];

int copy(int kind, uintptr_t to, uintptr_t from, size_t bytes) {
    counts[kind] += (long long)bytes;
    memcpy(reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), bytes);
    return kSuccess;
}

template <class T>
uintptr_t keep(std::set<uintptr_t>& where, T* object) {
    std::lock_guard<std::recursive_mutex> lock(mutex);
    where.insert(reinterpret_cast<uintptr_t>(object));
    return reinterpret_cast<uintptr_t>(object);
}

template <class T>
int drop(std::set<uintptr_t>& where, uintptr_t handle) {
    std::lock_guard<std::recursive_mutex> lock(mutex);
    if (!where.erase(handle)) return kInvalidHandle;
    delete reinterpret_cast<T*>(handle);
    return kSuccess;
}

}  // namespace

// What has been done so far: bytes from the host, to the host and within the device, and launched kernels.
extern "C" __attribute__((visibility("default"))) void stub_counts(long long* out) {
    std::lock_guard<std::recursive_mutex> lock(mutex);
    memcpy(out, counts, sizeof counts);
}

API cuInit(unsigned) { return kSuccess; }
API cuDriverGetVersion(int* out) { return *out = setting("STUB_VERSION", 13000), kSuccess; }
API cuDeviceGetCount(int* out) { return *out = 1, kSuccess; }
API cuDeviceGet(int* out, int index) { return *out = index, index == 0 ? kSuccess : kInvalidDevice; }
API cuDeviceGetName(char* out, int room, int) { return snprintf(out, size_t(room), "Stub GPU"), kSuccess; }
API cuDeviceGetAttribute(int* out, int attribute, int) {
    const int capability = setting("STUB_CAPABILITY", 90);
    *out = attribute == 75 ? capability / 10 : attribute == 76 ? capability % 10 : 0;
    if (attribute == 14) *out = 512;  // alignment of textures, and so of libav's rows
    if (attribute == 18) *out = setting("STUB_INTEGRATED", 0);
    return kSuccess;
}
API cuDeviceTotalMem_v2(size_t* out, int) { return *out = size_t(8) << 30, kSuccess; }
API cuDevicePrimaryCtxRetain(uintptr_t* out, int) { return context_active = true, *out = kContext, kSuccess; }
API cuDevicePrimaryCtxRelease_v2(int) { return kSuccess; }
API cuDevicePrimaryCtxRelease(int) { return kSuccess; }
API cuDevicePrimaryCtxGetState(int, unsigned* flags, int* active) {
    return *flags = context_flags, *active = context_active, kSuccess;
}
API cuDevicePrimaryCtxSetFlags_v2(int, unsigned flags) { return context_flags = flags, kSuccess; }
API cuDevicePrimaryCtxSetFlags(int, unsigned flags) { return context_flags = flags, kSuccess; }
API cuCtxSetCurrent(uintptr_t context) {
    if (!contexts().empty()) contexts().pop_back();
    return contexts().push_back(context), kSuccess;
}
API cuCtxPushCurrent_v2(uintptr_t context) { return contexts().push_back(context), kSuccess; }
API cuCtxPopCurrent_v2(uintptr_t* out) {
    if (contexts().empty()) return kInvalidContext;
    if (out) *out = contexts().back();
    return contexts().pop_back(), kSuccess;
}
API cuCtxGetCurrent(uintptr_t* out) { return *out = contexts().empty() ? 0 : contexts().back(), kSuccess; }
API cuCtxSynchronize() {
    NEED_CONTEXT;
    return spoil() ? kCaptureUnsupported : kSuccess;
}
API cuGetErrorName(int status, const char** out) {
    switch (status) {
        case 2:
            *out = "CUDA_ERROR_OUT_OF_MEMORY";
            break;
        case kCaptureUnsupported:
            *out = "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED";
            break;
        case kCaptureInvalidated:
            *out = "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED";
            break;
        default:
            *out = "CUDA_ERROR_OF_THE_STUB";
    }
    return kSuccess;
}
API cuGetErrorString(int, const char** out) { return *out = "as the stub says it", kSuccess; }

API cuMemGetInfo_v2(size_t* free, size_t* total) {
    NEED_CONTEXT;
    return *free = size_t(7) << 30, *total = size_t(8) << 30, kSuccess;
}
API cuMemAlloc_v2(uintptr_t* out, size_t bytes) {
    NEED_CONTEXT;
    if (bytes > size_t(8) << 30) return 2;
    return spoil() ? kCaptureUnsupported : allocate(device, out, bytes);
}
API cuMemFree_v2(uintptr_t at) {
    NEED_CONTEXT;
    return spoil() ? kCaptureUnsupported : release(device, at);
}
API cuMemHostAlloc(uintptr_t* out, size_t bytes, unsigned) {
    NEED_CONTEXT;
    return spoil() ? kCaptureUnsupported : allocate(pinned, out, bytes);
}
API cuMemHostGetDevicePointer_v2(uintptr_t* out, uintptr_t at, unsigned flags) {
    NEED_CONTEXT;
    return *out = at, !flags && holds(pinned, at, 1) ? kSuccess : kInvalidValue;
}
API cuMemFreeHost(uintptr_t at) {
    NEED_CONTEXT;
    return release(pinned, at);
}
API cuMemcpyHtoD_v2(uintptr_t to, uintptr_t from, size_t bytes) {
    NEED_CONTEXT;
    return holds(device, to, bytes) ? copy(kUp, to, from, bytes) : kInvalidValue;
}
API cuMemcpyDtoH_v2(uintptr_t to, uintptr_t from, size_t bytes) {
    NEED_CONTEXT;
    return holds(device, from, bytes) ? copy(kDown, to, from, bytes) : kInvalidValue;
}
API cuMemcpyHtoDAsync_v2(uintptr_t to, uintptr_t from, size_t bytes, uintptr_t stream) {
    NEED_CONTEXT;
    if (!holds(device, to, bytes) || !holds(pinned, from, bytes)) return kInvalidValue;
    return put(stream, [=] { copy(kUp, to, from, bytes); });
}
API cuMemcpyDtoHAsync_v2(uintptr_t to, uintptr_t from, size_t bytes, uintptr_t stream) {
    NEED_CONTEXT;
    if (!holds(device, from, bytes) || !holds(pinned, to, bytes)) return kInvalidValue;
    return put(stream, [=] { copy(kDown, to, from, bytes); });
}
API cuMemcpyDtoDAsync_v2(uintptr_t to, uintptr_t from, size_t bytes, uintptr_t stream) {
    NEED_CONTEXT;
    if (!holds(device, to, bytes) || !holds(device, from, bytes)) return kInvalidValue;
    return put(stream, [=] { copy(kWithin, to, from, bytes); });
}

struct Copy2D {
    size_t source_x, source_y;
    int source_type;  // 1: of the host, 2: of the device
    uintptr_t source_host, source_device, source_array;
    size_t source_pitch, x, y;
    int type;
    uintptr_t host, device, array;
    size_t pitch, width, height;
};
API cuMemcpy2DAsync_v2(const Copy2D* given, uintptr_t stream) {
    NEED_CONTEXT;
    const Copy2D c = *given;
    const uintptr_t from = c.source_type == 1 ? c.source_host : c.source_device, to = c.type == 1 ? c.host : c.device;
    const int kind = c.source_type == 1 ? kUp : c.type == 1 ? kDown : kWithin;
    return put(stream, [=] {
        for (size_t row = 0; row < c.height; ++row)
            copy(kind, to + (c.y + row) * c.pitch + c.x, from + (c.source_y + row) * c.source_pitch + c.source_x,
                 c.width);
    });
}
API cuMemcpy2D_v2(const Copy2D* given) { return cuMemcpy2DAsync_v2(given, 0); }

API cuStreamCreate(uintptr_t* out, unsigned) {
    NEED_CONTEXT;
    return *out = keep(streams, new Stream), kSuccess;
}
API cuStreamDestroy_v2(uintptr_t stream) {
    NEED_CONTEXT;
    return drop<Stream>(streams, stream);
}
API cuStreamSynchronize(uintptr_t stream) {
    NEED_CONTEXT;
    if (!known(stream)) return kInvalidHandle;
    return spoil() ? kCaptureUnsupported : kSuccess;
}
API cuStreamWaitEvent(uintptr_t stream, uintptr_t event, unsigned) {
    NEED_CONTEXT;
    return known(stream) && events.count(event) ? kSuccess : kInvalidHandle;
}
API cuEventCreate(uintptr_t* out, unsigned) {
    NEED_CONTEXT;
    return *out = keep(events, new int), kSuccess;
}
API cuEventDestroy_v2(uintptr_t event) {
    NEED_CONTEXT;
    return drop<int>(events, event);
}
API cuEventRecord(uintptr_t event, uintptr_t stream) {
    NEED_CONTEXT;
    return known(stream) && events.count(event) ? kSuccess : kInvalidHandle;
}
API cuEventQuery(uintptr_t event) {
    NEED_CONTEXT;
    return events.count(event) ? kSuccess : kInvalidHandle;
}
API cuEventSynchronize(uintptr_t event) {
    NEED_CONTEXT;
    if (!events.count(event)) return kInvalidHandle;
    return spoil() ? kCaptureUnsupported : kSuccess;
}
API cuEventElapsedTime_v2(float* out, uintptr_t, uintptr_t) {
    NEED_CONTEXT;
    return *out = 0.5f, kSuccess;
}
API cuEventElapsedTime(float* out, uintptr_t start, uintptr_t end) { return cuEventElapsedTime_v2(out, start, end); }

API cuStreamBeginCapture_v2(uintptr_t handle, int mode) {
    NEED_CONTEXT;
    std::lock_guard<std::recursive_mutex> lock(mutex);
    if (mode != 1) return kInvalidValue;
    if (handle <= 2 || !known(handle)) return kInvalidHandle;
    Stream& stream = *reinterpret_cast<Stream*>(handle);
    if (stream.capturing) return kIllegalState;
    stream = {true, false, std::this_thread::get_id(), {}};
    return kSuccess;
}
API cuStreamEndCapture(uintptr_t handle, uintptr_t* out) {
    NEED_CONTEXT;
    std::lock_guard<std::recursive_mutex> lock(mutex);
    if (handle <= 2 || !known(handle)) return kInvalidHandle;
    Stream& stream = *reinterpret_cast<Stream*>(handle);
    if (!stream.capturing) return kIllegalState;
    stream.capturing = false;
    *out = 0;
    if (stream.spoilt) return kCaptureInvalidated;
    *out = keep(graphs, new Operations(std::move(stream.recorded)));
    return kSuccess;
}
API cuGraphInstantiateWithFlags(uintptr_t* out, uintptr_t graph, unsigned long long) {
    NEED_CONTEXT;
    if (!graphs.count(graph)) return kInvalidHandle;
    return *out = keep(executables, new Operations(*reinterpret_cast<Operations*>(graph))), kSuccess;
}
API cuGraphDestroy(uintptr_t graph) {
    NEED_CONTEXT;
    return drop<Operations>(graphs, graph);
}
API cuGraphExecDestroy(uintptr_t graph) {
    NEED_CONTEXT;
    return drop<Operations>(executables, graph);
}
API cuGraphLaunch(uintptr_t graph, uintptr_t stream) {
    NEED_CONTEXT;
    std::lock_guard<std::recursive_mutex> lock(mutex);
    if (!executables.count(graph)) return kInvalidHandle;
    for (const Action& action : *reinterpret_cast<Operations*>(graph))
        if (const int status = put(stream, action)) return status;
    return kSuccess;
}

API cuModuleLoadData(uintptr_t* out, const void* image) {
    NEED_CONTEXT;
    if (memcmp(image,
               "\x7f"
               "ELF",
               4) &&
        memcmp(image, "//\n//", 5))
        return kInvalidImage;
    return load_kernels() ? (*out = keep(modules, new int), kSuccess) : kNotFound;
}
API cuModuleUnload(uintptr_t module) {
    NEED_CONTEXT;
    return drop<int>(modules, module);
}
API cuModuleGetFunction(uintptr_t* out, uintptr_t module, const char* name) {
    NEED_CONTEXT;
    std::lock_guard<std::recursive_mutex> lock(mutex);
    int sizes[16];
    if (!modules.count(module)) return kInvalidHandle;
    if (host_parameters(name, sizes) < 0) return kNotFound;
    std::string*& function = functions[name];
    if (!function) function = new std::string(name);
    return *out = reinterpret_cast<uintptr_t>(function), kSuccess;
}
API cuLaunchKernel(uintptr_t function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, uintptr_t stream, void** values, void** extra) {
    NEED_CONTEXT;
    if (!gx || !gy || !gz || !bx || !by || !bz || bx * by * bz > 1024 || gy > 65535 || gz > 65535 || shared || extra)
        return kInvalidValue;
    const std::string name = *reinterpret_cast<std::string*>(function);
    int sizes[16];
    const int count = host_parameters(name.c_str(), sizes);
    std::vector<std::string> copies;  // the values are read before this returns
    for (int i = 0; i < count; ++i) copies.emplace_back(static_cast<char*>(values[i]), size_t(sizes[i]));
    return put(stream, [=]() mutable {
        void* table[16];
        for (int i = 0; i < count; ++i) table[i] = &copies[size_t(i)][0];
        ++counts[kLaunches];
        const unsigned grid[] = {gx, gy, gz}, block[] = {bx, by, bz};
        host_launch(name.c_str(), grid, block, table);
    });
}

// Those that libav looks for when it loads the driver and that nothing here calls.
#define UNUSED(name) \
    API name() { return kNotFound; }
UNUSED(cuDeviceComputeCapability)
UNUSED(cuCtxCreate_v2)
UNUSED(cuCtxSetLimit)
UNUSED(cuCtxDestroy_v2)
UNUSED(cuMemAllocPitch_v2)
UNUSED(cuMemAllocManaged)
UNUSED(cuMemsetD8Async)
UNUSED(cuMemcpy)
UNUSED(cuMemcpyAsync)
UNUSED(cuCtxGetDevice)
UNUSED(cuDevicePrimaryCtxReset)
UNUSED(cuStreamQuery)
UNUSED(cuStreamAddCallback)
UNUSED(cuTexObjectCreate)
UNUSED(cuTexObjectDestroy)
UNUSED(cuMemcpyDtoD_v2)
UNUSED(cuArrayCreate_v2)
UNUSED(cuArray3DCreate_v2)
UNUSED(cuArrayDestroy)
UNUSED(cuEGLStreamProducerConnect)
UNUSED(cuEGLStreamProducerDisconnect)
UNUSED(cuEGLStreamConsumerDisconnect)
UNUSED(cuEGLStreamProducerPresentFrame)
UNUSED(cuEGLStreamProducerReturnFrame)
UNUSED(cuModuleGetGlobal)
UNUSED(cuLinkCreate)
UNUSED(cuLinkAddData)
UNUSED(cuLinkComplete)
UNUSED(cuLinkDestroy)
UNUSED(cuGLGetDevices_v2)
UNUSED(cuGraphicsGLRegisterImage)
UNUSED(cuGraphicsUnregisterResource)
UNUSED(cuGraphicsMapResources)
UNUSED(cuGraphicsUnmapResources)
UNUSED(cuGraphicsSubResourceGetMappedArray)
UNUSED(cuGraphicsResourceGetMappedPointer_v2)

API cuGetExportTable(const void** out, const void*) { return *out = nullptr, kNotFound; }
API cuGetProcAddress_v2(const char* symbol, void** out, int, uint64_t, int* status) {
    static void* self = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
    *out = nullptr;
    for (const char* suffix : {"_v2", ""})
        if (!*out) *out = dlsym(self, (std::string(symbol) + suffix).c_str());
    if (status) *status = *out ? 0 : 1;
    return *out ? kSuccess : kNotFound;
}
API cuGetProcAddress(const char* symbol, void** out, int version, uint64_t flags) {
    return cuGetProcAddress_v2(symbol, out, version, flags, nullptr);
}
