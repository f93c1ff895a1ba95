// See regions.h. What Python calls: making a region, entering and leaving it.
#include "interpreter/regions.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <new>
#include <unordered_map>

#include "interpreter/plain_memory.h"
#include "interpreter/region_label.h"
#include "platform/threads.h"

namespace spprof::interpreter {

bool RegionCells::add_block() noexcept {
    if (block_count_ == kBlocks) {
        return false;
    }
    auto* block = new (std::nothrow) RegionCell[kInBlock];
    if (block == nullptr) {
        return false;
    }
    const auto first = static_cast<std::uint32_t>(block_count_ * kInBlock + 1);
    for (std::size_t i = 0; i < kInBlock; ++i) {
        block[i].around = i + 1 < kInBlock ? first + static_cast<std::uint32_t>(i) + 1 : 0;
    }
    blocks_[block_count_++].store(block, std::memory_order_release);
    free_ = first;
    return true;
}

namespace {

// Guards the cells' use and what was left. A leaf among locks: whoever has it waits for nothing.
std::mutex mutex;
std::atomic<int> process{0};  // that the mutex is of

// Regions that were met and left since, by when: in this round of reading records, and the last.
// Never destroyed: a thread may leave a region late.
struct Left {
    std::unordered_map<RegionId, Labels> now, before;
};
union Forever {
    Left value;
    Forever() noexcept : value() {}
    ~Forever() {}
} forever;
Left& left = forever.value;

PyObject* context_variable = nullptr;
PyTypeObject *region_class = nullptr, *again_class = nullptr;
std::atomic<bool> can_be_read{true};  // as long as there is no reason to doubt it

class Lock {
public:
    Lock() {
        if (!mutex.try_lock()) {
            // In a child of the bare system call its holder may not be there.
            const int here = platform::current_pid();
            if (process.exchange(here, std::memory_order_relaxed) != here) {
                new (&mutex) std::mutex;
            }
            mutex.lock();
        }
    }
    ~Lock() { mutex.unlock(); }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;
};

// With the lock held. Cells of what is around a region are in use as long as it is.
void append_labels(const RegionCell* cell, Labels& labels) {
    const Labels* own[256];
    std::size_t count = 0;
    for (; cell != nullptr && count < std::size(own); cell = regions.cells.find(cell->around)) {
        own[count++] = cell->labels;
    }
    while (count > 0) {
        const Labels& next = *own[--count];
        labels.insert(labels.end(), next.begin(), next.end());
    }
}

// --- regions that were entered
// --------------------------------------------------------------------

// What a program holds. The first time it is entered it is the context's value itself.
struct Region {
    EnteredRegion entered;
    Labels labels;  // its name, and the values it was given in order of their keys
    bool was_entered;
};

// Any further time it is entered: copies of contexts may still hold the first.
struct EnteredAgain {
    EnteredRegion entered;
    Region* region;
};

PyObject* object_of(EnteredRegion* self) noexcept { return reinterpret_cast<PyObject*>(self); }

Region* region_entered(EnteredRegion* self) noexcept {
    return Py_TYPE(object_of(self)) == region_class ? reinterpret_cast<Region*>(self)
                                                    : reinterpret_cast<EnteredAgain*>(self)->region;
}

// A new reference to the region as entered in what is around it (no reference is taken over).
EnteredRegion* entered_in(Region* region, EnteredRegion* around) {
    EnteredRegion* self = &region->entered;
    if (region->was_entered) {
        auto* again = PyObject_New(EnteredAgain, again_class);
        if (again == nullptr) {
            return nullptr;
        }
        again->region = region;
        self = &again->entered;
    }
    Py_INCREF(&region->entered);  // the one that is returned, or the other's
    region->was_entered = true;
    Py_XINCREF(around);
    self->around = around;
    self->id = 0;
    const Lock lock;
    const std::uint32_t number = regions.cells.take();
    if (RegionCell* cell = regions.cells.find(number)) {
        cell->labels = &region->labels;
        cell->around = around == nullptr ? 0 : static_cast<std::uint32_t>(around->id);
        self->id = RegionCells::id(number, cell->generation.load(std::memory_order_relaxed));
    } else if (around != nullptr) {
        self->id = around->id;  // without a cell of its own its time is that of the one around
    }
    return self;
}

void give_up_cell(EnteredRegion* self) {
    if (self->id == 0 || (self->around != nullptr && self->around->id == self->id)) {
        return;
    }
    const auto number = static_cast<std::uint32_t>(self->id);
    const Lock lock;
    const RegionCell* cell = regions.cells.find(number);
    if (cell == nullptr) {
        return;
    }
    if (cell->met.load(std::memory_order_relaxed)) {
        try {
            Labels labels;
            append_labels(cell, labels);
            left.now[self->id] = std::move(labels);
        } catch (const std::bad_alloc&) {
            left.now.erase(self->id);  // its samples go without
        }
    }
    regions.cells.give_back(number);
}

// A region lets go of the one around it: that one is freed after it, not within, since regions that
// were never left may lie one around the other without end.
thread_local PyObject** freed_next = nullptr;

void free_entered(PyObject* object) {
    if (freed_next != nullptr) {
        *freed_next = object;
        return;
    }
    while (object != nullptr) {
        auto* self = reinterpret_cast<EnteredRegion*>(object);
        EnteredRegion* around = self->around;
        PyTypeObject* type = Py_TYPE(object);
        give_up_cell(self);
        Region* region = region_entered(self);
        if (type == region_class) {
            region->labels.~Labels();
            region = nullptr;
        }
        PyObject_Free(object);
        Py_XDECREF(region);
        Py_DECREF(type);
        object = nullptr;
        freed_next = &object;
        Py_XDECREF(around);
        freed_next = nullptr;
    }
}

// --- the context variable ------------------------------------------------------------------------

// Compares what a visit would read with what the interpreter says, in contexts with few and many
// variables. False: there is something about contexts that this version does otherwise.
bool learn_to_read() {
    const auto hash = PyObject_Hash(context_variable);
    if (hash == -1) {
        return false;
    }
    ContextVariable& wanted = regions.variable;
    wanted.variable = reinterpret_cast<std::uintptr_t>(context_variable);
    wanted.hash = folded_hash(hash);
    const auto root_type = [](PyObject* context) {
        const auto* vars = reinterpret_cast<struct _pycontextobject*>(context)->ctx_vars;
        return reinterpret_cast<std::uintptr_t>(Py_TYPE(reinterpret_cast<PyObject*>(vars->h_root)));
    };
    // So many that nodes of both kinds and of several levels are met.
    constexpr int kVariables = 200;
    PyObject* kept = PyList_New(0);
    PyObject* context = kept == nullptr ? nullptr : PyContext_New();
    bool fine = context != nullptr && PyContext_Enter(context) == 0;
    const bool has_entered = fine;
    const auto reads = [&](PyObject* value) {
        return value_in_context(PlainMemory{}, reinterpret_cast<std::uintptr_t>(context), wanted) ==
               reinterpret_cast<std::uintptr_t>(value);
    };
    const auto set = [](PyObject* variable, PyObject* value) {
        PyObject* token = PyContextVar_Set(variable, value);
        Py_XDECREF(token);
        return token != nullptr;
    };
    for (int i = 0; fine && i < kVariables; ++i) {
        // By its name, too, a variable is placed: on free-threaded builds addresses alone are so
        // regular that the root stays a node of few children.
        const std::string name = "spprof.unused" + std::to_string(i);
        PyObject* variable = PyContextVar_New(name.c_str(), nullptr);
        fine = variable != nullptr && PyList_Append(kept, variable) == 0 && set(variable, Py_None);
        Py_XDECREF(variable);
        if (i == 0 && fine) {
            wanted.bitmap_type = root_type(context);
        }
        fine = fine && reads(nullptr);
    }
    if (fine) {
        wanted.array_type = root_type(context);
        fine = wanted.array_type != wanted.bitmap_type && reads(nullptr) &&
               set(context_variable, Py_True) && reads(Py_True) && set(context_variable, Py_None) &&
               reads(Py_None);
    }
    if (has_entered && PyContext_Exit(context) != 0) {
        fine = false;
    }
    Py_XDECREF(context);
    Py_XDECREF(kept);
    PyErr_Clear();
    return fine;
}

// What a value of the variable stands for, and takes over. None: the outermost region was left.
EnteredRegion* region_of_value(PyObject* value) noexcept {
    if (value != nullptr && Py_TYPE(value) != region_class && Py_TYPE(value) != again_class) {
        Py_DECREF(value);
        value = nullptr;
    }
    return reinterpret_cast<EnteredRegion*>(value);
}

// A new reference to the innermost region of the context; null where it is in none. False with an
// exception.
bool current_region(EnteredRegion*& found) {
    PyObject* value = nullptr;
    if (PyContextVar_Get(context_variable, nullptr, &value) < 0) {
        return false;
    }
    found = region_of_value(value);
    return true;
}

bool set_current(EnteredRegion* region) {
    PyObject* token =
        PyContextVar_Set(context_variable, region == nullptr ? Py_None : object_of(region));
    Py_XDECREF(token);
    return token != nullptr;
}

// --- spprof.region -------------------------------------------------------------------------------

bool append_text(std::string& target, PyObject* text) {
    Py_ssize_t size = 0;
    const char* bytes = PyUnicode_AsUTF8AndSize(text, &size);
    if (bytes == nullptr) {
        return false;
    }
    target.assign(bytes, static_cast<std::size_t>(size));
    return true;
}

// As text; only of what is written in a moment and runs no code of the program.
bool append_value(std::string& target, PyObject* key, PyObject* value) {
    if (PyUnicode_CheckExact(value)) {
        return append_text(target, value);
    }
    if (!PyLong_CheckExact(value) && !PyFloat_CheckExact(value) && !PyBool_Check(value) &&
        value != Py_None) {
        PyErr_Format(PyExc_TypeError,
                     "region label %R must be str, int, float, bool or None, not %s: pass str(...)",
                     key, Py_TYPE(value)->tp_name);
        return false;
    }
    PyObject* text = PyObject_Str(value);
    const bool fine = text != nullptr && append_text(target, text);
    Py_XDECREF(text);
    return fine;
}

bool append_name(Labels& labels, PyObject* const* args, Py_ssize_t count) {
    if (count != 1 || !PyUnicode_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError,
                        "a region has one name, a str, and labels by keyword: "
                        "region(\"load\", dataset=\"a\")");
        return false;
    }
    labels.emplace_back("region", "");
    return append_text(labels.back().second, args[0]);
}

bool append_label(Labels& labels, PyObject* key, PyObject* value) {
    labels.emplace_back();
    if (!append_text(labels.back().first, key) || !append_value(labels.back().second, key, value)) {
        return false;
    }
    if (labels.back().first == "region") {
        PyErr_SetString(PyExc_TypeError, "the label \"region\" is the region's name");
        return false;
    }
    return true;
}

// `fill(labels)`: false with an exception.
template <class Fill>
PyObject* make_region(std::size_t size, Fill fill) {
    auto* self = PyObject_New(Region, region_class);
    if (self == nullptr) {
        return nullptr;
    }
    self->entered.id = 0;
    self->entered.around = nullptr;
    self->was_entered = false;
    new (&self->labels) Labels;
    try {
        self->labels.reserve(size);
        if (fill(self->labels)) {
            if (size > 2) {
                std::sort(self->labels.begin() + 1, self->labels.end());
            }
            return object_of(&self->entered);
        }
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
    }
    Py_DECREF(&self->entered);
    return nullptr;
}

PyObject* new_region(PyTypeObject*, PyObject* args, PyObject* kwargs) {
    const std::size_t labels =
        kwargs == nullptr ? 0 : static_cast<std::size_t>(PyDict_Size(kwargs));
    return make_region(1 + labels, [&](Labels& target) {
        PyObject *key, *value;
        Py_ssize_t place = 0;
        bool fine = append_name(target, &PyTuple_GET_ITEM(args, 0), PyTuple_GET_SIZE(args));
        while (fine && kwargs != nullptr && PyDict_Next(kwargs, &place, &key, &value)) {
            fine = append_label(target, key, value);
        }
        return fine;
    });
}

// The same, without a tuple and a dict in between.
PyObject* call_region_type(PyObject*, PyObject* const* args, std::size_t count, PyObject* names) {
    const Py_ssize_t given = PyVectorcall_NARGS(count);
    const Py_ssize_t labels = names == nullptr ? 0 : PyTuple_GET_SIZE(names);
    return make_region(1 + static_cast<std::size_t>(labels), [&](Labels& target) {
        bool fine = append_name(target, args, given);
        for (Py_ssize_t i = 0; fine && i < labels; ++i) {
            fine = append_label(target, PyTuple_GET_ITEM(names, i), args[given + i]);
        }
        return fine;
    });
}

PyObject* enter(PyObject* self, PyObject*) {
    EnteredRegion* around = nullptr;
    if (!current_region(around)) {
        return nullptr;
    }
    EnteredRegion* now = entered_in(reinterpret_cast<Region*>(self), around);
    Py_XDECREF(around);
    const bool fine = now != nullptr && set_current(now);
    Py_XDECREF(now);
    if (!fine) {
        return nullptr;
    }
    Py_INCREF(self);
    return self;
}

// The same regions without the innermost entering of this one: those inside of it were not left, or
// are a generator's that is asleep. A new reference; null where none is left, or with an exception.
// `found`: it is among them.
EnteredRegion* without(EnteredRegion* innermost, const Region* region, bool& found) {
    Region* inside[64];  // more, out of order, stay as they are
    std::size_t count = 0;
    EnteredRegion* at = innermost;
    while (at != nullptr && region_entered(at) != region && count < std::size(inside)) {
        inside[count++] = region_entered(at);
        at = at->around;
    }
    found = at != nullptr && region_entered(at) == region;
    if (!found) {
        return nullptr;
    }
    EnteredRegion* result = at->around;
    Py_XINCREF(result);
    while (count > 0) {
        EnteredRegion* next = entered_in(inside[--count], result);
        Py_XDECREF(result);
        if (next == nullptr) {
            return nullptr;
        }
        result = next;
    }
    return result;
}

PyObject* leave(PyObject* self, PyObject* const*, Py_ssize_t) {
    const auto* region = reinterpret_cast<Region*>(self);
    EnteredRegion* innermost = nullptr;
    if (!current_region(innermost)) {
        return nullptr;
    }
    bool fine = true;
    // Left in another context than it was entered in (the end of an asynchronous generator): there
    // is nothing to do.
    if (innermost != nullptr) {
        if (region_entered(innermost) == region) {
            fine = set_current(innermost->around);
        } else {
            bool found = false;
            EnteredRegion* rest = without(innermost, region, found);
            fine = PyErr_Occurred() == nullptr && (!found || set_current(rest));
            Py_XDECREF(rest);
        }
        Py_DECREF(innermost);
    }
    if (!fine) {
        return nullptr;
    }
    Py_RETURN_FALSE;
}

PyObject* text_of(const std::string& text) {
    return PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace");
}

PyObject* name_of(PyObject* self, void*) {
    return text_of(reinterpret_cast<Region*>(self)->labels.front().second);
}

PyObject* labels_of(PyObject* self, void*) {
    PyObject* result = PyDict_New();
    const Labels& labels = reinterpret_cast<Region*>(self)->labels;
    for (std::size_t i = 1; result != nullptr && i < labels.size(); ++i) {
        PyObject* key = text_of(labels[i].first);
        PyObject* value = text_of(labels[i].second);
        if (key == nullptr || value == nullptr || PyDict_SetItem(result, key, value) != 0) {
            Py_CLEAR(result);
        }
        Py_XDECREF(key);
        Py_XDECREF(value);
    }
    return result;
}

// --- jobs that executors run elsewhere -----------------------------------------------------------

// The function of a job, in the regions that it was begun in, and not in those of whoever runs it.
PyObject* run_in_regions(PyObject* parts, PyObject* args, PyObject* kwargs) {
    EnteredRegion* before = nullptr;
    if (!current_region(before)) {
        return nullptr;
    }
    PyObject* result = nullptr;
    if (set_current(reinterpret_cast<EnteredRegion*>(PyTuple_GET_ITEM(parts, 1)))) {
        result = PyObject_Call(PyTuple_GET_ITEM(parts, 0), args, kwargs);
        PyObject *type = nullptr, *error = nullptr, *traceback = nullptr;
        PyErr_Fetch(&type, &error, &traceback);
        if (set_current(before)) {
            PyErr_Restore(type, error, traceback);
        } else {
            Py_CLEAR(result);
            Py_XDECREF(type);
            Py_XDECREF(error);
            Py_XDECREF(traceback);
        }
    }
    Py_XDECREF(before);
    return result;
}

PyMethodDef in_regions_method = {
    "run", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(run_in_regions)),
    METH_VARARGS | METH_KEYWORDS, "A function in the regions of whoever gave it away."};

