// Windows behind threads.h.
#include "platform/threads.h"

#include "platform/clocks.h"
#include "platform/windows/system.h"

// After windows.h, on which it depends.
#include <tlhelp32.h>

namespace spprof::platform {

namespace {

// Names of threads came with Windows 10 1607.
using SetDescription = HRESULT(WINAPI*)(HANDLE, PCWSTR);
using GetDescription = HRESULT(WINAPI*)(HANDLE, PWSTR*);

template <class Function>
Function kernel_function(const char* name) noexcept {
    const HMODULE kernel = GetModuleHandleW(L"kernel32.dll");
    if (kernel == nullptr) {
        return nullptr;
    }
    return reinterpret_cast<Function>(reinterpret_cast<void (*)()>(GetProcAddress(kernel, name)));
}

std::string to_utf8(PCWSTR text) {
    const int length = WideCharToMultiByte(CP_UTF8, 0, text, -1, nullptr, 0, nullptr, nullptr);
    if (length <= 1) {
        return {};
    }
    std::string result(static_cast<std::size_t>(length), '\0');
    WideCharToMultiByte(CP_UTF8, 0, text, -1, &result[0], length, nullptr, nullptr);
    result.pop_back();  // the terminating zero
    return result;
}

}  // namespace

Tid current_tid() noexcept { return static_cast<Tid>(GetCurrentThreadId()); }

int current_pid() noexcept { return static_cast<int>(GetCurrentProcessId()); }

void forget_cached_tids() noexcept {}

// Only to be had by a list of all threads of the system.
int thread_count() noexcept { return -1; }

std::vector<Tid> list_threads() {
    std::vector<Tid> result;
    const HANDLE snapshot = CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0);
    if (snapshot == INVALID_HANDLE_VALUE) {
        return result;
    }
    THREADENTRY32 entry;
    entry.dwSize = sizeof entry;
    const DWORD own = GetCurrentProcessId();
    for (BOOL more = Thread32First(snapshot, &entry); more != 0;
         more = Thread32Next(snapshot, &entry)) {
        if (entry.th32OwnerProcessID == own) {
            result.push_back(static_cast<Tid>(entry.th32ThreadID));
        }
        entry.dwSize = sizeof entry;
    }
    CloseHandle(snapshot);
    return result;
}

std::string thread_os_name(Tid tid) {
    static const auto get = kernel_function<GetDescription>("GetThreadDescription");
    const HANDLE thread = get == nullptr ? nullptr
                                         : OpenThread(THREAD_QUERY_LIMITED_INFORMATION, FALSE,
                                                      static_cast<DWORD>(tid));
    if (thread == nullptr) {
        return {};
    }
    PWSTR text = nullptr;
    std::string name;
    if (SUCCEEDED(get(thread, &text)) && text != nullptr) {
        name = to_utf8(text);
        LocalFree(text);
    }
    CloseHandle(thread);
    return name;
}

// Not told of a single thread.
bool is_runnable(Tid) noexcept { return true; }

long current_thread_sleeps() noexcept { return -1; }

long thread_sleeps(Tid) noexcept { return -1; }

bool waiting_call(Tid, WaitingCall&) noexcept { return false; }

std::uint64_t blocked_signals(Tid) noexcept { return 0; }

// There is no fork.
void on_fork(void (*)(), void (*)(), void (*)()) {}

bool threads_can_wake_promptly() noexcept { return true; }

bool wake_current_thread_promptly() noexcept {
    return SetThreadPriority(GetCurrentThread(), THREAD_PRIORITY_TIME_CRITICAL) != 0;
}

// --- threads of our own -------------------------------------------------------------------------

struct OwnThread::Start {
    OwnThread* thread;
    const char* name;
    void (*body)(void*) noexcept;
    void* self;
};

void* OwnThread::main(void* raw) noexcept {
    const Start start = *static_cast<const Start*>(raw);
    static const auto describe = kernel_function<SetDescription>("SetThreadDescription");
    if (describe != nullptr) {
        wchar_t name[64];
        if (MultiByteToWideChar(CP_UTF8, 0, start.name, -1, name, 64) > 0) {
            describe(GetCurrentThread(), name);
        }
    }
    // From here on `raw` is gone.
    start.thread->tid_.store(current_tid(), std::memory_order_release);
    start.body(start.self);
    start.thread->cpu_of_ended_ = current_thread_cpu_ns();
    return nullptr;
}

bool OwnThread::start(const char* name, void (*body)(void*) noexcept, void* self) noexcept {
    static_assert(sizeof handle_ >= sizeof(HANDLE), "room for a thread's handle");
    Start start{this, name, body, self};
    tid_.store(0, std::memory_order_relaxed);
    running_ = true;
    const LPTHREAD_START_ROUTINE entry = [](LPVOID raw) -> DWORD {
        main(raw);
        return 0;
    };
    const HANDLE thread = CreateThread(nullptr, 0, entry, &start, 0, nullptr);
    if (thread == nullptr) {
        running_ = false;
        return false;
    }
    handle_ = reinterpret_cast<std::uintptr_t>(thread);
    while (tid() == 0) {
        SwitchToThread();
    }
    return true;
}

void OwnThread::join() noexcept {
    if (running_) {
        const auto thread = reinterpret_cast<HANDLE>(static_cast<std::uintptr_t>(handle_));
        WaitForSingleObject(thread, INFINITE);
        CloseHandle(thread);
        running_ = false;
    }
}

std::int64_t OwnThread::cpu_ns() const noexcept {
    if (!running_) {
        return cpu_of_ended_;
    }
    const std::int64_t now =
        handle_cpu_ns(reinterpret_cast<HANDLE>(static_cast<std::uintptr_t>(handle_)));
    return now < 0 ? 0 : now;
}

}  // namespace spprof::platform
