/* Clocks that a test may set ahead, for one process: loaded before libc, it adds an offset to
 * CLOCK_REALTIME and to CLOCK_BOOTTIME. Monotonic time, sleeps and time-outs are the kernel's own:
 * it is what a process finds after its machine was suspended for so long.
 *
 * The file SUSPENDED is one 64-bit number, the offset in ns. It is mapped, so a change counts at
 * once.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL

static volatile int64_t *shared;

__attribute__((constructor)) static void map_file(void)
{
    const char *path = getenv("SUSPENDED");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *place = file < 0 ? MAP_FAILED : mmap(NULL, 8, PROT_READ, MAP_SHARED, file, 0);
    if (place == MAP_FAILED)
        _exit(99); /* a test must not run on the true clock unknowingly */
    close(file);
    shared = place;
}

int clock_gettime(clockid_t which, struct timespec *now)
{
    long result = syscall(SYS_clock_gettime, which, now);
    if (result == 0 && (which == CLOCK_REALTIME || which == CLOCK_BOOTTIME)) {
        int64_t ns = now->tv_sec * SECOND + now->tv_nsec + shared[0];
        now->tv_sec = ns / SECOND;
        now->tv_nsec = ns % SECOND;
    }
    return (int)result;
}