PyMethodDef region_methods[] = {
    {"__enter__", enter, METH_NOARGS, "From here on the calling context is in the region."},
    {"__exit__", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(leave)), METH_FASTCALL,
     "From here on it is not."},
    {nullptr, nullptr, 0, nullptr},
};
PyGetSetDef region_members[] = {
    {"name", name_of, nullptr, "The region's name.", nullptr},
    {"labels", labels_of, nullptr, "The values it was given, as text.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};
PyType_Slot region_slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(new_region)},
    {Py_tp_dealloc, reinterpret_cast<void*>(free_entered)},
    {Py_tp_methods, region_methods},
    {Py_tp_getset, region_members},
    {0, nullptr},
};
PyType_Spec region_spec = {"spprof._native.region", sizeof(Region), 0, Py_TPFLAGS_DEFAULT,
                           region_slots};

PyType_Slot again_slots[] = {
    {Py_tp_dealloc, reinterpret_cast<void*>(free_entered)},
    {0, nullptr},
};
PyType_Spec again_spec = {"spprof._native.region_again", sizeof(EnteredAgain), 0,
                          Py_TPFLAGS_DEFAULT, again_slots};

}  // namespace

_object* region_type() {
    static bool made = false;
    if (!made) {
        region_class = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&region_spec));
        again_class = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&again_spec));
        context_variable = PyContextVar_New("spprof.region", nullptr);
        if (region_class == nullptr || again_class == nullptr || context_variable == nullptr) {
            return nullptr;
        }
        region_class->tp_vectorcall = call_region_type;
        regions.region_type = reinterpret_cast<std::uintptr_t>(region_class);
        regions.again_type = reinterpret_cast<std::uintptr_t>(again_class);
        process.store(platform::current_pid(), std::memory_order_relaxed);
        can_be_read = learn_to_read();
        regions.any.store(can_be_read, std::memory_order_release);
        made = true;
    }
    Py_INCREF(region_class);
    return reinterpret_cast<PyObject*>(region_class);
}

