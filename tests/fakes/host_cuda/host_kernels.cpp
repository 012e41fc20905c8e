// The CUDA kernels as a library of host functions, for the tests' fake driver.
#include <initializer_list>
#include <type_traits>
#include <utility>

#include "kernels.cu"

namespace {

template <class... Parameters>
struct Call {
    static constexpr int count = sizeof...(Parameters);
    static void sizes(int* out) { (void)std::initializer_list<int>{(*out++ = int(sizeof(Parameters)))...}; }
    template <size_t... i>
    static void run(void (*kernel)(Parameters...), void** values, std::index_sequence<i...>) {
        kernel(*static_cast<std::remove_const_t<Parameters>*>(values[i])...);
    }
};

struct Entry {
    const char* name;
    int count;
    void (*sizes)(int*);
    void (*thread)(void**);
};

template <auto kernel>
struct Thread;
template <class... Parameters, void (*kernel)(Parameters...)>
struct Thread<kernel> {
    using Of = Call<Parameters...>;
    static void run(void** values) { Of::run(kernel, values, std::index_sequence_for<Parameters...>()); }
};

template <auto kernel>
Entry entry(const char* name) {
    using Of = typename Thread<kernel>::Of;
    return {name, Of::count, Of::sizes, Thread<kernel>::run};
}

const Entry entries[] = {entry<prepare_float32>("prepare_float32"), entry<prepare_float16>("prepare_float16"),
                         entry<compose_float32>("compose_float32"), entry<compose_float16>("compose_float16")};

}  // namespace

// The number of a kernel's parameters, their sizes; -1: there is no such kernel.
extern "C" int host_parameters(const char* name, int* sizes) {
    for (const Entry& e : entries)
        if (!strcmp(e.name, name)) {
            e.sizes(sizes);
            return e.count;
        }
    return -1;
}

extern "C" void host_launch(const char* name, const unsigned* grid, const unsigned* block, void** values) {
    for (const Entry& e : entries)
        if (!strcmp(e.name, name)) {
            blockDim = {block[0], block[1], block[2]};
            for (blockIdx.z = 0; blockIdx.z < grid[2]; ++blockIdx.z)
                for (blockIdx.y = 0; blockIdx.y < grid[1]; ++blockIdx.y)
                    for (blockIdx.x = 0; blockIdx.x < grid[0]; ++blockIdx.x)
                        for (threadIdx.z = 0; threadIdx.z < block[2]; ++threadIdx.z)
                            for (threadIdx.y = 0; threadIdx.y < block[1]; ++threadIdx.y)
                                for (threadIdx.x = 0; threadIdx.x < block[0]; ++threadIdx.x) e.thread(values);
        }
}

extern "C" void host_to_half(const float* in, unsigned short* out, long count) {
    for (long i = 0; i < count; ++i) {
        half value;
        from_float(in[i], value);
        out[i] = value.bits;
    }
}

extern "C" void host_to_float(const unsigned short* in, float* out, long count) {
    for (long i = 0; i < count; ++i) out[i] = to_float(half{in[i]});
}
