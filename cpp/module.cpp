// The Python module spprof._native, and the only file that knows nanobind.
#include <nanobind/nanobind.h>

NB_MODULE(_native, module) { module.doc() = "The native core of spprof (internal)."; }
