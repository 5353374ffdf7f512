// The part of the Python module that serves sealed segments.
#pragma once

#include <nanobind/nanobind.h>

namespace memstore {

void bind_sealed_kernels(nanobind::module_& module);

}  // namespace memstore
