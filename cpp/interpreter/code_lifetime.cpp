// See code_lifetime.h.
//
// Why parking: the address of a freed code object is soon that of another one. A record in a ring
// may still mention it, and in 3.11 the dying frame is even sampled once more after it let go of
// its code. A parked object is alive and out of use, so at a later moment nobody can record it
// again: drain, name, free is then safe by construction.
//
// Until 3.11 code of other interpreters comes here, too. What it holds is tracked by its own
// interpreter's garbage collector, whose lists end with it: it is freed there or never.
//
// The two locks: `mutex` guards the lists, and is held for a few instructions without any call that
// could detach. `naming` is held during a farewell, which waits for locks of others; only
// uninstall() waits for it. Neither is held where Python code may run.
#include "interpreter/code_lifetime.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <new>
#include <vector>

#include "interpreter/attached_lock.h"
#include "interpreter/python_internals.h"

namespace spprof::interpreter {

namespace {

constexpr std::size_t kBatch = 256;

struct Parked {
    PyCodeObject* code;
    std::int64_t interpreter;
};
using ParkedList = std::vector<Parked>;

std::int64_t current_interpreter() noexcept {
    return PyInterpreterState_GetID(PyThreadState_Get()->interp);
}

struct Parking {
    std::mutex mutex;
    ParkedList objects;    // of which samples may still be under way
    ParkedList leaving;    // the batch that is being named, and then freed
    ParkedList of_others;  // named, of other interpreters
    bool freeing = false;  // one thread has a batch
    std::atomic<bool> active{false};
    CodeLifetime::SameProcess same_process = nullptr;

    bool active_here() const noexcept { return active && same_process(); }

    CodeLifetime::Farewell farewell = nullptr;

    std::mutex naming;

