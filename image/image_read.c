/* image_read.c - a picture from a file or from memory, recognised by its first bytes.
 *
 * The whole file is read first (bounded), then decoded from memory: a decoder that cannot block,
 * cannot see the file change under it and knows how many bytes there are can refuse a claim of
 * 60,000 x 60,000 pixels in a kilobyte before it allocates anything. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "image/image_internal.h"

typedef struct {
    const char *magic;
    size_t size, at;
    const char *what; /* end of the sentence "this is ..." */
} kind;

/* Formats people are likely to hand us, with what to do about it. */
static const kind others[] = {
    { "GIF8", 4, 0, "a GIF picture: convert it to PNG" },
    { "BM", 2, 0, "a BMP picture: convert it to PNG" },
    { "II*\0", 4, 0, "a TIFF picture: convert it to PNG (which keeps 16 bits)" },
    { "MM\0*", 4, 0, "a TIFF picture: convert it to PNG (which keeps 16 bits)" },
    { "WEBP", 4, 8, "a WebP picture: convert it to PNG" },
    { "\0\0\0\x0cjP  ", 8, 0, "a JPEG 2000 picture: convert it to PNG" },
    { "\xff\x4f\xff\x51", 4, 0, "a JPEG 2000 picture: convert it to PNG" },
    { "DICM", 4, 128, "a DICOM file" },
    { "n+1", 3, 344, "a NIfTI volume" },
    { "\x1f\x8b", 2, 0, "a gzip file" },
    { "PK\3\4", 4, 0, "a zip archive" },
};

static mcs_image *refuse(const uint8_t *p, size_t size, const char *name, mcs_error *e)
{
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        const kind *k = &others[i];
        if (size >= k->at + k->size && !memcmp(p + k->at, k->magic, k->size)) {
            mcs_error_set(e, MCS_EFORMAT, "%s: expected PNG or JPEG; this is %s", name, k->what);
            return NULL;
        }
    }
    if (size == 0)
        mcs_error_set(e, MCS_EFORMAT, "%s: expected PNG or JPEG; this is an empty file", name);
    else
        mcs_error_set(e, MCS_EFORMAT,
                      "%s: expected PNG or JPEG; this is neither (first byte 0x%02x)", name, p[0]);
    return NULL;
}

mcs_image *mcs_image_read_memory(const void *bytes, size_t size, const char *name, mcs_error *e)
{
    const uint8_t *p = bytes;
    if (size >= 8 && !memcmp(p, "\x89PNG\r\n\x1a\n", 8))
        return mcs_png_decode(p, size, name, e);
    if (size >= 3 && p[0] == 0xff && p[1] == 0xd8 && p[2] == 0xff)
        return mcs_jpeg_decode(p, size, name, e);
    return refuse(p, size, name, e);
}

/* Reads up to `limit` bytes or to the end; -1: errno. */
static ssize_t read_up_to(int fd, uint8_t *dst, size_t limit)
{
    size_t got = 0;
    while (got < limit) {
        ssize_t n = read(fd, dst + got, limit - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        got += (size_t)n;
    }
    return (ssize_t)got;
}

/* The bytes of an open regular file, to be freed; NULL: see e. */
static uint8_t *read_all(int fd, const char *path, size_t *size, mcs_error *e)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        mcs_error_set(e, MCS_EIO, "%s: cannot be read: %s", path, strerror(errno));
        return NULL;
    }
    if (!S_ISREG(st.st_mode)) {
        mcs_error_set(e, MCS_EIO, "%s: is %s; expected a picture file", path,
                      S_ISDIR(st.st_mode) ? "a folder" : "not a regular file");
        return NULL;
    }
    if (st.st_size > MCS_IMAGE_MAX_FILE) {
        mcs_error_set(e, MCS_ENOMEM, "%s: has %lld bytes; the limit for a picture is %lld", path,
                      (long long)st.st_size, (long long)MCS_IMAGE_MAX_FILE);
        return NULL;
    }
    size_t want = (size_t)st.st_size;
    uint8_t *bytes = malloc(want ? want : 1);
    if (!bytes) {
        mcs_error_set(e, MCS_ENOMEM, "%s: no memory for its %zu bytes", path, want);
        return NULL;
    }
    ssize_t got = read_up_to(fd, bytes, want);
    if (got < 0) {
        mcs_error_set(e, MCS_EIO, "%s: cannot be read: %s", path, strerror(errno));
        free(bytes);
        return NULL;
    }
    *size = (size_t)got;
    return bytes;
}

mcs_image *mcs_image_read(const char *path, mcs_error *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        mcs_error_set(e, errno == ENOENT ? MCS_ENOTFOUND : MCS_EIO, "%s: cannot be opened: %s",
                      path, strerror(errno));
        return NULL;
    }
    size_t size = 0;
    uint8_t *bytes = read_all(fd, path, &size, e);
    close(fd);
    mcs_image *im = bytes ? mcs_image_read_memory(bytes, size, path, e) : NULL;
    free(bytes);
    return im;
}
