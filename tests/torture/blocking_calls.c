/* Blocking system calls as C libraries make them, which a signal handler ends with EINTR whatever
   SA_RESTART says. Each call has a time-out of its own and nothing that would end it earlier. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static double seconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec + now.tv_nsec * 1e-9;
}

static void burn(double cpu_seconds) {
    const double end = seconds(CLOCK_THREAD_CPUTIME_ID) + cpu_seconds;
    volatile long x = 0;
    while (seconds(CLOCK_THREAD_CPUTIME_ID) < end)
        for (int i = 0; i < 1000; i++) x++;
}

static struct timespec in(clockid_t clock, double wait) {
    struct timespec when;
    clock_gettime(clock, &when);
    when.tv_nsec += (long)(wait * 1e9);
    when.tv_sec += when.tv_nsec / 1000000000;
    when.tv_nsec %= 1000000000;
    return when;
}

const char* const call_names[] = {"poll",          "epoll_wait",      "select",
                                  "ppoll",         "nanosleep",       "usleep",
                                  "clock_nanosleep", "clock_nanosleep until", "recv with SO_RCVTIMEO",
                                  "sem_timedwait", "semtimedop",      "sigtimedwait", 0};

/* Makes the call `kind` `times` times after `burnt` seconds of CPU time each, with a time-out of
   `wait` seconds. Returns how many ended with EINTR; *early is how many ended before their time
   otherwise, *latest the longest time beyond the time-out. */
int make_calls(int kind, int times, double burnt, double wait, int* early, double* latest) {
    int pair[2], cut_short = 0;
    const int poller = epoll_create1(0), semaphores = semget(IPC_PRIVATE, 1, 0600);
    const int ms = (int)(wait * 1e3);
    const struct timespec span = {0, (long)(wait * 1e9)};
    struct timeval interval = {0, (long)(wait * 1e6)};
    sem_t semaphore;
    sem_init(&semaphore, 0, 0);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) return -1;
    setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &interval, sizeof interval);
    *early = 0;
    *latest = 0;
    for (int i = 0; i < times; i++) {
        struct pollfd wanted = {pair[0], POLLIN, 0};
        struct epoll_event event;
        fd_set files;
        struct timeval left = interval;
        struct sembuf take = {0, -1, 0};
        struct timespec until;
        sigset_t signals;
        char byte;
        long result = 0;
        int error;
        /* Not always in step with whatever else repeats itself. */
        burn(burnt * (0.5 + (i * 0.6180339887 - (int)(i * 0.6180339887))));
        FD_ZERO(&files);
        FD_SET(pair[0], &files);
        sigemptyset(&signals);
        sigaddset(&signals, SIGUSR2);
        const double begin = seconds(CLOCK_MONOTONIC);
        errno = 0;
        switch (kind) {
            case 0: result = poll(&wanted, 1, ms); break;
            case 1: result = epoll_wait(poller, &event, 1, ms); break;
            case 2: result = select(pair[0] + 1, &files, 0, 0, &left); break;
            case 3: result = ppoll(&wanted, 1, &span, 0); break;
            case 4: result = nanosleep(&span, 0); break;
            case 5: result = usleep((unsigned)(wait * 1e6)); break;
            case 6: errno = clock_nanosleep(CLOCK_MONOTONIC, 0, &span, 0); break;
            case 7:
                until = in(CLOCK_MONOTONIC, wait);
                errno = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, 0);
                break;
            case 8: result = recv(pair[0], &byte, 1, 0); break;
            case 9:
                until = in(CLOCK_REALTIME, wait);
                result = sem_timedwait(&semaphore, &until);
                break;
            case 10: result = semtimedop(semaphores, &take, 1, &span); break;
            case 11: result = sigtimedwait(&signals, 0, &span); break;
        }
        error = errno;
        (void)result;
        const double late = seconds(CLOCK_MONOTONIC) - begin - wait;
        if (error == EINTR)
            cut_short++;
        else if (late < -0.0005) /* a socket's time-out counts kernel ticks */
            (*early)++;
        if (late > *latest) *latest = late;
    }
    close(pair[0]);
    close(pair[1]);
    close(poller);
    semctl(semaphores, 0, IPC_RMID);
    return cut_short;
}