_object* in_these_regions(_object* function) {
    if (region_class == nullptr) {
        Py_INCREF(function);
        return function;
    }
    EnteredRegion* innermost = nullptr;
    if (!current_region(innermost)) {
        return nullptr;
    }
    if (innermost == nullptr) {
        Py_INCREF(function);
        return function;
    }
    PyObject* parts = PyTuple_Pack(2, function, object_of(innermost));
    Py_DECREF(innermost);
    PyObject* made = parts == nullptr ? nullptr : PyCFunction_New(&in_regions_method, parts);
    Py_XDECREF(parts);
    return made;
}

bool regions_can_be_read() noexcept { return can_be_read; }

std::size_t regions_entered() noexcept {
    const Lock lock;
    return regions.cells.used();
}

// --- for whoever turns records into rows ---------------------------------------------------------

void begin_round_of_regions() noexcept {
    const Lock lock;
    left.before.swap(left.now);
    left.now.clear();
}

bool labels_of_region(RegionId region, Labels& labels) {
    labels.clear();
    const Lock lock;
    if (const RegionCell* cell = regions.cells.find_id(region)) {
        if (cell->labels != nullptr) {
            append_labels(cell, labels);
            return true;
        }
    }
    for (const auto* those : {&left.now, &left.before}) {
        const auto found = those->find(region);
        if (found != those->end()) {
            labels = found->second;
            return true;
        }
    }
    return false;
}

