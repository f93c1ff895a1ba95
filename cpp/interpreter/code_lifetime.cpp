// See code_lifetime.h.
//
// Why parking: the address of a freed code object is soon that of another one. A record in a ring
// may still mention it, and in 3.11 the dying frame is even sampled once more after it let go of
// its code. A parked object is alive and out of use, so at a later moment with the lock held nobody
// can record it again: drain, name, free is then safe by construction.
//
// Until 3.11 code of other interpreters comes here, too. What it holds is tracked by its own
// interpreter's garbage collector, whose lists end with it: it is freed there or never.
#include "interpreter/code_lifetime.h"

#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

namespace spprof::interpreter {

namespace {

constexpr std::size_t kBatch = 256;

struct Parked {
    PyCodeObject* code;
    std::int64_t interpreter;
};

std::int64_t current_interpreter() noexcept {
    return PyInterpreterState_GetID(PyThreadState_Get()->interp);
}

struct Parking {
    // Against other threads on free-threaded builds; uncontended otherwise.
    std::mutex mutex;
    std::vector<Parked> objects;
    std::vector<Parked> of_others;  // named already
    CodeLifetime::Farewell farewell = nullptr;
    bool active = false;
    bool hooked = false;
    std::atomic<bool> freeing{false};  // one thread at a time
};

Parking& parking() {
    static auto* instance = new Parking;  // never destroyed: code dies until the very end
    return *instance;
}

// Not to be parked a second time. Of this thread only: others may reuse the address at once.
thread_local PyCodeObject* leaving_now = nullptr;

void release(const std::vector<PyCodeObject*>& objects);

// Moves what may be freed here out of the parking lot.
std::vector<PyCodeObject*> take_own(Parking& lot) {
    const std::int64_t here = current_interpreter();
    std::vector<Parked> all;
    all.swap(lot.objects);
    all.insert(all.end(), lot.of_others.begin(), lot.of_others.end());
    lot.of_others.clear();
    std::vector<PyCodeObject*> own;
    for (const Parked& parked : all) {
        if (parked.interpreter == here) {
            own.push_back(parked.code);
        } else {
            lot.of_others.push_back(parked);
        }
    }
    return own;
}

// Takes over the object's life while a session runs; true when it is parked. Freeing a batch frees
// nested code objects, which come here in turn and are parked for the next one.
bool park(PyCodeObject* code) {
    Parking& lot = parking();
    if (leaving_now == code) {
        return false;
    }
    std::vector<PyCodeObject*> leaving;
    bool named = false;
    {
        const std::lock_guard<std::mutex> lock(lot.mutex);
        if (!lot.active) {
            return false;
        }
        if (lot.objects.size() >= kBatch && !lot.freeing.exchange(true)) {
            std::vector<PyCodeObject*> dying;
            for (const Parked& parked : lot.objects) {
                dying.push_back(parked.code);
            }
            // Code may die while an exception is on its way.
            PyObject *type, *value, *traceback;
            PyErr_Fetch(&type, &value, &traceback);
            lot.farewell(dying.data(), dying.size());
            PyErr_Restore(type, value, traceback);
            leaving = take_own(lot);
            named = true;
        }
        // The newest stays for the next batch: its own thread may still show it in a dying frame.
        lot.objects.push_back({code, current_interpreter()});
    }
    if (named) {
        release(leaving);
        lot.freeing = false;
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

void release(const std::vector<PyCodeObject*>& objects) {
    for (PyCodeObject* code : objects) {
        leaving_now = code;
        Py_DECREF(code);
    }
    leaving_now = nullptr;
}

bool hook() {
    watcher_id = PyCode_AddWatcher(on_code_event);
    return watcher_id >= 0;
}

void unhook() {
    if (watcher_id >= 0 && PyCode_ClearWatcher(watcher_id) != 0) {
        PyErr_WriteUnraisable(nullptr);
    }
    watcher_id = -1;
}

#else

destructor original_dealloc = nullptr;

void on_dealloc(PyObject* object) {
    if (!park(reinterpret_cast<PyCodeObject*>(object))) {
        original_dealloc(object);
    }
}

// The reference count of a parked object is zero: nobody else can reach it.
void release(const std::vector<PyCodeObject*>& objects) {
    for (PyCodeObject* code : objects) {
        original_dealloc(reinterpret_cast<PyObject*>(code));
    }
}

bool hook() {
    original_dealloc = PyCode_Type.tp_dealloc;
    PyCode_Type.tp_dealloc = on_dealloc;
    return true;
}

void unhook() {
    // Somebody who replaced the slot after us keeps it; ours passes on.
    if (PyCode_Type.tp_dealloc == on_dealloc) {
        PyCode_Type.tp_dealloc = original_dealloc;
    }
}

#endif

}  // namespace

bool CodeLifetime::install(Farewell farewell) {
    Parking& lot = parking();
    const std::lock_guard<std::mutex> lock(lot.mutex);
    if (!lot.hooked && !hook()) {
        return false;
    }
    lot.hooked = true;
    lot.objects.reserve(kBatch + 1);
    lot.farewell = farewell;
    lot.active = true;
    return true;
}

void CodeLifetime::uninstall() {
    Parking& lot = parking();
    const std::lock_guard<std::mutex> lock(lot.mutex);
    lot.active = false;
    if (lot.hooked) {
        unhook();
        lot.hooked = false;
    }
}

void CodeLifetime::free_parked() {
    Parking& lot = parking();
    std::vector<PyCodeObject*> leaving;
    {
        const std::lock_guard<std::mutex> lock(lot.mutex);
        if (lot.active) {
            return;  // somebody started the next session already: it will free them
        }
        leaving = take_own(lot);
    }
    release(leaving);
}

void CodeLifetime::lock_for_fork() { parking().mutex.lock(); }

void CodeLifetime::unlock_after_fork() { parking().mutex.unlock(); }

}  // namespace spprof::interpreter
