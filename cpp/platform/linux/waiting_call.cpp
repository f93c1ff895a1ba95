// Reached from a visit of a thread. See waiting_call.h.
#include "platform/linux/waiting_call.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdint>

namespace spprof::platform {

namespace {

// Of the program's descriptors: threads of ours have a table of their own (threads.cpp).
bool is_socket(std::uintptr_t descriptor) noexcept {
    constexpr char kFolder[] = "/proc/self/fd/";
    char path[sizeof kFolder + 20];
    char* end = std::copy_n(kFolder, sizeof kFolder - 1, path);
    *std::to_chars(end, path + sizeof path, descriptor).ptr = '\0';
    struct statx status;
    return syscall(SYS_statx, AT_FDCWD, path, 0, STATX_TYPE, &status) == 0 &&
           S_ISSOCK(status.stx_mode);
}

// A wait that goes on after a signal: the registers still hold what the call was given.
Wait reason_of_restarted(const std::uintptr_t* arguments) noexcept {
    constexpr std::uintptr_t kMoreClocks = 32, kNoAddress = 4096;
    if (arguments[0] < kMoreClocks) {
        return Wait::sleep;  // clock_nanosleep(clock, ...)
    }
    switch (arguments[1] & ~static_cast<std::uintptr_t>(FUTEX_CLOCK_REALTIME)) {
        case FUTEX_WAIT_PRIVATE:
        case FUTEX_WAIT_BITSET_PRIVATE:
            return Wait::word;
        case 0:
            return Wait::sleep;  // nanosleep(how long, nowhere)
        default:
            return arguments[1] >= kNoAddress ? Wait::sleep : Wait::socket;  // poll(those, count)
    }
}

}  // namespace

Wait reason_of_call(long number, const std::uintptr_t* arguments) noexcept {
    switch (number) {
        case SYS_futex:
            return Wait::word;
        case SYS_restart_syscall:
            return reason_of_restarted(arguments);
        case SYS_nanosleep:
        case SYS_clock_nanosleep:
            return Wait::sleep;
#ifdef SYS_select
        case SYS_select:
#endif
        case SYS_pselect6:
            // For nothing but the time, as old as time.sleep() itself.
            return arguments[0] == 0 ? Wait::sleep : Wait::socket;
#ifdef SYS_poll
        case SYS_poll:
#endif
        case SYS_ppoll:
            return arguments[1] == 0 ? Wait::sleep : Wait::socket;
#ifdef SYS_epoll_wait
        case SYS_epoll_wait:
#endif
        case SYS_epoll_pwait:
#ifdef SYS_epoll_pwait2
        case SYS_epoll_pwait2:
#endif
#ifdef SYS_io_uring_enter
        case SYS_io_uring_enter:
#endif
        case SYS_recvfrom:
        case SYS_recvmsg:
        case SYS_recvmmsg:
        case SYS_sendto:
        case SYS_sendmsg:
        case SYS_sendmmsg:
        case SYS_accept:
        case SYS_accept4:
        case SYS_connect:
            return Wait::socket;
        case SYS_wait4:
        case SYS_waitid:
            return Wait::child;
        case SYS_read:
        case SYS_readv:
        case SYS_write:
        case SYS_writev:
            return is_socket(arguments[0]) ? Wait::socket : Wait::file;
        case SYS_pread64:
        case SYS_preadv:
        case SYS_pwrite64:
        case SYS_pwritev:
        case SYS_openat:
#ifdef SYS_open
        case SYS_open:
#endif
        case SYS_fsync:
        case SYS_fdatasync:
        case SYS_sync:
        case SYS_syncfs:
        case SYS_flock:
        case SYS_fcntl:
        case SYS_fallocate:
        case SYS_ftruncate:
        case SYS_sendfile:
        case SYS_splice:
        case SYS_copy_file_range:
        case SYS_getdents64:
        case SYS_renameat2:
        case SYS_unlinkat:
            return Wait::file;
        default:
            return Wait::unknown;
    }
}

}  // namespace spprof::platform
