// Native stacks of Windows: our own walk by `.pdata`, compared with what the system says.
#if defined(_WIN32) && defined(__GNUC__)
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "native/capture.h"
#include "native/code_map.h"
#include "native/symbols.h"
#include "platform/windows/system.h"

using namespace spprof::native;

namespace {

struct Both {
    std::vector<uintptr_t> ours;
    std::vector<void*> theirs;
};

// Registers that callees save, and room that they take, between here and there.
[[gnu::noinline]] void capture_both(CodeMap& map, Both& both) {
    both.theirs.resize(100);
    both.theirs.resize(CaptureStackBackTrace(0, 100, both.theirs.data(), nullptr));
    both.ours = capture_here(map);
}

[[gnu::noinline]] int go_down(int depth, CodeMap& map, Both& both) {
    volatile char room[4096] = {};
    volatile int product = depth * 3;
    if (depth == 0) {
        capture_both(map, both);
    } else {
        product = product + go_down(depth - 1, map, both);
    }
    room[static_cast<unsigned>(product) % sizeof room] = 1;
    return product + room[0];
}

struct Job {
    CodeMap* map;
    Both* both;
};

}  // namespace

TEST_CASE("a native stack is what the system says, down to what the thread runs") {
    CodeMap map;
    Both both;
    Job job{&map, &both};
    const HANDLE thread = CreateThread(
        nullptr, 0,
        [](LPVOID raw) -> DWORD {
            const Job& job = *static_cast<Job*>(raw);
            return static_cast<DWORD>(go_down(20, *job.map, *job.both));
        },
        &job, 0, nullptr);
    REQUIRE(thread != nullptr);
    WaitForSingleObject(thread, INFINITE);
    CloseHandle(thread);
    REQUIRE(both.theirs.size() > 20);
    REQUIRE(both.ours.size() > 20);
    // The innermost return addresses lie in the same function, at two places.
    const size_t common = std::min(both.ours.size(), both.theirs.size());
    for (size_t i = 1; i < common; ++i) {
        CAPTURE(i);
        CHECK(both.ours[i] == reinterpret_cast<uintptr_t>(both.theirs[i]));
    }
    // Down to the thread's own function at least. Under Wine 8 the three frames of the system's
    // that started it are not reached.
    constexpr size_t kOurs = 1 + 21 + 1;
    CHECK(both.ours.size() > kOurs);
    CHECK_FALSE(map.modules().empty());
}

TEST_CASE("what the system's libraries export has its name") {
    CodeMap map;
    map.refresh();
    Symbolizer symbolizer(map);
    const HMODULE system = GetModuleHandleW(L"ntdll.dll");
    REQUIRE(system != nullptr);
    for (const char* name : {"NtClose", "RtlAllocateHeap", "LdrLoadDll"}) {
        CAPTURE(name);
        const auto address = reinterpret_cast<uintptr_t>(GetProcAddress(system, name));
        REQUIRE(address != 0);
        const Symbol symbol = symbolizer.symbolize(map.locate(address));
        CHECK(symbol.resolved);
        // System calls have two names of one length.
        CHECK((symbol.name == name || symbol.name == std::string("Zw") + (name + 2)));
        CHECK(symbol.function_offset == 0);
        CHECK(symbol.module.find("ntdll") != std::string::npos);
    }
    // Our own program exports nothing.
    const Symbol own = symbolizer.symbolize(map.locate(reinterpret_cast<uintptr_t>(&go_down)));
    CHECK_FALSE(own.resolved);
    CHECK(own.name.find("tests.exe+0x") == 0);
}

TEST_CASE("what is loaded is noticed") {
    CodeMap map;
    map.refresh();
    const ModuleGeneration before = module_generation();
    const HMODULE library = LoadLibraryW(L"winmm.dll");
    if (library == nullptr) {
        MESSAGE("not tested: there is no winmm.dll here");
        return;
    }
    CHECK_FALSE(module_generation() == before);
    CHECK(map.refresh());
    const auto modules = map.modules();
    CHECK(std::any_of(modules.begin(), modules.end(), [&](const auto& module) {
        return module->bias == reinterpret_cast<uintptr_t>(library);
    }));
    FreeLibrary(library);
}
#endif
