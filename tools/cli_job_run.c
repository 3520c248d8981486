/* cli_job_run.c - run.json: when, where and with what settings and weights results were made; and
 * the refusal to mix those of different settings in one folder. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>
#include "tools/cli_job.h"

json_t *cli_job_now(void)
{
    char stamp[40];
    time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", &utc);
    return json_string(stamp);
}

json_t *cli_job_machine(const cli *t)
{
    struct utsname u;
    if (uname(&u) != 0)
        memset(&u, 0, sizeof u);
    return json_pack("{s:s, s:s, s:s, s:I, s:i}", "host", u.nodename, "system", u.sysname, "arch",
                     u.machine, "cores", (json_int_t)sysconf(_SC_NPROCESSORS_ONLN), "threads",
                     mcs_pool_threads(t->pool));
}

void cli_job_hash(const json_t *run, char hex[65])
{
    cli_sha256 s;
    const char *role;
    json_t *file;
    char *text = json_dumps(json_object_get(run, "result_settings"),
                            JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(9));
    cli_sha256_begin(&s);
    if (text)
        cli_sha256_add(&s, text, strlen(text));
    json_object_foreach(json_object_get(run, "weights"), role, file)
    {
        const char *one = json_string_value(json_object_get(file, "sha256"));
        cli_sha256_add(&s, one, strlen(one));
    }
    cli_sha256_hex(&s, hex);
    free(text);
}

mcs_status cli_job_write_run(const char *out, const json_t *run, mcs_error *e)
{
    return cli_save_json(out, "run.json", run, e);
}

/* ---- Against an earlier run in the same folder ---- */

int cli_job_refuse(cli *t, const char *out, const char *what, const json_t *was, const json_t *is)
{
    char *a = json_dumps(was, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(7));
    char *b = json_dumps(is, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(7));
    int code = cli_error(t, CLI_BAD_USAGE,
                         "%s holds results made with other settings: %s was %.200s and is %.200s "
                         "now; choose another folder, or --force to start over",
                         out, what, a ? a : "(absent)", b ? b : "(absent)");
    free(a);
    free(b);
    return code;
}

mcs_status cli_job_before(const char *out, json_t **before, mcs_error *e)
{
    struct stat results;
    char *lines = cli_join(out, "results.jsonl", ""), *path = cli_join(out, "run.json", "");
    *before = NULL;
    if (!lines || !path)
        mcs_error_set(e, MCS_ENOMEM, "out of memory");
    else if (stat(lines, &results) == 0 && results.st_size > 0 && cli_exists(path))
        *before = cli_read_json(path, e);
    free(lines);
    free(path);
    return e->status;
}

int cli_job_compare(cli *t, const char *out, const json_t *before, const json_t *run)
{
    const char *key;
    json_t *now;
    const json_t *old = json_object_get(before, "result_settings");
    const json_t *files = json_object_get(before, "weights");
    char what[100];
    json_object_foreach(json_object_get(run, "result_settings"), key, now)
    {
        const json_t *was = json_object_get(old, key);
        bool equal = json_is_real(now) ? json_number_value(now) == json_number_value(was)
                                       : json_equal(now, was);
        snprintf(what, sizeof what, "--%s", key);
        if (was && !equal)
            return cli_job_refuse(t, out, what, was, now);
    }
    json_object_foreach(json_object_get(run, "weights"), key, now)
    {
        const json_t *was = json_object_get(json_object_get(files, key), "sha256");
        snprintf(what, sizeof what, "the file of --%s (by its hash)", key);
        if (was && !json_equal(was, json_object_get(now, "sha256")))
            return cli_job_refuse(t, out, what, was, json_object_get(now, "sha256"));
    }
    return CLI_CONTINUE;
}
