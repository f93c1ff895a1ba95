// See fork_call.h.
#include "interpreter/fork_call.h"

#include <Python.h>

#if defined(__linux__)
#include <unistd.h>
#endif

#include "platform/threads.h"

namespace spprof::interpreter {

#if PY_VERSION_HEX >= 0x030D0000 && PY_VERSION_HEX < 0x030F0000 && defined(__linux__)

namespace {

struct ForkCall {
    PyFrameObject* caller = nullptr;  // an own reference
    int instruction = 0;              // of the call
    void (*begin)() noexcept = nullptr;
};
ForkCall call;  // touched by the main thread only: beside others Python warns in any case

bool on_main_thread() noexcept {
    return platform::current_tid() == static_cast<platform::Tid>(getpid());
}

// Other hooks may be Python functions, in which what is pending is done, too.
bool is_under_way() noexcept {
    PyFrameObject* frame = PyThreadState_GetFrame(PyThreadState_Get());
    while (frame != nullptr && frame != call.caller) {
        PyFrameObject* outer = PyFrame_GetBack(frame);
        Py_DECREF(frame);
        frame = outer;
    }
    const bool found = frame != nullptr && PyFrame_GetLasti(frame) == call.instruction;
    Py_XDECREF(frame);
    return found;
}

void do_what_waits() noexcept {
    void (*begin)() noexcept = call.begin;
    forget_fork();
    if (begin != nullptr) {
        begin();
    }
}

int do_it_if_returned(void*) noexcept {
    const bool waits = call.begin != nullptr && is_under_way();
    if (!waits || Py_AddPendingCall(do_it_if_returned, nullptr) != 0) {
        do_what_waits();
    }
    return 0;
}

}  // namespace

void fork_begins() noexcept {
    if (!on_main_thread()) {
        return;
    }
    do_what_waits();  // the call before may have returned just now
    if (PyFrameObject* hook = PyThreadState_GetFrame(PyThreadState_Get())) {
        call.caller = PyFrame_GetBack(hook);
        Py_DECREF(hook);
    }
    call.instruction = call.caller == nullptr ? 0 : PyFrame_GetLasti(call.caller);
}

bool call_when_fork_has_returned(void (*begin)() noexcept) noexcept {
    if (!on_main_thread() || call.caller == nullptr ||
        Py_AddPendingCall(do_it_if_returned, nullptr) != 0) {
        return false;
    }
    call.begin = begin;
    return true;
}

void forget_fork() noexcept {
    PyFrameObject* caller = call.caller;
    call = {};
    Py_XDECREF(caller);
}

#else

void fork_begins() noexcept {}
bool call_when_fork_has_returned(void (*)() noexcept) noexcept { return false; }
void forget_fork() noexcept {}

#endif

}  // namespace spprof::interpreter
