/* source.c - bytes of a file (pread) or of memory (tests and fuzzers), with bounds.
 *
 * Not mmap: a file on which another process calls ftruncate() while it is mapped raises SIGBUS
 * in this one.  The size is taken once, every range is checked against it, and it is compared
 * again at every read, so that a file replaced in place is an error and not a mixture. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "weights/weights_internal.h"

mcs_status mcs_source_open(mcs_source *s, const char *path, mcs_error *e)
{
    struct stat st;
    *s = (mcs_source){ .fd = -1, .path = path };
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* nonblock: a pipe must not hang us */
    if (fd < 0)
        return mcs_error_set(e, errno == ENOENT ? MCS_ENOTFOUND : MCS_EIO, "%s: cannot open: %s",
                             path, strerror(errno));
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return mcs_error_set(e, MCS_EIO, "%s: not a regular file; a checkpoint is one file", path);
    }
    s->fd = fd;
    s->size = (uint64_t)st.st_size;
    return MCS_OK;
}

void mcs_source_close(mcs_source *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

static mcs_status source_pread(const mcs_source *s, uint64_t offset, uint8_t *dst, uint64_t n,
                               mcs_error *e)
{
    struct stat st;
    if (fstat(s->fd, &st) != 0 || (uint64_t)st.st_size != s->size)
        return mcs_error_set(e, MCS_EIO, "%s: the file changed size while it was being read",
                             s->path);
    while (n > 0) {
        size_t want = n < (1u << 30) ? (size_t)n : (size_t)1 << 30;
        ssize_t got = pread(s->fd, dst, want, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return mcs_error_set(e, MCS_EIO, "%s: read failed at byte %llu: %s", s->path,
                                 (unsigned long long)offset, strerror(errno));
        if (got == 0)
            return mcs_error_set(e, MCS_EIO, "%s: the file was cut short while it was being read",
                                 s->path);
        dst += got;
        offset += (uint64_t)got;
        n -= (uint64_t)got;
    }
    return MCS_OK;
}

mcs_status mcs_source_read(const mcs_source *s, uint64_t offset, void *dst, uint64_t n,
                           mcs_error *e)
{
    if (offset > s->size || n > s->size - offset)
        return mcs_error_set(e, MCS_EFORMAT,
                             "%s: the file is cut short: bytes %llu+%llu wanted, %llu in the file",
                             s->path, (unsigned long long)offset, (unsigned long long)n,
                             (unsigned long long)s->size);
    if (n == 0)
        return MCS_OK;
    if (s->fd >= 0)
        return source_pread(s, offset, dst, n, e);
    memcpy(dst, s->memory + offset, (size_t)n);
    return MCS_OK;
}
