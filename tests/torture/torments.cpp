// What the torments do in machine code: exceptions, longjmp out of signal handlers, signal stacks.
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <stdexcept>
#include <string>

namespace {

double now() {
    timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

sigjmp_buf jump_target;
volatile int jump_armed;

void on_alarm(int) {
    if (jump_armed != 0) {
        siglongjmp(jump_target, 1);
    }
}

void on_fault(int) { siglongjmp(jump_target, 1); }

__attribute__((noinline)) int throw_from(int depth) {
    const std::string local(static_cast<unsigned>(depth) + 20, 'x');  // has a destructor to run
    if (depth == 0) {
        throw std::runtime_error(local);
    }
    return throw_from(depth - 1) + static_cast<int>(local.size());
}

}  // namespace

extern "C" {

// Exceptions through `depth` C++ frames, with a call of Python in between; how many were caught.
long throw_often(double seconds, int depth, void (*call)()) {
    long caught = 0;
    const double end = now() + seconds;
    while (now() < end) {
        try {
            call();
            throw_from(depth);
        } catch (const std::exception& error) {
            caught += error.what()[0] == 'x' ? 1 : 0;
        }
    }
    return caught;
}

// longjmp out of a handler that comes after `usec`, again and again, at any instruction, our
// handler's included.
long jump_out_of_handlers(double seconds, int save_mask, long usec) {
    volatile long jumps = 0;
    struct sigaction action, before;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_alarm;
    action.sa_flags = SA_NODEFER | SA_RESTART;
    sigaction(SIGALRM, &action, &before);
    // Once each: on a busy machine others would come before the handler's first instruction, each
    // on top of the one before, until there is no stack left.
    itimerval once = {{0, 0}, {0, usec}};
    const double end = now() + seconds;
    sigsetjmp(jump_target, save_mask);
    jumps = jumps + 1;
    jump_armed = 1;
    setitimer(ITIMER_REAL, &once, nullptr);
    while (now() < end) {
    }
    jump_armed = 0;
    memset(&once, 0, sizeof once);
    setitimer(ITIMER_REAL, &once, nullptr);
    signal(SIGALRM, SIG_IGN);  // one that is still on its way must not end the program
    sigaction(SIGALRM, &before, nullptr);
    return jumps;
}

// Faults that the program mends itself by longjmp, as Sage and PARI do; how many.
long fault_and_jump(double seconds) {
    volatile long faults = 0;
    struct sigaction action, before;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_fault;
    sigaction(SIGSEGV, &action, &before);
    const double end = now() + seconds;
    while (now() < end) {
        if (sigsetjmp(jump_target, 1) == 0) {
            *reinterpret_cast<volatile int*>(8) = 1;
        } else {
            faults = faults + 1;
        }
    }
    sigaction(SIGSEGV, &before, nullptr);
    return faults;
}

// A signal that another process sends, again and again, longjmp out of whose handler: as cysignals
// has it with faults, which a profiler's handler cannot block. How often.
long jump_out_of_sent(double seconds, int number) {
    struct sigaction action, before;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_alarm;
    action.sa_flags = SA_NODEFER;
    sigaction(number, &action, &before);
    const pid_t whom = getpid();
    const pid_t sender = fork();
    if (sender == 0) {
        const timespec pause = {0, 100'000};
        while (getppid() == whom && kill(whom, number) == 0) {
            nanosleep(&pause, nullptr);
        }
        _exit(0);
    }
    volatile long jumps = -1;
    const double end = now() + seconds;
    sigsetjmp(jump_target, 1);
    jumps = jumps + 1;
    jump_armed = 1;
    while (now() < end || (jumps == 0 && now() < end + 20)) {
    }
    jump_armed = 0;
    kill(sender, SIGKILL);
    while (waitpid(sender, nullptr, 0) < 0 && errno == EINTR) {
    }
    sigaction(number, &before, nullptr);
    return jumps;
}

// A signal stack for the calling thread, with nothing below it.
int give_signal_stack(unsigned long size) {
    const unsigned long room = (size + 4095) & ~4095ul;
    char* pages = static_cast<char*>(
        mmap(nullptr, room + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(pages, 4096, PROT_NONE);
    stack_t stack;
    memset(&stack, 0, sizeof stack);
    stack.ss_sp = pages + 4096 + room - size;
    stack.ss_size = size;
    return sigaltstack(&stack, nullptr);
}

// In this library, and so in each copy of it: work that is sampled.
long work_in_library(long times) {
    volatile long sum = 0;
    for (long i = 0; i < times; ++i) {
        sum = sum + i;
    }
    return sum;
}
}
