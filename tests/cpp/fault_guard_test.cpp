// Loads that fail instead of crashing, and faults that belong to somebody else. Everything happens
// in children: what is tested are signals of the whole process.
#include <doctest/doctest.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "in_child.h"
#include "platform/linux/fault_guard.h"
#include "platform/safe_memory.h"

using namespace spprof::platform;
using namespace spprof::testing;

namespace {

// A page that can be read, with one behind it that cannot.
struct PageBeforeNothing {
    long size = sysconf(_SC_PAGESIZE);
    char* page = static_cast<char*>(
        mmap(nullptr, 2 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    PageBeforeNothing() { mprotect(page + size, size, PROT_NONE); }
    ~PageBeforeNothing() { munmap(page, 2 * size); }
    std::uintptr_t end() const { return reinterpret_cast<std::uintptr_t>(page) + size; }
};

// Through a volatile pointer, or the compiler knows that this cannot go well.
volatile int* volatile nowhere = reinterpret_cast<int*>(8);
[[gnu::noinline, gnu::no_sanitize("undefined", "address")]] void crash() { *nowhere = 1; }
[[gnu::noinline, gnu::no_sanitize("undefined", "address")]] int crash_reading() { return *nowhere; }

void own(int signal, void (*function)(int), int flags = 0) {
    const struct sigaction action = action_of(function, flags);
    sigaction(signal, &action, nullptr);
}

std::atomic<int>* calls = nullptr;  // of the owner that changes nothing

}  // namespace

TEST_CASE("a bad address is a failed load") {
    CHECK(wrong_step_in_child([] {
              FaultGuard::install();
              if (!FaultGuard::armed()) return 1;
              const SafeMemory memory;
              std::uintptr_t value = 7;
              const std::uintptr_t good = 42;
              if (!memory.load(reinterpret_cast<std::uintptr_t>(&good), value) || value != 42) {
                  return 2;
              }
              for (const std::uintptr_t bad :
                   {std::uintptr_t{0}, std::uintptr_t{8}, std::uintptr_t{0x7FFFFFFFF000},
                    ~std::uintptr_t{7}, std::uintptr_t{1} << 63, std::uintptr_t{0xDEADBEEF00}}) {
                  if (memory.load(bad, value)) return 3;
              }
              const PageBeforeNothing pages;
              std::uintptr_t words[4] = {};
              if (!memory.copy(pages.end() - sizeof words, words, sizeof words)) return 4;
              // breaks off in the middle
              if (memory.copy(pages.end() - 8, words, sizeof words)) return 5;
              if (memory.load(pages.end(), value)) return 6;
              FaultGuard::restore();
              struct sigaction now;
              sigaction(SIGSEGV, nullptr, &now);
              return now.sa_handler == SIG_DFL ? 0 : 7;
          }) == 0);
}

TEST_CASE("a thread that cannot take a fault loads by system calls") {
    CHECK(wrong_step_in_child([] {
              sigset_t faults;
              sigemptyset(&faults);
              sigaddset(&faults, SIGSEGV);
              sigaddset(&faults, SIGBUS);
              pthread_sigmask(SIG_BLOCK, &faults, nullptr);
              loads_by_system_call = true;
              const SafeMemory memory;
              std::uintptr_t value = 7;
              const std::uintptr_t good = 42;
              if (!memory.load(reinterpret_cast<std::uintptr_t>(&good), value) || value != 42) {
                  return 1;
              }
              for (const std::uintptr_t bad : {std::uintptr_t{0}, std::uintptr_t{8},
                                               ~std::uintptr_t{7}, std::uintptr_t{1} << 63}) {
                  if (memory.load(bad, value)) return 2;
              }
              const PageBeforeNothing pages;
              std::uintptr_t words[4] = {};
              if (!memory.copy(pages.end() - sizeof words, words, sizeof words)) return 3;
              if (memory.copy(pages.end() - 8, words, sizeof words)) return 4;
              return 0;
          }) == 0);
}

TEST_CASE("a thread of our own may fault") {
    CHECK(wrong_step_in_child([] {
              FaultGuard::install();
              std::atomic<int> loaded{-1};
              OwnThread thread;
              thread.start(
                  "faults",
                  [](void* result) noexcept {
                      std::uintptr_t value;
                      bool good = SafeMemory().load(8, value);
                      const ManyLoads loads;
                      good = SafeMemory().load(8, value) || good;
                      static_cast<std::atomic<int>*>(result)->store(good ? 1 : 0);
                  },
                  &loaded);
              thread.join();
              return loaded == 0 ? 0 : 1;
          }) == 0);
}

TEST_CASE("bad loads on many threads at once, and inside of a signal handler") {
    CHECK(wrong_step_in_child([] {
              FaultGuard::install();
              own(SIGUSR1, [](int) {
                  const int saved = errno;
                  std::uintptr_t value;
                  if (SafeMemory().load(16, value)) _exit(9);
                  errno = saved;
              });
              std::atomic<int> wrong{0};
              std::thread threads[4];
              for (std::thread& thread : threads) {
                  thread = std::thread([&wrong] {
                      for (int i = 0; i < 5000; ++i) {
                          std::uintptr_t value;
                          if (SafeMemory().load(8, value)) ++wrong;
                          if (i % 50 == 0) raise(SIGUSR1);
                      }
                  });
              }
              for (std::thread& thread : threads) thread.join();
              return wrong.load();
          }) == 0);
}

TEST_CASE("a fault that is not ours ends the process as if we were not there") {
    CHECK(killed_by(status_of_child([] {
                        FaultGuard::install();
                        crash();
                        return 0;
                    }),
                    SIGSEGV));
    // raise(), which does not happen again by itself
    CHECK(killed_by(status_of_child([] {
                        FaultGuard::install();
                        raise(SIGSEGV);
                        return 0;
                    }),
                    SIGSEGV));
    // A handler from before us gets it first.
    CHECK(exited_with(status_of_child([] {
                          own(SIGSEGV, [](int) { _exit(33); });
                          FaultGuard::install();
                          crash();
                          return 0;
                      }),
                      33));
}

TEST_CASE("a handler over ours that restores us and raises again comes to an end") {
    static struct sigaction ours;  // faulthandler's way
    static std::atomic<int> reports{0};
    const auto enable = [] {
        const struct sigaction action = action_of(
            [](int signal) {
                reports.fetch_add(1);
                if (reports > 3) _exit(44);  // a loop
                sigaction(signal, &ours, nullptr);
                raise(signal);
            },
            SA_NODEFER);
        sigaction(SIGSEGV, &action, &ours);
    };
    for (const bool built_over : {false, true}) {
        for (const bool restored : {false, true}) {
            CHECK(killed_by(status_of_child([&] {
                                FaultGuard::install();
                                enable();
                                if (FaultGuard::armed()) return 1;
                                if (built_over && !FaultGuard::reinstall_if_taken()) return 2;
                                if (restored) FaultGuard::restore();
                                crash();
                                return 3;
                            }),
                            SIGSEGV));
        }
    }
}

TEST_CASE("an owner that returns and has changed nothing is asked once, then the one below") {
    const SharedNumber asked;
    calls = &*asked;
    const auto changes_nothing = [](int) { calls->fetch_add(1); };
    for (const bool writes : {false, true}) {
        *asked = 0;
        // Nobody below: the process ends as it would without us.
        CHECK(killed_by(status_of_child([&] {
                            own(SIGSEGV, changes_nothing);
                            FaultGuard::install();
                            writes ? crash() : static_cast<void>(crash_reading());
                            return 3;
                        }),
                        SIGSEGV));
        CHECK(*asked == 1);
        *asked = 0;
        CHECK(exited_with(status_of_child([&] {
                              own(SIGSEGV, [](int) { _exit(33); });
                              FaultGuard::install();
                              own(SIGSEGV, changes_nothing);
                              if (!FaultGuard::reinstall_if_taken()) return 2;
                              writes ? crash() : static_cast<void>(crash_reading());
                              return 3;
                          }),
                          33));
        CHECK(*asked == 1);
    }
}

TEST_CASE("an owner that is not mapped any more is passed over") {
    const auto forgotten = [] {
        void* page = mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        own(SIGSEGV, reinterpret_cast<void (*)(int)>(page));
        return page;
    };
    CHECK(killed_by(status_of_child([&] {
                        void* page = forgotten();
                        FaultGuard::install();
                        munmap(page, 4096);
                        crash();
                        return 3;
                    }),
                    SIGSEGV));
    CHECK(exited_with(status_of_child([&] {
                          own(SIGSEGV, [](int) { _exit(33); });
                          FaultGuard::install();
                          void* page = forgotten();
                          if (!FaultGuard::reinstall_if_taken()) return 2;
                          munmap(page, 4096);
                          crash();
                          return 3;
                      }),
                      33));
}

namespace {

sigjmp_buf way_out;

}  // namespace

TEST_CASE("an owner that never comes back gets every fault, real or raised") {
    for (const bool real : {false, true}) {
        for (const int flags : {0, SA_NODEFER, SA_ONSTACK}) {
            CHECK(wrong_step_in_child([&] {
                      static std::atomic<int> jumps{0};
                      own(
                          SIGSEGV,
                          [](int) {
                              jumps.fetch_add(1);
                              siglongjmp(way_out, 1);  // cysignals' way
                          },
                          flags);
                      FaultGuard::install();
                      for (volatile int i = 0; i < 10; i = i + 1) {
                          if (sigsetjmp(way_out, 1) == 0) {
                              real ? crash() : static_cast<void>(raise(SIGSEGV));
                              return 1;
                          }
                          if (jumps != i + 1) return 2;
                          // What we keep of a fault that was never done with must not matter.
                          std::uintptr_t value;
                          if (SafeMemory().load(8, value)) return 3;
                      }
                      return FaultGuard::armed() ? 0 : 4;
                  }) == 0);
        }
    }
}

namespace {

char* guarded = nullptr;
std::atomic<int> mended{0};

// The same instruction with the same registers each time: only memory tells that time goes on.
[[gnu::noinline, gnu::no_sanitize("undefined", "address")]] void touch(volatile int* left,
                                                                       bool writes) {
    volatile char* const page = guarded;
    while (*left > 0) {
        *left = *left - 1;
        mprotect(guarded, 4096, writes ? PROT_READ : PROT_NONE);
        if (writes) {
            *page = 1;
        } else {
            static_cast<void>(*page);
        }
    }
}

}  // namespace

TEST_CASE("an owner that mends what faulted is asked each time, however often the same faults") {
    for (const bool writes : {false, true}) {
        CHECK(wrong_step_in_child([&] {
                  guarded = static_cast<char*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE,
                                                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
                  own(SIGSEGV, [](int) {
                      mended.fetch_add(1);
                      mprotect(guarded, 4096, PROT_READ | PROT_WRITE);
                  });
                  FaultGuard::install();
                  volatile int left = 5000;
                  touch(&left, writes);
                  return mended == 5000 && left == 0 ? 0 : 1;
              }) == 0);
    }
}

TEST_CASE("a write to memory that may only be read is not mended by that it can be read") {
    const SharedNumber asked;
    calls = &*asked;
    CHECK(killed_by(status_of_child([] {
                        guarded = static_cast<char*>(
                            mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
                        own(SIGSEGV, [](int) { calls->fetch_add(1); });
                        FaultGuard::install();
                        volatile char* const page = guarded;
                        *page = 1;
                        return 3;
                    }),
                    SIGSEGV));
    CHECK(*asked == 1);
}

TEST_CASE("a fault of which nothing tells whether it was mended does not go on for ever") {
    const SharedNumber asked;
    calls = &*asked;
    CHECK(killed_by(status_of_child([] {
                        guarded = static_cast<char*>(
                            mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
                        own(SIGSEGV, [](int) { calls->fetch_add(1); });
                        FaultGuard::install();
                        const auto data = reinterpret_cast<void (*)()>(guarded);
                        data();
                        return 3;
                    }),
                    SIGSEGV));
    CHECK(*asked > 1);
    // An owner that mends it in the end may take its time.
    CHECK(exited_with(status_of_child([] {
                          guarded = static_cast<char*>(
                              mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
                          own(SIGSEGV, [](int) {
                              static int times = 0;
                              if (++times == 100) _exit(33);
                          });
                          FaultGuard::install();
                          const auto data = reinterpret_cast<void (*)()>(guarded);
                          data();
                          return 3;
                      }),
                      33));
}

TEST_CASE("an owner that never comes back is asked however often the same faults") {
    CHECK(wrong_step_in_child([] {
              static std::atomic<int> jumps{0};
              own(SIGSEGV, [](int) {
                  jumps.fetch_add(1);
                  siglongjmp(way_out, 1);
              });
              FaultGuard::install();
              static volatile int left = 5000;
              while (left > 0) {
                  left = left - 1;
                  if (sigsetjmp(way_out, 1) == 0) crash();
              }
              return jumps == 5000 ? 0 : 1;
          }) == 0);
}
