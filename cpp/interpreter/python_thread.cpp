// Reached from a visit of a thread. See python_thread.h.
#include "interpreter/python_thread.h"

#include "interpreter/plain_memory.h"
#include "interpreter/thread_states.h"
#include "platform/safe_memory.h"

namespace spprof::interpreter {

namespace {

using platform::SafeMemory;

std::uintptr_t address_of(ThreadState* thread) noexcept {
    return reinterpret_cast<std::uintptr_t>(thread);
}

}  // namespace

ThreadState* thread_state_here() noexcept {
    // First, and alone where it says no: the other call may touch thread-local storage that a
    // thread without Python has never had allocated.
    PyThreadState* own = PyGILState_GetThisThreadState();
#if PY_VERSION_HEX >= 0x030C0000
    // Perhaps in another interpreter than the one that the thread was born in. Before 3.12 this is
    // whoever holds the GIL: there, the call into the other interpreter is what is seen.
    if (own != nullptr) {
        if (PyThreadState* attached = unchecked_thread_state()) {
            own = attached;
        }
    }
#endif
    return reinterpret_cast<ThreadState*>(own);
}

WalkResult walk_here(ThreadState* thread, PyFrameRecord* out, std::size_t room) noexcept {
    // A thread state outlives its thread's last look at it; only the frames may be torn.
    ThreadView view;
    read_thread(PlainMemory{}, address_of(thread), view);
    return walk(SafeMemory{}, view, out, room);
}

WalkResult walk_from_outside(ThreadState* thread, std::uintptr_t ident, std::int32_t native_id,
                             PyFrameRecord* out, std::size_t room) noexcept {
    return walk_foreign(SafeMemory{}, address_of(thread), ident, native_id, out, room);
}

GilHolding gil_here([[maybe_unused]] ThreadState* thread) noexcept {
#ifdef Py_GIL_DISABLED
    return GilHolding::unknown;
#else
    return unchecked_thread_state() == reinterpret_cast<PyThreadState*>(thread)
               ? GilHolding::held
               : GilHolding::not_held;
#endif
}

GilHolding gil_from_outside(ThreadState* thread) noexcept {
    return gil_of(SafeMemory{}, address_of(thread));
}

std::size_t list_thread_states(ThreadStateEntry* out, std::size_t room) noexcept {
    // Gone once the interpreter is: until 3.10 it lies in the heap.
    PyInterpreterState* main = main_interpreter.state;
    if (main == nullptr || PyInterpreterState_Main() != main) {
        return 0;
    }
    // A look at one field, on every version: needs no lock, and gives none.
    const auto head = reinterpret_cast<std::uintptr_t>(PyInterpreterState_ThreadHead(main));
    const platform::ManyLoads loads;
    return list_states(SafeMemory{}, head, out, room);
}

}  // namespace spprof::interpreter
