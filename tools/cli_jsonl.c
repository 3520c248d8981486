/* cli_jsonl.c - one JSON object a line.  A line is one write() to a file opened with O_APPEND, so
 * lines of several processes never mix; a line torn by a crash is closed at the next opening and
 * skipped by readers. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tools/cli_files.h"

int cli_jsonl_open(const char *path, mcs_error *e)
{
    int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0) {
        mcs_error_set(e, MCS_EIO, "%s: cannot open: %s", path, strerror(errno));
        return -1;
    }
    char last = '\n';
    off_t end = lseek(fd, 0, SEEK_END);
    if (end > 0 && pread(fd, &last, 1, end - 1) == 1 && last != '\n' && write(fd, "\n", 1) != 1) {
        mcs_error_set(e, MCS_EIO, "%s: cannot write: %s", path, strerror(errno));
        close(fd);
        return -1;
    }
    return fd;
}

mcs_status cli_jsonl_append(int fd, const char *path, const json_t *line, mcs_error *e)
{
    char *text = json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(9));
    if (!text)
        return mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", path);
    size_t n = strlen(text) + 1;
    text[n - 1] = '\n';
    ssize_t put;
    do
        put = write(fd, text, n);
    while (put < 0 && errno == EINTR);
    int saved = put < 0 ? errno : ENOSPC; /* a short write means that the disk is full */
    free(text);
    if (put != (ssize_t)n)
        return mcs_error_set(e, MCS_EIO, "%s: cannot write: %s", path, strerror(saved));
    return MCS_OK;
}

mcs_status cli_jsonl_read(const char *path, void (*fn)(void *arg, json_t *line), void *arg,
                          int64_t *bad, mcs_error *e)
{
    if (bad)
        *bad = 0;
    if (access(path, F_OK) != 0 && errno == ENOENT)
        return MCS_OK;
    size_t size;
    char *text = cli_read_text(path, &size, e);
    if (!text)
        return e ? e->status : MCS_EIO;
    const char *at = text, *end = text + size;
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (!stop)
            stop = end;
        json_t *line = stop > at ? json_loadb(at, (size_t)(stop - at), 0, NULL) : NULL;
        if (json_is_object(line))
            fn(arg, line);
        else if (stop > at && bad)
            ++*bad;
        json_decref(line);
        at = stop + 1;
    }
    free(text);
    return MCS_OK;
}
