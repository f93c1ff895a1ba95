// See self_test.h.
#include "interpreter/self_test.h"

#include <cstdio>
#include <cstring>
#include <vector>

#include "interpreter/walk.h"

namespace spprof::interpreter {

namespace {

// At import nothing is torn and no guard is installed: plain loads.
struct PlainMemory {
    bool load(std::uintptr_t address, std::uintptr_t& value) const noexcept {
        return copy(address, &value, sizeof value);
    }
    bool copy(std::uintptr_t address, void* target, std::size_t bytes) const noexcept {
        std::memcpy(target, reinterpret_cast<const void*>(address), bytes);
        return true;
    }
};

constexpr const char* kOtherVersion =
    "this build of spprof was made for another version of Python than the one that is running; "
    "reinstall it here: pip install --force-reinstall --no-cache-dir spprof";
constexpr const char* kOtherLayout =
    "the frames of this interpreter are not laid out as its version's headers say, so spprof "
    "cannot sample it (a modified or debug interpreter?); reinstall spprof from source with the "
    "headers of this very interpreter: pip install --no-binary spprof --force-reinstall spprof";

}  // namespace

const char* self_test() {
#if PY_VERSION_HEX >= 0x030B0000
    if ((Py_Version >> 16) != (PY_VERSION_HEX >> 16)) {
        return kOtherVersion;
    }
#else
    int major = 0, minor = 0;
    std::sscanf(Py_GetVersion(), "%d.%d", &major, &minor);
    if (major != PY_MAJOR_VERSION || minor != PY_MINOR_VERSION) {
        return kOtherVersion;
    }
#endif
    const PlainMemory memory;
    PyThreadState* thread = current_thread_state(memory);
    if (thread == nullptr || thread != PyThreadState_Get()) {
        return kOtherLayout;
    }
    std::vector<PyFrameRecord> frames(4096);
    const WalkResult walked = walk(memory, thread, frames.data(), frames.size());
    if (walked.end == WalkEnd::torn) {
        return kOtherLayout;
    }
    PyFrameObject* frame = PyThreadState_GetFrame(thread);
    bool same = true;
    for (std::size_t i = 0; i < walked.count && same; ++i) {
        if (frames[i].code == 0) {
            continue;
        }
        if (frame == nullptr) {
            same = false;
            break;
        }
        PyCodeObject* code = PyFrame_GetCode(frame);
        same = frames[i].code == reinterpret_cast<std::uintptr_t>(code) &&
               PyCode_Addr2Line(code, static_cast<int>(frames[i].offset)) ==
                   PyFrame_GetLineNumber(frame);
        Py_DECREF(code);
        PyFrameObject* back = PyFrame_GetBack(frame);
        Py_DECREF(frame);
        frame = back;
    }
    if (walked.end == WalkEnd::complete && frame != nullptr) {
        same = false;
    }
    Py_XDECREF(frame);
    return same ? nullptr : kOtherLayout;
}

}  // namespace spprof::interpreter
