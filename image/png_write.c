/* png_write.c - PNG files, all or nothing.
 *
 * Encoded into memory first (memory grows with the compressed size), then written to a temporary
 * file beside the target, fsynced, renamed, and the folder fsynced: a reader, or the machine after
 * a power cut, sees the old file or the new one.  Compression level 6 with libpng's row filters
 * for 8-bit pictures; no time stamp, so equal pictures give equal files. */
#include <errno.h>
#include <fcntl.h>
#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "image/image_internal.h"

typedef struct {
    uint8_t *bytes;
    size_t size, room;
    const char *path;
    mcs_error *e;
    png_structp png;
    png_infop info;
    const mcs_image *im;
} writer;

static void on_error(png_structp png, png_const_charp message)
{
    const writer *w = png_get_error_ptr(png);
    mcs_error_set(w->e, MCS_ENOMEM, "%s: cannot be encoded as PNG: %s", w->path, message);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp message)
{
    (void)png, (void)message;
}

static void on_write(png_structp png, png_bytep src, size_t n)
{
    writer *w = png_get_io_ptr(png);
    if (n > w->room - w->size) {
        size_t room = 2 * w->room + n;
        uint8_t *more = realloc(w->bytes, room);
        if (!more)
            png_error(png, "no memory");
        w->bytes = more;
        w->room = room;
    }
    memcpy(w->bytes + w->size, src, n);
    w->size += n;
}

static void on_flush(png_structp png)
{
    (void)png;
}

static bool encode_rows(writer *w)
{
    static const int types[5] = { 0, PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_GRAY_ALPHA,
                                  PNG_COLOR_TYPE_RGB, PNG_COLOR_TYPE_RGB_ALPHA };
    static const uint16_t one = 1;
    const mcs_image *im = w->im;
    if (setjmp(png_jmpbuf(w->png)))
        return false;
    png_set_write_fn(w->png, w, on_write, on_flush);
    png_set_IHDR(w->png, w->info, (png_uint_32)im->width, (png_uint_32)im->height, im->depth,
                 types[im->channels], PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_write_info(w->png, w->info);
    if (im->depth == 16 && *(const uint8_t *)&one == 1)
        png_set_swap(w->png);
    for (int y = 0; y < im->height; y++)
        png_write_row(w->png, mcs_image_row(im, y));
    png_write_end(w->png, w->info);
    return true;
}

/* w->bytes holds the file, or e the reason. */
static bool encode(writer *w)
{
    w->png = png_create_write_struct(PNG_LIBPNG_VER_STRING, w, on_error, on_warning);
    w->info = w->png ? png_create_info_struct(w->png) : NULL;
    bool ok = false;
    if (!w->info)
        mcs_error_set(w->e, MCS_ENOMEM, "%s: no memory to encode this PNG", w->path);
    else
        ok = encode_rows(w);
    png_destroy_write_struct(&w->png, &w->info);
    return ok;
}

static bool write_all(int fd, const uint8_t *p, size_t n)
{
    while (n) {
        ssize_t done = write(fd, p, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return false;
        p += done;
        n -= (size_t)done;
    }
    return true;
}

/* Makes the rename durable; some file systems cannot, which is no failure of the picture. */
static void sync_folder(char *path)
{
    char *slash = strrchr(path, '/');
    if (slash)
        slash[slash == path] = 0;
    int fd = open(slash ? path : ".", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
}

/* Opens a new file beside w->path, with the user's usual permissions (mkstemp's would be 0600), and
 * names it in temporary (n bytes).  -1: errno. */
static int open_temporary(const writer *w, char *temporary, size_t n)
{
    int fd = -1;
    for (int i = 0; i < 100 && fd < 0; i++) {
        snprintf(temporary, n, "%s.%ld-%d.tmp", w->path, (long)getpid(), i);
        fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd < 0 && errno != EEXIST)
            break;
    }
    return fd;
}

/* Leaves the bytes at path or changes nothing; temporary: room for n bytes. */
static bool replace_file(const writer *w, bool durable, char *temporary, size_t n)
{
    int fd = open_temporary(w, temporary, n);
    if (fd < 0)
        return false;
    bool ok = write_all(fd, w->bytes, w->size) && (!durable || fsync(fd) == 0);
    ok = close(fd) == 0 && ok && rename(temporary, w->path) == 0;
    if (ok && durable) {
        sync_folder(temporary);
    } else if (!ok) {
        int reason = errno;
        unlink(temporary);
        errno = reason;
    }
    return ok;
}

static mcs_status write_png(const char *path, const mcs_image *im, bool durable, mcs_error *e)
{
    if (!im)
        return mcs_error_set(e, MCS_EINVAL, "%s: there is no image to write", path);
    writer w = { .path = path, .e = e, .im = im };
    size_t length = strlen(path) + 32; /* ".PID-N.tmp" */
    char *temporary = malloc(length);
    mcs_status s = MCS_OK;
    if (!temporary)
        s = mcs_error_set(e, MCS_ENOMEM, "%s: no memory", path);
    else if (!encode(&w))
        s = MCS_ENOMEM;
    if (s == MCS_OK && !replace_file(&w, durable, temporary, length))
        s = mcs_error_set(e, MCS_EIO, "%s: cannot be written: %s", path, strerror(errno));
    free(temporary);
    free(w.bytes);
    return s;
}

mcs_status mcs_png_write(const char *path, const mcs_image *im, mcs_error *e)
{
    return write_png(path, im, true, e);
}

mcs_status mcs_png_write_unsynced(const char *path, const mcs_image *im, mcs_error *e)
{
    return write_png(path, im, false, e);
}
