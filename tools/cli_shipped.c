/* cli_shipped.c - the small models that come with the project, for who names none.
 *
 * The folder is --models, else $MCS_MINI, else the first of these that has the file: weights/mini of the
 * source tree the program stands in (tools/NAME, build/KIND/tools/NAME), ../share/mcs/mini beside
 * its bin folder, MCS_SHARE/mini as configured at build time. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tools/cli_files.h"

#ifndef MCS_SHARE
#define MCS_SHARE "/usr/local/share/mcs"
#endif

/* "folder/tail/name" if there is such a file. */
static const char *there(cli *t, const char *folder, const char *tail, const char *name)
{
    const char *in = *tail ? cli_keep_path(t, folder, tail) : folder;
    const char *path = in ? cli_keep_path(t, in, name) : NULL;
    return path && cli_exists(path) ? path : NULL;
}

/* The folder of the running program; NULL where the system does not say. */
static const char *own_folder(cli *t)
{
    char exe[4096];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n <= 0)
        return NULL;
    exe[n] = 0;
    char *slash = strrchr(exe, '/');
    if (!slash)
        return NULL;
    *slash = 0;
    return cli_keep(t, exe);
}

const char cli_shipped_notice[] =
    "The small models that come with the project know drawn phantoms, not patients: for real "
    "pictures name checkpoints.";

const char *cli_shipped(cli *t, const char *models, const char *name)
{
    static const char *const places[] = { "../weights/mini", "../../../weights/mini",
                                          "../share/mcs/mini" };
    const char *folder = models ? models : getenv("MCS_MINI"), *path = NULL;
    if (folder)
        return *folder ? there(t, folder, "", name) : NULL;
    const char *own = own_folder(t);
    for (int i = 0; own && !path && i < 3; i++)
        path = there(t, own, places[i], name);
    return path ? path : there(t, MCS_SHARE, "mini", name);
}
