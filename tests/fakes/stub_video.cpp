// Stand-ins for the driver's video libraries, libnvcuvid.so.1 (NVDEC) and libnvidia-encode.so.1 (NVENC), over host
// memory: libav's own code for both runs as it would on a GPU. Nothing is decoded or encoded: a "decoded" picture is a
// pattern that depends on the bytes of its packet, and an "encoded" one holds its samples, four bits a byte, in what
// looks like a slice of H.264. Structures of NVIDIA's interfaces are read at the offsets that all versions from 11 to
// 13 share. STUB_PARAMETERS: SPS and PPS of the encoder, in hexadecimal.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#define API extern "C" __attribute__((visibility("default")))

namespace {

template <class T>
T& at(void* base, size_t offset) {
    return *reinterpret_cast<T*>(static_cast<char*>(base) + offset);
}

// --- NVDEC

struct Decoder {
    size_t width, height, pitch;
    std::map<int, std::vector<uint8_t>> surfaces;
};

// --- NVENC

struct Resource {
    uint8_t* memory;
    uint32_t width, height, pitch;
};
struct Bitstream {
    std::string bytes;
    uint64_t time, duration;
    uint32_t index;
};
struct Encoder {
    uint32_t width, height, frames;
};

void append(std::string& out, const uint8_t* row, size_t bytes) {
    for (size_t i = 0; i < bytes; ++i) {
        out.push_back(char(0x40 | (row[i] >> 4)));
        out.push_back(char(0x40 | (row[i] & 15)));
    }
}

std::string parameters() {
    const char* text = getenv("STUB_PARAMETERS");
    std::string out;
    for (; text && text[0] && text[1]; text += 2)
        out.push_back(char(strtol(std::string(text, 2).c_str(), nullptr, 16)));
    return out;
}

int succeed(...) { return 0; }

}  // namespace

API int cuvidGetDecoderCaps(void* caps) {
    at<uint8_t>(caps, 24) = 1;   // supported
    at<uint16_t>(caps, 26) = 1;  // as NV12
    at<uint32_t>(caps, 28) = 8192;
    at<uint32_t>(caps, 32) = 8192;
    at<uint32_t>(caps, 36) = 262144;
    at<uint16_t>(caps, 40) = at<uint16_t>(caps, 42) = 16;
    return 0;
}
API int cuvidCreateDecoder(void** out, void* info) {
    const size_t width = at<unsigned long>(info, 96), height = at<unsigned long>(info, 104);
    *out = new Decoder{width, height, (width + 255) / 256 * 256, {}};
    return 0;
}
API int cuvidDestroyDecoder(void* decoder) {
    delete static_cast<Decoder*>(decoder);
    return 0;
}
API int cuvidDecodePicture(void* decoder, void* picture) {
    Decoder& d = *static_cast<Decoder*>(decoder);
    uint32_t hash = 2166136261u;
    const uint8_t* bytes = at<const uint8_t*>(picture, 32);
    for (uint32_t i = 0; i < at<uint32_t>(picture, 24); ++i) hash = (hash ^ bytes[i]) * 16777619u;
    auto& surface = d.surfaces[at<int>(picture, 8)];
    surface.resize(d.pitch * d.height * 3 / 2);
    for (size_t y = 0; y < d.height * 3 / 2; ++y)
        for (size_t x = 0; x < d.width; ++x)
            surface[y * d.pitch + x] =
                uint8_t(y < d.height ? 30 + (3 * x + 5 * y + hash) % 190 : 90 + (x / 8 * 7 + y * 3 + (hash >> 8)) % 80);
    return 0;
}
API int cuvidMapVideoFrame64(void* decoder, int index, unsigned long long* pointer, unsigned* pitch, void*) {
    Decoder& d = *static_cast<Decoder*>(decoder);
    *pointer = reinterpret_cast<uintptr_t>(d.surfaces[index].data());
    *pitch = unsigned(d.pitch);
    return 0;
}
API int cuvidUnmapVideoFrame64(void*, unsigned long long) { return 0; }

#define UNUSED(name) \
    API int name() { return 801; }
UNUSED(cuvidGetDecodeStatus)
UNUSED(cuvidReconfigureDecoder)
UNUSED(cuvidCtxLockCreate)
UNUSED(cuvidCtxLockDestroy)
UNUSED(cuvidCtxLock)
UNUSED(cuvidCtxUnlock)
UNUSED(cuvidCreateVideoSource)
UNUSED(cuvidCreateVideoSourceW)
UNUSED(cuvidDestroyVideoSource)
UNUSED(cuvidSetVideoSourceState)
UNUSED(cuvidGetVideoSourceState)
UNUSED(cuvidGetSourceVideoFormat)
UNUSED(cuvidGetSourceAudioFormat)
UNUSED(cuvidCreateVideoParser)
UNUSED(cuvidParseVideoData)
UNUSED(cuvidDestroyVideoParser)