    bool hooked = false;  // install() and uninstall() only
};

Parking& parking() {
    static auto* instance = new Parking;  // never destroyed: code dies until the very end
    return *instance;
}

// Where there is no memory to remember it in, the object stays for ever: nothing dangles.
void remember(ParkedList& list, const Parked& parked) noexcept {
    try {
        list.push_back(parked);
    } catch (const std::bad_alloc&) {
        return;
    }
}

// Not to be parked a second time. Of this thread only: others may reuse the address at once.
thread_local PyCodeObject* leaving_now = nullptr;

void free_now(PyCodeObject* code);

// The next object of this interpreter's in `list`; those of others are put where they wait for it.
PyCodeObject* take_own(Parking& lot, ParkedList& list) noexcept {
    const std::int64_t here = current_interpreter();
    while (!list.empty()) {
        const Parked parked = list.back();
        list.pop_back();
        if (parked.interpreter == here) {
            return parked.code;
        }
        remember(lot.of_others, parked);
    }
    const auto own =
        std::find_if(lot.of_others.begin(), lot.of_others.end(),
                     [here](const Parked& parked) { return parked.interpreter == here; });
    if (own == lot.of_others.end()) {
        return nullptr;
    }
    PyCodeObject* code = own->code;
    lot.of_others.erase(own);
    return code;
}

// The batch stays in its list meanwhile: it is nobody else's while `freeing` is set.
void name_batch(Parking& lot) noexcept {
    std::uintptr_t dying[kBatch];
    for (std::size_t done = 0; done < lot.leaving.size();) {
        const std::size_t count = std::min(lot.leaving.size() - done, kBatch);
        for (std::size_t i = 0; i < count; ++i) {
            dying[i] = reinterpret_cast<std::uintptr_t>(lot.leaving[done + i].code);
        }
        lot.farewell(dying, count);
        done += count;
    }
}

// One by one: freeing may run Python code, which may come back here, fork, or end a session.
void free_batch(Parking& lot) {
    for (;;) {
        PyCodeObject* code = nullptr;
        {
            const AttachedLock lock(lot.mutex);
            code = take_own(lot, lot.leaving);
            if (code == nullptr) {
                lot.freeing = false;
                return;
            }
        }
        free_now(code);
    }
}

// Takes over the object's life while a session runs; true when it is parked. Freeing a batch frees
// nested code objects, which come here in turn and are parked for the next one.
bool park(PyCodeObject* code) {
    Parking& lot = parking();
    if (leaving_now == code || !lot.active_here()) {
        return false;
    }
    std::unique_lock<std::mutex> naming;
    {
        const AttachedLock lock(lot.mutex);
        if (!lot.active) {
            return false;
        }
        if (lot.objects.size() >= kBatch && !lot.freeing) {
            naming = std::unique_lock<std::mutex>(lot.naming, std::try_to_lock);
            if (naming) {
                lot.freeing = true;
                lot.leaving.swap(lot.objects);
            }
        }
        // The newest stays for the next batch: its own thread may still show it in a dying frame.
        remember(lot.objects, {code, current_interpreter()});
    }
    if (naming) {
        name_batch(lot);
        naming.unlock();
        free_batch(lot);
    }
    return true;
}

#if PY_VERSION_HEX >= 0x030C0000

int watcher_id = -1;

int on_code_event(PyCodeEvent event, PyCodeObject* code) {
    if (event == PY_CODE_EVENT_DESTROY) {
        // Documented: taking a reference here resurrects the object for now.
        Py_INCREF(code);
        if (!park(code)) {
            Py_DECREF(code);
        }
    }
    return 0;
}

void free_now(PyCodeObject* code) {
    PyCodeObject* outer = leaving_now;
    leaving_now = code;
    Py_DECREF(code);
    leaving_now = outer;
}

bool hook() {
    watcher_id = PyCode_AddWatcher(on_code_event);
    if (watcher_id < 0) {
        PyErr_Clear();
    }
    return watcher_id >= 0;
}

// True when it is undone.
bool unhook() {
#ifdef Py_GIL_DISABLED
    // The interpreter looks a watcher up and calls it without a lock: it may be there one moment
    // and null the next.
    return false;
#else
    if (PyCode_ClearWatcher(watcher_id) != 0) {
        PyErr_WriteUnraisable(nullptr);
    }
    watcher_id = -1;
    return true;
#endif
}

#else

destructor original_dealloc = nullptr;

void on_dealloc(PyObject* object) {
    if (!park(reinterpret_cast<PyCodeObject*>(object))) {
        original_dealloc(object);
    }
}

// The reference count of a parked object is zero: nobody else can reach it.
void free_now(PyCodeObject* code) { original_dealloc(reinterpret_cast<PyObject*>(code)); }

bool hook() {
    original_dealloc = PyCode_Type.tp_dealloc;
    PyCode_Type.tp_dealloc = on_dealloc;
    return true;
}

bool unhook() {
    // Somebody who replaced the slot after us keeps it; ours passes on, and must not come twice.
    if (PyCode_Type.tp_dealloc != on_dealloc) {
        return false;
    }
    PyCode_Type.tp_dealloc = original_dealloc;
    return true;
}

#endif

}  // namespace

bool CodeLifetime::install(Farewell farewell, SameProcess same_process) {
    Parking& lot = parking();
    if (!lot.hooked) {
        if (!hook()) {
            return false;
        }
        lot.hooked = true;
    }
    const AttachedLock lock(lot.mutex);
    lot.objects.reserve(kBatch + 1);
    lot.farewell = farewell;
    lot.same_process = same_process;
    lot.active = true;
    return true;
}

void CodeLifetime::uninstall() {
    Parking& lot = parking();
    {
        const AttachedLock lock(lot.mutex);
        lot.active = false;
    }
    {
        const AttachedLock nobody_is_naming(lot.naming);
    }
    if (lot.hooked && unhook()) {
        lot.hooked = false;
    }
}

void CodeLifetime::free_parked() {
    Parking& lot = parking();
    for (;;) {
        PyCodeObject* code = nullptr;
        {
            const AttachedLock lock(lot.mutex);
            if (lot.active) {
                return;  // somebody started the next session already: it will free them
            }
            code = take_own(lot, lot.leaving);
            if (code == nullptr) {
                code = take_own(lot, lot.objects);
            }
        }
        if (code == nullptr) {
            return;
        }
        free_now(code);
    }
}

void CodeLifetime::lock_for_fork() { lock_detached(parking().mutex); }

void CodeLifetime::abandon_after_raw_fork() noexcept {
    Parking& lot = parking();
    lot.active = false;
    lot.freeing = false;
    new (&lot.naming) std::mutex;
    new (&lot.mutex) std::mutex;
    new (&lot.objects) ParkedList;
    new (&lot.leaving) ParkedList;
    new (&lot.of_others) ParkedList;
}

void CodeLifetime::unlock_after_fork() { parking().mutex.unlock(); }

void CodeLifetime::unlock_after_fork_in_child() {
    Parking& lot = parking();
    // A batch that was being named or freed is this process's now, but for the object that its
    // thread had in hand.
    lot.freeing = false;
    new (&lot.naming) std::mutex;
    lot.mutex.unlock();
}

}  // namespace spprof::interpreter