PyObject* labels_in(PyObject* context) {
    Labels labels;
    if (context_variable != nullptr) {
        PyObject* value = PyObject_GetItem(context, context_variable);
        if (value == nullptr && !PyErr_ExceptionMatches(PyExc_KeyError)) {
            return nullptr;
        }
        PyErr_Clear();
        if (EnteredRegion* innermost = region_of_value(value)) {
            labels_of_region(innermost->id, labels);
            Py_DECREF(innermost);
        }
    }
    PyObject* result = PyTuple_New(static_cast<Py_ssize_t>(labels.size()));
    for (std::size_t i = 0; result != nullptr && i < labels.size(); ++i) {
        PyObject* pair = Py_BuildValue("(NN)", text_of(labels[i].first), text_of(labels[i].second));
        if (pair == nullptr) {
            Py_CLEAR(result);
        } else {
            PyTuple_SET_ITEM(result, static_cast<Py_ssize_t>(i), pair);
        }
    }
    return result;
}

void forget_left_regions() noexcept {
    const Lock lock;
    left.now.clear();
    left.before.clear();
}

void lock_regions_for_fork() { mutex.lock(); }

void unlock_regions_after_fork() {
    process.store(platform::current_pid(), std::memory_order_relaxed);
    mutex.unlock();
}

}  // namespace spprof::interpreter
