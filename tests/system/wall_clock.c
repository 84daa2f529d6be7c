/* A wall clock that a test may set, for one process: loaded before libc, it adds an offset to
 * CLOCK_REALTIME and tells what the kernel would say of it. Boot time, monotonic time, sleeps and
 * time-outs are the kernel's own, untouched: a step of the real clock leaves them alone as well.
 *
 * The file WALL_CLOCK is two 64-bit numbers: the offset in ns, and what adjtimex returns (-1: the
 * kernel's word). It is mapped, so a change counts at once.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL
#define SYNCED_ERROR_US 10000

static volatile int64_t *shared;

__attribute__((constructor)) static void map_file(void)
{
    const char *path = getenv("WALL_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *place = file < 0 ? MAP_FAILED : mmap(NULL, 16, PROT_READ, MAP_SHARED, file, 0);
    if (place == MAP_FAILED)
        _exit(99); /* a test must not run on the true clock unknowingly */
    close(file);
    shared = place;
}

int clock_gettime(clockid_t which, struct timespec *now)
{
    long result = syscall(SYS_clock_gettime, which, now);
    if (result == 0 && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) {
        int64_t ns = now->tv_sec * SECOND + now->tv_nsec + shared[0];
        now->tv_sec = ns / SECOND;
        now->tv_nsec = ns % SECOND;
    }
    return (int)result;
}

int gettimeofday(struct timeval *now, void *zone)
{
    struct timespec exact;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *place)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (place)
        *place = now.tv_sec;
    return now.tv_sec;
}

int adjtimex(struct timex *state)
{
    long result = syscall(SYS_adjtimex, state);
    if (shared[1] < 0)
        return (int)result;
    if (shared[1] == TIME_ERROR) {
        state->status |= STA_UNSYNC;
    } else {
        state->status &= ~STA_UNSYNC;
        state->maxerror = state->esterror = SYNCED_ERROR_US;
    }
    return (int)shared[1];
}
