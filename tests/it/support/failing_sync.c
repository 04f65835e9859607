/* Loaded before libc: fdatasync fails with EIO once the file named by FAILING_SYNC_TRIGGER exists. */

#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

int fdatasync(int descriptor)
{
    const char *trigger = getenv("FAILING_SYNC_TRIGGER");
    if (trigger && access(trigger, F_OK) == 0) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, descriptor);
}
