/* cli_files.c - reading and writing whole files, making folders. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tools/cli_files.h"

char *cli_join(const char *folder, const char *name, const char *suffix)
{
    size_t n = strlen(folder) + strlen(name) + strlen(suffix) + 2;
    char *path = malloc(n);
    size_t f = strlen(folder);
    bool slash = f && folder[f - 1] != '/';
    if (path)
        snprintf(path, n, "%s%s%s%s", folder, slash ? "/" : "", name, suffix);
    return path;
}

char *cli_keep_path(cli *t, const char *folder, const char *name)
{
    return cli_own(t, cli_join(folder, name, ""));
}

bool cli_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

static mcs_status failed(mcs_error *e, const char *path, const char *what)
{
    return mcs_error_set(e, errno == ENOMEM ? MCS_ENOMEM : MCS_EIO, "%s: %s: %s", path, what,
                         strerror(errno));
}

/* ---- Reading ---- */

static char *read_all(int fd, const char *path, size_t *size, mcs_error *e)
{
    size_t n = 0, room = 1 << 14;
    char *text = malloc(room + 1);
    for (;;) {
        if (n == room && room <= (size_t)CLI_TEXT_MAX) {
            char *more = realloc(text, room * 2 + 1);
            if (!more)
                free(text);
            text = more;
            room *= 2;
        }
        if (!text) {
            mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", path);
            return NULL;
        }
        ssize_t got = read(fd, text + n, room - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            failed(e, path, "cannot read");
        else if (n + (size_t)got > (size_t)CLI_TEXT_MAX)
            mcs_error_set(e, MCS_EFORMAT, "%s: larger than the limit of %lld MB", path,
                          (long long)(CLI_TEXT_MAX >> 20));
        else if (got > 0) {
            n += (size_t)got;
            continue;
        } else {
            text[n] = 0;
            *size = n;
            return text;
        }
        free(text);
        return NULL;
    }
}

char *cli_read_text(const char *path, size_t *size, mcs_error *e)
{
    size_t n = 0;
    bool standard = strcmp(path, "-") == 0;
    int fd = standard ? 0 : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        failed(e, path, "cannot open");
        return NULL;
    }
    char *text = read_all(fd, path, &n, e);
    if (!standard)
        close(fd);
    if (text && n >= 2 && (memcmp(text, "\xFF\xFE", 2) == 0 || memcmp(text, "\xFE\xFF", 2) == 0)) {
        mcs_error_set(e, MCS_EFORMAT, "%s: is UTF-16; save it as UTF-8", path);
        free(text);
        return NULL;
    }
    if (text && n >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) {
        memmove(text, text + 3, n - 2);
        n -= 3;
    }
    if (size)
        *size = n;
    return text;
}

json_t *cli_read_json(const char *path, mcs_error *e)
{
    size_t n;
    json_error_t where;
    char *text = cli_read_text(path, &n, e);
    if (!text)
        return NULL;
    json_t *j = json_loadb(text, n, JSON_REJECT_DUPLICATES, &where);
    if (!j)
        mcs_error_set(e, MCS_EFORMAT, "%s: line %d, column %d: %s", path, where.line, where.column,
                      where.text);
    free(text);
    return j;
}

/* ---- Writing ---- */

static bool write_all(int fd, const char *bytes, size_t size)
{
    while (size) {
        ssize_t put = write(fd, bytes, size);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return false;
        bytes += put;
        size -= (size_t)put;
    }
    return true;
}

mcs_status cli_write(const char *path, const void *bytes, size_t size, mcs_error *e)
{
    char suffix[40];
    snprintf(suffix, sizeof suffix, ".tmp%ld", (long)getpid());
    char *tmp = cli_join("", path, suffix);
    if (!tmp)
        return mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", path);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    bool ok = fd >= 0 && write_all(fd, bytes, size) && fsync(fd) == 0;
    int saved = errno;
    if (fd >= 0 && close(fd) != 0 && ok) {
        ok = false;
        saved = errno;
    }
    if (ok && rename(tmp, path) != 0) {
        ok = false;
        saved = errno;
    }
    if (!ok && fd >= 0)
        unlink(tmp);
    free(tmp);
    errno = saved;
    return ok ? MCS_OK : failed(e, path, "cannot write");
}

mcs_status cli_write_json(const char *path, const json_t *j, mcs_error *e)
{
    char *text = json_dumps(j, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    if (!text)
        return mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", path);
    size_t n = strlen(text);
    text[n] = '\n'; /* in place of the NUL */
    mcs_status s = cli_write(path, text, n + 1, e);
    free(text);
    return s;
}

mcs_status cli_save_json(const char *folder, const char *name, const json_t *j, mcs_error *e)
{
    if (e->status != MCS_OK)
        return e->status;
    char *path = j ? cli_join(folder, name, "") : NULL;
    mcs_status s =
        path ? cli_write_json(path, j, e) : mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", name);
    free(path);
    return s;
}

/* ---- Folders ---- */

static mcs_status make_folder(const char *path, mcs_error *e)
{
    struct stat st;
    if (mkdir(path, 0777) == 0 || (errno == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode)))
        return MCS_OK;
    if (errno == EEXIST)
        errno = ENOTDIR;
    return failed(e, path, "cannot make the folder");
}

mcs_status cli_mkdirs(const char *path, mcs_error *e)
{
    char *copy = strdup(path);
    if (!copy)
        return mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", path);
    mcs_status s = MCS_OK;
    for (char *c = copy + 1; *copy && *c && s == MCS_OK; c++) {
        if (*c != '/' || c[-1] == '/')
            continue;
        *c = 0;
        s = make_folder(copy, e);
        *c = '/';
    }
    if (s == MCS_OK)
        s = make_folder(copy, e);
    free(copy);
    return s;
}

mcs_status cli_mkdirs_for(const char *path, mcs_error *e)
{
    char *copy = strdup(path), *slash = copy ? strrchr(copy, '/') : NULL;
    mcs_status s = MCS_OK;
    if (!copy)
        return mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", path);
    if (slash && slash != copy) {
        *slash = 0;
        s = cli_mkdirs(copy, e);
    }
    free(copy);
    return s;
}
