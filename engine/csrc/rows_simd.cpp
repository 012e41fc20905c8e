#include "rows.h"
namespace ganlens {
const Rows* simd_rows() { return nullptr; }
}  // namespace ganlens
