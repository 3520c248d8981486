/* cli_lock.c - one writer per output folder: a POSIX record lock on a file that names its holder.
 * The lock ends with the process, however it ends, so nothing stale remains. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tools/cli_files.h"

static bool same_file(int fd, const char *path)
{
    struct stat a, b;
    return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_ino == b.st_ino &&
           a.st_dev == b.st_dev;
}

/* 0: held by us, EAGAIN: by another, else errno.  A holder unlinks the file when it leaves, so
 * the one locked must still be the one of that name. */
static int try_lock(cli_lock *l)
{
    struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    for (int round = 0; round < 100; round++) {
        l->fd = open(l->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (l->fd < 0)
            return errno;
        if (fcntl(l->fd, F_SETLK, &whole) != 0)
            return errno == EACCES ? EAGAIN : errno;
        if (same_file(l->fd, l->path))
            return 0;
        close(l->fd);
        l->fd = -1;
    }
    return EAGAIN;
}

static void sign(int fd)
{
    char host[200] = "?", line[260];
    gethostname(host, sizeof host - 1);
    int n = snprintf(line, sizeof line, "host %s, process %ld\n", host, (long)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, line, (size_t)n, 0) != n)
        return; /* the name of the holder is a courtesy */
}

mcs_status cli_lock_take(cli_lock *l, const char *folder, const char *name, mcs_error *e)
{
    *l = (cli_lock){ .fd = -1, .path = cli_join(folder, name, "") };
    if (!l->path)
        return mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", folder);
    int why = try_lock(l);
    if (why == 0) {
        sign(l->fd);
        return MCS_OK;
    }
    if (why == EAGAIN) {
        char holder[260] = "";
        ssize_t n = l->fd >= 0 ? pread(l->fd, holder, sizeof holder - 1, 0) : 0;
        holder[n > 0 ? n : 0] = 0;
        holder[strcspn(holder, "\n")] = 0;
        mcs_error_set(e, MCS_EIO,
                      "%s: another run is writing here (%s); wait for it or choose "
                      "another folder",
                      folder, holder[0] ? holder : "unknown process");
    } else {
        mcs_error_set(e, MCS_EIO, "%s: cannot lock: %s", l->path, strerror(why));
    }
    if (l->fd >= 0)
        close(l->fd);
    free(l->path);
    *l = (cli_lock){ .fd = -1 };
    return MCS_EIO;
}

void cli_lock_drop(cli_lock *l)
{
    if (!l || !l->path)
        return;
    unlink(l->path);
    close(l->fd);
    free(l->path);
    *l = (cli_lock){ .fd = -1 };
}