namespace {

int open_session(void*, void** encoder) {
    *encoder = new Encoder{};
    return 0;
}
int close_session(void* encoder) {
    delete static_cast<Encoder*>(encoder);
    return 0;
}
int count_codecs(void*, uint32_t* count) {
    *count = 1;
    return 0;
}
int list_codecs(void*, void* list, uint32_t, uint32_t* count) {
    static const uint8_t h264[] = {0x62, 0x27, 0xC8, 0x6B, 0x63, 0x4E, 0xA4, 0x4C,
                                   0xAA, 0x85, 0x1E, 0x50, 0xF3, 0x21, 0xF6, 0xBF};
    memcpy(list, h264, sizeof h264);
    *count = 1;
    return 0;
}
struct Guid {
    uint64_t low, high;
};
int capability(void*, Guid, void*, int* value) {
    *value = 8192;
    return 0;
}
int initialize(void* encoder, void* given) {
    // version, two GUIDs of 16 bytes, then the size
    static_cast<Encoder*>(encoder)->width = at<uint32_t>(given, 36);
    static_cast<Encoder*>(encoder)->height = at<uint32_t>(given, 40);
    return 0;
}
int make_bitstream(void*, void* given) {
    at<void*>(given, 16) = new Bitstream{};
    return 0;
}
int drop_bitstream(void*, void* bitstream) {
    delete static_cast<Bitstream*>(bitstream);
    return 0;
}
int register_resource(void*, void* given) {
    at<void*>(given, 32) =
        new Resource{at<uint8_t*>(given, 24), at<uint32_t>(given, 8), at<uint32_t>(given, 12), at<uint32_t>(given, 16)};
    return 0;
}
int drop_resource(void*, void* resource) {
    delete static_cast<Resource*>(resource);
    return 0;
}
int map_resource(void*, void* given) {
    at<void*>(given, 24) = at<void*>(given, 16);
    at<uint32_t>(given, 32) = 1;  // NV12
    return 0;
}
// NVENC knows the luma's address alone: the chroma follows it, with the same bytes from row to row.
int encode(void* encoder, void* given) {
    if (at<uint32_t>(given, 16) & 8) return 0;  // the end of the stream
    Encoder& e = *static_cast<Encoder*>(encoder);
    const Resource& r = *at<Resource*>(given, 40);
    Bitstream& out = *at<Bitstream*>(given, 48);
    out.time = at<uint64_t>(given, 24);
    out.duration = at<uint64_t>(given, 32);
    out.index = e.frames++;
    out.bytes.assign("\0\0\0\1\x65", 5);
    for (uint32_t y = 0; y < e.height; ++y) append(out.bytes, r.memory + size_t(y) * r.pitch, e.width);
    for (uint32_t y = 0; y < e.height / 2; ++y) append(out.bytes, r.memory + size_t(r.height + y) * r.pitch, e.width);
    return 0;
}
int lock_bitstream(void*, void* given) {
    Bitstream& b = *at<Bitstream*>(given, 8);
    at<uint32_t>(given, 24) = b.index;
    at<uint32_t>(given, 36) = uint32_t(b.bytes.size());
    at<uint64_t>(given, 40) = b.time;
    at<uint64_t>(given, 48) = b.duration;
    at<void*>(given, 56) = &b.bytes[0];
    at<uint32_t>(given, 64) = 3;  // IDR
    return 0;
}
int sequence_parameters(void*, void* given) {
    const std::string bytes = parameters();
    if (bytes.size() > at<uint32_t>(given, 4)) return 8;
    memcpy(at<void*>(given, 16), bytes.data(), bytes.size());
    *at<uint32_t*>(given, 24) = uint32_t(bytes.size());
    return 0;
}
const char* last_error(void*) { return ""; }

}  // namespace

API int NvEncodeAPIGetMaxSupportedVersion(uint32_t* version) {
    *version = 0xFF;
    return 0;
}
API int NvEncodeAPICreateInstance(void* list) {
    void** functions = &at<void*>(list, 8);
    for (int i = 0; i < 43; ++i) functions[i] = reinterpret_cast<void*>(succeed);
    const std::pair<int, void*> own[] = {
        {1, reinterpret_cast<void*>(count_codecs)},
        {4, reinterpret_cast<void*>(list_codecs)},
        {7, reinterpret_cast<void*>(capability)},
        {11, reinterpret_cast<void*>(initialize)},
        {14, reinterpret_cast<void*>(make_bitstream)},
        {15, reinterpret_cast<void*>(drop_bitstream)},
        {16, reinterpret_cast<void*>(encode)},
        {17, reinterpret_cast<void*>(lock_bitstream)},
        {22, reinterpret_cast<void*>(sequence_parameters)},
        {25, reinterpret_cast<void*>(map_resource)},
        {27, reinterpret_cast<void*>(close_session)},
        {29, reinterpret_cast<void*>(open_session)},
        {30, reinterpret_cast<void*>(register_resource)},
        {31, reinterpret_cast<void*>(drop_resource)},
        {37, reinterpret_cast<void*>(last_error)},
    };
    for (const auto& [index, function] : own) functions[index] = function;
    return 0;
}
