// See self_test.h.
#include "interpreter/self_test.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <vector>

#include "interpreter/plain_memory.h"
#include "interpreter/python_thread.h"
#include "interpreter/thread_states.h"
#include "interpreter/walk.h"

#if PY_VERSION_HEX >= 0x030E0000
#include <internal/pycore_debug_offsets.h>
extern "C" {
PyAPI_DATA(struct pyruntimestate) _PyRuntime;
}
#elif PY_VERSION_HEX >= 0x030D0000
#include <internal/pycore_runtime.h>
#endif

namespace spprof::interpreter {

namespace {

constexpr const char* kOtherVersion =
    "this build of spprof was made for another version of Python than the one that is running; "
    "reinstall it here: pip install --force-reinstall --no-cache-dir spprof";
constexpr const char* kOtherLayout =
    "the frames of this interpreter are not laid out as its version's headers say, so spprof "
    "cannot sample it (a modified or debug interpreter?); reinstall spprof from source with the "
    "headers of this very interpreter: pip install --no-binary spprof --force-reinstall spprof";
constexpr const char* kSubinterpreter =
    "spprof cannot be imported in a subinterpreter: import and start it in the main interpreter, "
    "whose profile counts what runs here under [subinterpreter]";

bool same_version() {
#if PY_VERSION_HEX >= 0x030B0000
    return (Py_Version >> 16) == (PY_VERSION_HEX >> 16);
#else
    int major = 0, minor = 0;
    std::sscanf(Py_GetVersion(), "%d.%d", &major, &minor);
    return major == PY_MAJOR_VERSION && minor == PY_MINOR_VERSION;
#endif
}

// From 3.13 on the interpreter says where it keeps things, for those who look from outside.
bool same_offsets() {
#if PY_VERSION_HEX >= 0x030D0000
    const auto* told = reinterpret_cast<const _Py_DebugOffsets*>(&_PyRuntime);
#ifdef Py_GIL_DISABLED
    constexpr std::uint64_t free_threaded = 1;
#else
    constexpr std::uint64_t free_threaded = 0;
#endif
    return std::memcmp(told->cookie, "xdebugpy", 8) == 0 &&
           told->version >> 16 == PY_VERSION_HEX >> 16 && told->free_threaded == free_threaded &&
           told->thread_state.current_frame == offsetof(PyThreadState, current_frame) &&
           told->thread_state.datastack_chunk == offsetof(PyThreadState, datastack_chunk) &&
           told->thread_state.thread_id == offsetof(PyThreadState, thread_id) &&
           told->thread_state.native_thread_id == offsetof(PyThreadState, native_thread_id) &&
           told->thread_state.next == offsetof(PyThreadState, next) &&
           told->thread_state.interp == offsetof(PyThreadState, interp) &&
           told->thread_state.status == offsetof(PyThreadState, _status) &&
#if PY_VERSION_HEX >= 0x030F0000
           told->thread_state.base_frame == offsetof(PyThreadState, base_frame) &&
           told->thread_state.holds_gil == offsetof(PyThreadState, holds_gil) &&
#endif
#if PY_VERSION_HEX >= 0x030E0000 && defined(Py_GIL_DISABLED)
           told->interpreter_frame.tlbc_index == offsetof(_PyInterpreterFrame, tlbc_index) &&
           told->code_object.co_tlbc == offsetof(PyCodeObject, co_tlbc) &&
#endif
           told->interpreter_frame.previous == offsetof(_PyInterpreterFrame, previous) &&
           told->interpreter_frame.executable == offsetof(_PyInterpreterFrame, f_executable) &&
           told->interpreter_frame.instr_ptr == offsetof(_PyInterpreterFrame, instr_ptr) &&
           told->interpreter_frame.localsplus == offsetof(_PyInterpreterFrame, localsplus) &&
           told->interpreter_frame.owner == offsetof(_PyInterpreterFrame, owner) &&
           told->code_object.co_code_adaptive == offsetof(PyCodeObject, co_code_adaptive) &&
           told->code_object.filename == offsetof(PyCodeObject, co_filename) &&
           told->pyobject.ob_type == offsetof(PyObject, ob_type);
#else
    return true;
#endif
}

// What the version does not tell by offsets, read of the calling thread's own state as it will be
// read of others'.
bool same_thread() {
    const PlainMemory memory;
    PyThreadState* const thread = PyThreadState_Get();
    const auto address = reinterpret_cast<std::uintptr_t>(thread);
    ThreadView view;
    ThreadIdentity identity;
    if (reinterpret_cast<PyThreadState*>(thread_state_here()) != thread ||
        !read_thread(memory, address, view) || !read_identity(memory, address, identity)) {
        return false;
    }
    if (view.interpreter != reinterpret_cast<std::uintptr_t>(main_interpreter.state) ||
        !identity.fits(PyThread_get_thread_ident(), 0) || view.chunk_top < view.chunk_begin ||
        view.chunk_top > view.chunk_end || gil_of(memory, address) == GilHolding::not_held) {
        return false;
    }
#if PY_VERSION_HEX >= 0x030F0000
    FrameView base;
    if (!Layout::read(memory, view, view.base, base) || base.role != FrameRole::shim ||
        base.previous != 0) {
        return false;
    }
#endif
    ThreadStateEntry entries[64];
    const auto head =
        reinterpret_cast<std::uintptr_t>(PyInterpreterState_ThreadHead(main_interpreter.state));
    const std::size_t count = list_states(memory, head, entries, std::size(entries));
    return count == std::size(entries) ||
           std::any_of(entries, entries + count, [thread](const ThreadStateEntry& entry) {
               return reinterpret_cast<PyThreadState*>(entry.state) == thread;
           });
}

// Walks the calling thread's own stack, and compares it with what the public API says.
bool same_stack() {
    PyThreadState* thread = PyThreadState_Get();
    // At import nothing is torn and no guard is installed: plain loads.
    const PlainMemory memory;
    ThreadView view;
    std::vector<PyFrameRecord> frames(4096);
    if (!read_thread(memory, reinterpret_cast<std::uintptr_t>(thread), view)) {
        return false;
    }
    const WalkResult walked = walk(memory, view, frames.data(), frames.size());
    if (walked.end == WalkEnd::torn) {
        return false;
    }
    PyFrameObject* frame = PyThreadState_GetFrame(thread);
    bool same = true;
    for (std::size_t i = 0; i < walked.count && same; ++i) {
        if (frames[i].code == 0) {
            continue;
        }
        if (frame == nullptr) {
            return false;
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
    same = same && (walked.end == WalkEnd::truncated || frame == nullptr);
    Py_XDECREF(frame);
    return same;
}

// Never given back: it may be in a profile at any time.
bool have_stand_in() {
    if (main_interpreter.stand_in == 0) {
        main_interpreter.stand_in =
            reinterpret_cast<std::uintptr_t>(PyCode_NewEmpty("", "[subinterpreter]", 0));
        PyErr_Clear();
    }
    return main_interpreter.stand_in != 0;
}

}  // namespace

const char* self_test() {
    if (!same_version()) {
        return kOtherVersion;
    }
    if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
        return kSubinterpreter;
    }
    main_interpreter.state = PyInterpreterState_Main();
    if (!same_offsets() || !same_thread() || !same_stack()) {
        return kOtherLayout;
    }
    return have_stand_in() ? nullptr : "spprof: no memory";
}

}  // namespace spprof::interpreter
