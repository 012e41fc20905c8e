// Python binding: checks every argument, so that the kernels need not.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <cmath>
#include <optional>
#include <stdexcept>

#include "kernels.h"
#include "warp.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace ganlens {
namespace {

using Size = std::tuple<int, int>;
using Four = std::tuple<double, double, double, double>;
using Array = nb::ndarray<nb::ro>;

constexpr int kLargestSide = 1 << 16;
constexpr double kLargestCoordinate = 1 << 20;

std::vector<const Rows*> usable() {
    std::vector<const Rows*> out{&scalar_rows()};
    if (const Rows* simd = simd_rows()) out.push_back(simd);
#if defined(__x86_64__)
    if (const Rows* wide = avx512_rows()) out.push_back(wide);
#endif
    return out;
}

std::vector<std::string> targets() {
    std::vector<std::string> names;
    for (const Rows* rows : usable()) names.emplace_back(rows->name);
    return names;
}

// ---------------------------------------------------------------------------------------------- words

std::string join(const std::vector<std::string>& names) {
    std::string out;
    for (const std::string& name : names) out += (out.empty() ? "'" : ", '") + name + "'";
    return out;
}

int choose(const char* what, const std::string& given, const std::vector<std::string>& names) {
    for (size_t i = 0; i < names.size(); ++i)
        if (names[i] == given) return int(i);
    throw std::invalid_argument(std::string(what) + " '" + given + "' is not known; expected one of " + join(names));
}

std::string number(double value) {
    char text[32];
    snprintf(text, sizeof text, "%g", value);
    return text;
}

std::string shape_text(const std::vector<int64_t>& shape) {
    std::string out = "(";
    for (size_t i = 0; i < shape.size(); ++i) out += (i ? ", " : "") + std::to_string(shape[i]);
    return out + (shape.size() == 1 ? ",)" : ")");
}

// ---------------------------------------------------------------------------------------------- arrays

struct Checked {
    nb::object owner;  // keeps the memory while the interpreter lock is released
    uint8_t* data;
    ptrdiff_t row_stride;  // bytes
};

// The memory of an array of this dtype and shape; all but the first axis contiguous, and the first one too unless
// `padded_rows`.
Checked check(nb::handle object, const std::string& what, nb::dlpack::dtype dtype, const std::vector<int64_t>& shape,
              bool writable, bool padded_rows) {
    const std::string expected = std::string("expected a ") + (writable ? "writable " : "") + "NumPy array " +
                                 shape_text(shape) + (dtype == nb::dtype<float>() ? " float32" : " uint8");
    Array array;
    if (!nb::try_cast(object, array, false))
        throw nb::type_error((what + ": got a " + nb::type_name(object.type()).c_str() + ", " + expected).c_str());
    std::vector<int64_t> given;
    for (size_t i = 0; i < array.ndim(); ++i) given.push_back(int64_t(array.shape(i)));
    if (array.dtype() != dtype) {
        const nb::object name = object.attr("dtype");
        throw nb::type_error(
            (what + ": got an array of dtype " + nb::str(nb::handle(name)).c_str() + ", " + expected).c_str());
    }
    if (given != shape)
        throw std::invalid_argument(what + ": got an array of shape " + shape_text(given) + ", " + expected);
    if (array.device_type() != nb::device::cpu::value)
        throw std::invalid_argument(what + ": got an array on another device, " + expected);
    int64_t step = 1;
    for (size_t i = array.ndim(); i-- > 0; step *= shape[i])
        if (shape[i] != 1 && array.stride(i) != step && !(i == 0 && padded_rows))
            throw std::invalid_argument(what + ": got an array that is not contiguous along axis " + std::to_string(i) +
                                        ", " + expected +
                                        (padded_rows ? " whose rows are contiguous" : ", C-contiguous"));
    nb::ndarray<> mutable_array;
    if (writable && !nb::try_cast(object, mutable_array, false))
        throw std::invalid_argument(what + ": got a read-only array, " + expected);
    return {nb::borrow(object), static_cast<uint8_t*>(const_cast<void*>(array.data())),
            ptrdiff_t(array.stride(0)) * dtype.bits / 8};
}

struct CheckedPlanes {
    std::vector<nb::object> owners;
    Planes planes{};
};

CheckedPlanes check_planes(const Options& o, nb::handle object, const std::string& what, bool writable) {
    std::vector<std::vector<int64_t>> shapes;
    for (const Layer& layer : o.layers()) {
        const std::vector<int64_t> one{layer.height, layer.width};
        if (layer.interleaved)
            shapes.push_back({layer.height, layer.width, layer.channels});
        else
            shapes.insert(shapes.end(), size_t(layer.channels), one);
    }
    nb::sequence sequence;
    if (!nb::try_cast(object, sequence) || nb::hasattr(object, "dtype"))
        throw nb::type_error((what + ": got a " + nb::type_name(object.type()).c_str() + ", expected a tuple of " +
                              std::to_string(shapes.size()) + " NumPy arrays")
                                 .c_str());
    if (nb::len(sequence) != shapes.size())
        throw std::invalid_argument(what + ": got " + std::to_string(nb::len(sequence)) + " planes, expected " +
                                    std::to_string(shapes.size()));
    CheckedPlanes out;
    for (size_t i = 0; i < shapes.size(); ++i) {
        const Checked plane =
            check(sequence[i], what + " plane " + std::to_string(i), nb::dtype<uint8_t>(), shapes[i], writable, true);
        out.owners.push_back(plane.owner);
        out.planes[i] = {plane.data, plane.row_stride};
    }
    return out;
}

// ---------------------------------------------------------------------------------------------- options

void check_size(const char* what, const Size& size) {
    const auto [height, width] = size;
    if (height < 1 || width < 1 || height > kLargestSide || width > kLargestSide)
        throw std::invalid_argument(std::string(what) + ": got (" + std::to_string(height) + ", " +
                                    std::to_string(width) + "), expected (height, width) from 1 to " +
                                    std::to_string(kLargestSide));
}

Options make_options(const std::string& format, const Size& frame_size, const Four& region, const Size& size,
                     const std::string& matrix, bool full_range, const std::string& siting,
                     const std::tuple<double, double>& value_range, bool bgr, const std::string& target) {
    Options o{};
    o.format = Format(choose("format", format, {"rgb24", "yuv420p", "nv12"}));
    o.matrix = Matrix(choose("matrix", matrix, {"bt601", "bt709", "bt2020"}));
    o.siting = Siting(choose("siting", siting, {"left", "center", "topleft"}));
    const auto all = usable();
    o.rows = target.empty() ? all.back() : all[size_t(choose("target", target, targets()))];
    check_size("frame_size", frame_size);
    check_size("size", size);
    std::tie(o.frame_height, o.frame_width) = frame_size;
    std::tie(o.height, o.width) = size;
    std::tie(o.top, o.left, o.region_height, o.region_width) = region;
    const auto usable_number = [](double v) { return std::isfinite(v) && std::abs(v) <= kLargestCoordinate; };
    if (!usable_number(o.top) || !usable_number(o.left) || !usable_number(o.region_height) ||
        !usable_number(o.region_width) || o.region_height <= 0 || o.region_width <= 0)
        throw std::invalid_argument("region: got (" + number(o.top) + ", " + number(o.left) + ", " +
                                    number(o.region_height) + ", " + number(o.region_width) +
                                    "), expected (top, left, height, width) in pixels, height and width above 0");
    o.low = float(std::get<0>(value_range));
    o.high = float(std::get<1>(value_range));
    if (!std::isfinite(o.low) || !std::isfinite(o.high) || o.low >= o.high)
        throw std::invalid_argument("value_range: got (" + number(o.low) + ", " + number(o.high) +
                                    "), expected two rising numbers");
    o.full_range = full_range;
    o.bgr = bgr;
    return o;
}

// A share that is given for one call, else the one from the beginning.
double share(const char* name, const std::optional<double>& given, double otherwise) {
    const double value = given.value_or(otherwise);
    if (!(value >= 0 && value <= 1))
        throw std::invalid_argument(std::string(name) + ": got " + number(value) + ", expected 0 to 1");
    return value;
}

Blending make_blending(const Four& feather, double detail, double opacity) {
    Blending b{};
    std::tie(b.feather[0], b.feather[1], b.feather[2], b.feather[3]) = feather;
    for (double width : b.feather)
        if (!(width >= 0) || !std::isfinite(width))
            throw std::invalid_argument("feather width: got " + number(width) + ", expected at least 0 pixels");
    b.detail = share("detail", detail, 0);
    b.opacity = share("opacity", opacity, 1);
    return b;
}

// ---------------------------------------------------------------------------------------------- calls

void call_prepare(Prepare& prepare, nb::handle planes, nb::handle out) {
    const Options& o = prepare.options;
    const CheckedPlanes in = check_planes(o, planes, "planes", false);
    const Checked tensor = check(out, "out", nb::dtype<float>(), {3, o.height, o.width}, true, false);
    const nb::gil_scoped_release release;
    prepare(in.planes, reinterpret_cast<float*>(tensor.data));
}

void call_compose(Compose& compose, nb::handle translated, nb::handle destination, nb::handle mask, nb::handle prepared,
                  nb::handle source, std::optional<double> detail_given, std::optional<double> opacity_given) {
    const Options& o = compose.options;
    const std::vector<int64_t> shape{3, o.height, o.width};
    const double detail = share("detail", detail_given, compose.blending.detail);
    const double opacity = share("opacity", opacity_given, compose.blending.opacity);
    const bool detailed = detail > 0;
    const auto floats = [](const Checked& array) { return reinterpret_cast<const float*>(array.data); };

    const Checked image = check(translated, "translated", nb::dtype<float>(), shape, false, false);
    const CheckedPlanes frame = check_planes(o, destination, "destination", true);
    Checked mask_array{}, prepared_array{};
    CheckedPlanes original;
    if (!mask.is_none()) mask_array = check(mask, "mask", nb::dtype<float>(), {o.height, o.width}, false, false);
    if (!prepared.is_none()) prepared_array = check(prepared, "prepared", nb::dtype<float>(), shape, false, false);
    if (!source.is_none()) original = check_planes(o, source, "source", false);
    if (detailed && prepared.is_none())
        throw std::invalid_argument("prepared: got None; detail above 0 needs what Prepare wrote for this frame, " +
                                    shape_text(shape) + " float32");
    const nb::gil_scoped_release release;
    compose(floats(image), frame.planes, floats(mask_array), detailed ? floats(prepared_array) : nullptr,
            source.is_none() ? frame.planes : original.planes, detail, opacity);
}

// ---------------------------------------------------------------------------------------------- warps

const Four kNoRegion{0, 0, 1, 1};

Similarity make_similarity(const Four& values) {
    const auto [a, b, u, v] = values;
    const Similarity s{a, b, u, v};
    const auto usable = [](double value) { return std::isfinite(value) && std::abs(value) <= kLargestCoordinate; };
    if (!usable(a) || !usable(b) || !usable(u) || !usable(v) || !(s.scale() > 1e-3 && s.scale() < 1e3))
        throw std::invalid_argument("similarity: got (" + number(a) + ", " + number(b) + ", " + number(u) + ", " +
                                    number(v) + "), expected (a, b, shift_u, shift_v), finite, with a scale " +
                                    "from 0.001 to 1000");
    return s;
}

Pasting make_pasting(double border, double feather, double detail) {
    for (double width : {border, feather})
        if (!(width >= 0) || !std::isfinite(width))
            throw std::invalid_argument("border or feather width: got " + number(width) + ", expected at least 0");
    return {border, feather, share("detail", detail, 0)};
}

void call_warp_prepare(WarpPrepare& prepare, nb::handle planes, const Four& similarity, nb::handle out) {
    const Options& o = prepare.options;
    const Similarity s = make_similarity(similarity);
    const CheckedPlanes in = check_planes(o, planes, "planes", false);
    const Checked tensor = check(out, "out", nb::dtype<float>(), {3, o.height, o.width}, true, false);
    const nb::gil_scoped_release release;
    prepare(in.planes, s, reinterpret_cast<float*>(tensor.data));
}

void call_warp_compose(WarpCompose& compose, nb::handle translated, nb::handle prepared, nb::handle destination,
                       const Four& similarity, bool composed, nb::handle mask, double opacity_given,
                       std::optional<double> detail_given) {
    const Options& o = compose.options;
    const Similarity s = make_similarity(similarity);
    const std::vector<int64_t> shape{3, o.height, o.width};
    const auto floats = [](const Checked& array) { return reinterpret_cast<const float*>(array.data); };
    const double opacity = share("opacity", opacity_given, 1);
    const double detail = share("detail", detail_given, compose.pasting.detail);
    if (!composed && mask.is_none()) throw std::invalid_argument("mask: got None; a segment needs one");
    const Checked image = check(translated, "translated", nb::dtype<float>(), shape, false, false);
    const Checked before = check(prepared, "prepared", nb::dtype<float>(), shape, false, false);
    const CheckedPlanes frame = check_planes(o, destination, "destination", true);
    Checked mask_array{};
    if (!mask.is_none()) mask_array = check(mask, "mask", nb::dtype<float>(), {o.height, o.width}, false, false);
    const nb::gil_scoped_release release;
    compose(floats(image), floats(before), floats(mask_array), composed, detail, opacity, frame.planes, s);
}

// ---------------------------------------------------------------------------------------------- tables

template <class T>
nb::bytes bytes(const T* values, size_t count) {
    return nb::bytes(reinterpret_cast<const char*>(values), count * sizeof(T));
}

nb::dict axis_tables(const Axis& axis) {
    std::vector<int> first;
    for (int i = 0; i < axis.count(); ++i) first.push_back(axis.first(i));
    nb::dict out;
    out["taps"] = axis.taps();
    out["first"] = bytes(first.data(), first.size());
    out["weight"] = bytes(axis.weights(0).weight, first.size() * axis.taps());
    return out;
}

template <class Part>
nb::dict part_tables(const Part& part) {
    nb::dict out;
    out["first_plane"] = part.layer.first_plane;
    out["channels"] = part.layer.channels;
    out["first_channel"] = part.layer.first_channel;
    out["interleaved"] = part.layer.interleaved;
    out["down"] = axis_tables(part.down);
    out["across"] = axis_tables(part.across);
    return out;
}

nb::dict prepare_tables(const Prepare& prepare) {
    nb::list parts;
    for (const Prepare::Part& part : prepare.parts()) {
        nb::dict tables = part_tables(part);
        tables["unit"] = part.down.unit();
        parts.append(tables);
    }
    nb::dict out;
    out["parts"] = parts;
    out["affine"] = bytes(&prepare.affine(), 1);
    return out;
}

nb::bytes compose_strength(const Compose& compose, std::optional<double> detail, std::optional<double> opacity) {
    const Compose::Strength s = compose.strength(share("detail", detail, compose.blending.detail),
                                                 share("opacity", opacity, compose.blending.opacity));
    Strength out{};
    for (int j = 0; j < 3; ++j) {
        out.detail[j] = s.coding.detail[j];
        out.luma_factors[j] = s.luma_factors[j];
    }
    out.detail_bias = s.coding.detail_bias;
    out.detailed = s.detail > 0;
    out.opacity = s.opacity;
    return bytes(&out, 1);
}

nb::dict compose_tables(const Compose& compose) {
    nb::list parts;
    for (const Compose::Part& part : compose.parts()) {
        nb::dict tables = part_tables(part);
        std::vector<int16_t> lerp;
        for (int i = 0; i < part.down.count(); ++i) {
            lerp.push_back(part.down.taps() == 2 ? weight_parts(part.down.weights(i).weight[1]) : int16_t(0));
        }
        tables["top"] = part.top;
        tables["left"] = part.left;
        tables["lerp"] = bytes(lerp.data(), lerp.size());
        tables["row_ramp"] = bytes(part.row_ramp.data(), part.row_ramp.size());
        tables["column_ramp"] = bytes(part.column_ramp.data(), size_t(part.across.count()));
        tables["luma"] = part.luma;
        parts.append(tables);
    }
    nb::dict out;
    out["parts"] = parts;
    out["coding"] = bytes(&compose.coding(), 1);
    return out;
}

}  // namespace
}  // namespace ganlens

