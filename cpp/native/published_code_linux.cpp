// Owns where makers of code write down for `perf` what they make, on Linux.
#include <unistd.h>

#include <fstream>

#include "native/published_code.h"

namespace spprof::native {
namespace {

std::string find_dump() {
    const std::string name = "/jit-" + std::to_string(getpid()) + ".dump";
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) {
        const size_t path = line.find('/');
        if (path != std::string::npos && line.size() - path >= name.size() &&
            line.compare(line.size() - name.size(), name.size(), name) == 0) {
            return line.substr(path);
        }
    }
    return {};
}

}  // namespace

void PublishedCode::read(bool look, uint64_t most) {
    if (process_ != getpid()) {
        *this = {};
        process_ = getpid();
    }
    if (look && dump_path_.empty()) {
        dump_path_ = find_dump();
    }
    map_.read("/tmp/perf-" + std::to_string(process_) + ".map", most);
    if (!dump_path_.empty()) {
        dump_.read(dump_path_, most);
    }
}

}  // namespace spprof::native
