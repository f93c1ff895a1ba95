// What a thread waits for by the system call it is in.
#if defined(__linux__)
#include "platform/linux/waiting_call.h"

#include <doctest/doctest.h>
#include <linux/futex.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

using namespace spprof::platform;

namespace {

Wait reason(long number, std::uintptr_t first = 0, std::uintptr_t second = 0) {
    const std::uintptr_t arguments[] = {first, second};
    return reason_of_call(number, arguments);
}

constexpr std::uintptr_t kAddress = 0x7f0000001000;

}  // namespace

TEST_CASE("system calls tell what is waited for") {
    CHECK(reason(SYS_futex, kAddress, FUTEX_WAIT_PRIVATE) == Wait::word);
    CHECK(reason(SYS_clock_nanosleep, CLOCK_MONOTONIC) == Wait::sleep);
    CHECK(reason(SYS_pselect6, 0) == Wait::sleep);
    CHECK(reason(SYS_pselect6, 4) == Wait::socket);
    CHECK(reason(SYS_ppoll, kAddress, 0) == Wait::sleep);
    CHECK(reason(SYS_ppoll, kAddress, 2) == Wait::socket);
    CHECK(reason(SYS_epoll_pwait, 3) == Wait::socket);
    CHECK(reason(SYS_wait4, static_cast<std::uintptr_t>(-1)) == Wait::child);
    CHECK(reason(SYS_fsync, 3) == Wait::file);
    CHECK(reason(-1) == Wait::unknown);
}

TEST_CASE("a descriptor that is read is asked what it is") {
    int pipes[2], sockets[2];
    REQUIRE(pipe(pipes) == 0);
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0);
    CHECK(reason(SYS_read, static_cast<std::uintptr_t>(pipes[0])) == Wait::file);
    CHECK(reason(SYS_read, static_cast<std::uintptr_t>(sockets[0])) == Wait::socket);
    for (const int each : {pipes[0], pipes[1], sockets[0], sockets[1]}) {
        close(each);
    }
    CHECK(reason(SYS_read, static_cast<std::uintptr_t>(pipes[0])) == Wait::file);  // closed
}

TEST_CASE("a call that goes on after a signal is known by its arguments") {
    constexpr long kRestarted = SYS_restart_syscall;
    CHECK(reason(kRestarted, kAddress, FUTEX_WAIT_PRIVATE) == Wait::word);
    CHECK(reason(kRestarted, kAddress, FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME) ==
          Wait::word);
    CHECK(reason(kRestarted, CLOCK_MONOTONIC, 0) == Wait::sleep);  // clock_nanosleep
    CHECK(reason(kRestarted, kAddress, kAddress) == Wait::sleep);  // nanosleep
    CHECK(reason(kRestarted, kAddress, 0) == Wait::sleep);
    CHECK(reason(kRestarted, kAddress, 3) == Wait::socket);  // poll
}
#endif