NB_MODULE(_kernels, m) {
    using namespace ganlens;
    // The command line ends without looking for garbage: what a cycle holds then is not a fault that a user can cure.
    nb::set_leak_warnings(false);
    m.def("targets", &targets);
    nb::class_<Prepare>(m, "Prepare")
        .def(
            "__init__",
            [](Prepare* self, const std::string& format, const Size& frame_size, const Four& region, const Size& size,
               const std::string& matrix, bool full_range, const std::string& siting,
               const std::tuple<double, double>& value_range, bool bgr, const std::string& target) {
                new (self) Prepare(make_options(format, frame_size, region, size, matrix, full_range, siting,
                                                value_range, bgr, target));
            },
            nb::kw_only(), "format"_a, "frame_size"_a, "region"_a, "size"_a, "matrix"_a, "full_range"_a, "siting"_a,
            "value_range"_a, "bgr"_a, "target"_a = "")
        .def("__call__", &call_prepare, "planes"_a, "out"_a)
        .def("tables", &prepare_tables);
    nb::class_<Compose>(m, "Compose")
        .def(
            "__init__",
            [](Compose* self, const std::string& format, const Size& frame_size, const Four& region, const Size& size,
               const std::string& matrix, bool full_range, const std::string& siting,
               const std::tuple<double, double>& value_range, bool bgr, const Four& feather, double detail,
               double opacity, const std::string& target) {
                new (self) Compose(make_options(format, frame_size, region, size, matrix, full_range, siting,
                                                value_range, bgr, target),
                                   make_blending(feather, detail, opacity));
            },
            nb::kw_only(), "format"_a, "frame_size"_a, "region"_a, "size"_a, "matrix"_a, "full_range"_a, "siting"_a,
            "value_range"_a, "bgr"_a, "feather"_a = Four(0, 0, 0, 0), "detail"_a = 0.0, "opacity"_a = 1.0,
            "target"_a = "")
        .def("__call__", &call_compose, "translated"_a, "destination"_a, nb::kw_only(), "mask"_a = nb::none(),
             "prepared"_a = nb::none(), "source"_a = nb::none(), "detail"_a = nb::none(), "opacity"_a = nb::none())
        .def("tables", &compose_tables)
        .def("strength", &compose_strength, nb::kw_only(), "detail"_a = nb::none(), "opacity"_a = nb::none());
    nb::class_<WarpPrepare>(m, "WarpPrepare")
        .def(
            "__init__",
            [](WarpPrepare* self, const std::string& format, const Size& frame_size, const Size& size,
               const std::string& matrix, bool full_range, const std::string& siting,
               const std::tuple<double, double>& value_range, bool bgr) {
                new (self) WarpPrepare(make_options(format, frame_size, kNoRegion, size, matrix, full_range, siting,
                                                    value_range, bgr, ""));
            },
            nb::kw_only(), "format"_a, "frame_size"_a, "size"_a, "matrix"_a, "full_range"_a, "siting"_a,
            "value_range"_a, "bgr"_a)
        .def("__call__", &call_warp_prepare, "planes"_a, "similarity"_a, "out"_a);
    nb::class_<WarpCompose>(m, "WarpCompose")
        .def(
            "__init__",
            [](WarpCompose* self, const std::string& format, const Size& frame_size, const Size& size,
               const std::string& matrix, bool full_range, const std::string& siting,
               const std::tuple<double, double>& value_range, bool bgr, double border, double feather, double detail) {
                new (self) WarpCompose(
                    make_options(format, frame_size, kNoRegion, size, matrix, full_range, siting, value_range, bgr, ""),
                    make_pasting(border, feather, detail));
            },
            nb::kw_only(), "format"_a, "frame_size"_a, "size"_a, "matrix"_a, "full_range"_a, "siting"_a,
            "value_range"_a, "bgr"_a, "border"_a = 0.0, "feather"_a = 0.0, "detail"_a = 0.0)
        .def("__call__", &call_warp_compose, "translated"_a, "prepared"_a, "destination"_a, "similarity"_a,
             nb::kw_only(), "composed"_a, "mask"_a = nb::none(), "opacity"_a = 1.0, "detail"_a = nb::none());
}
