/* cli_train_ranks.c - finetune_clip as one of several ranks (mpirun, srun; make MPI=1).
 *
 * All ranks go through the same steps, each with its share of the batch; what one of them finds out
 * (a failure, a signal, a broken picture) is told to all before anyone acts on it, so that all take
 * the same way and none waits for another that has left.  Rank 0 alone writes files. */
#include <stdlib.h>
#include <string.h>
#include "tools/cli_train.h"

int tr_ranks_open(tr_run *r)
{
    mcs_error e = { 0 };
    r->comm = mcs_comm_open(&e);
    if (e.status != MCS_OK)
        return cli_error(r->t, e.status == MCS_EINVAL ? CLI_BAD_USAGE : CLI_IO_ERROR, "%s",
                         e.message);
    r->t->rank = mcs_comm_rank(r->comm);
    r->t->quiet = r->t->quiet || r->t->rank;
    return CLI_CONTINUE;
}

void tr_ranks_close(tr_run *r, int code)
{
    if (r->comm && code != r->agreed && code != CLI_DONE && code != CLI_BAD_USAGE)
        mcs_comm_abort(r->comm, code); /* the others do not know */
    mcs_comm_close(r->comm);
    r->comm = NULL;
}

/* ---- Agreement ---- */

int tr_agree(tr_run *r, int code)
{
    mcs_error e = { 0 };
    if (mcs_comm_max(r->comm, &code, 1, &e) != MCS_OK)
        return cli_die(r->t, &e, false);
    return r->agreed = code;
}

int tr_meet(tr_run *r, int code)
{
    mcs_error e = { 0 };
    int v[] = { code, cli_stop(), cli_checkpoint_asked() };
    if (mcs_comm_max(r->comm, v, 3, &e) != MCS_OK)
        return cli_die(r->t, &e, false);
    r->run.stop = v[1];
    r->run.save_asked = r->run.save_asked || v[2];
    return r->agreed = v[0];
}

/* Everything that decides which steps follow. */
static char *outlook(const tr_run *r)
{
    json_t *data = json_array();
    for (int i = 0; i < r->o->train_data.count; i++)
        json_array_append_new(data, json_string(r->train[i].fingerprint));
    json_t *j = json_pack("{s:s, s:o, s:O, s:I, s:i, s:O}", "version", MCS_VERSION, "data", data,
                          "settings", r->run.settings, "step", (json_int_t)r->s.step, "epochs",
                          r->o->run.epochs, "history", r->s.history);
    char *text = j ? json_dumps(j, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(j);
    return text;
}

int tr_ranks_begin(tr_run *r)
{
    mcs_error e = { 0 };
    if (!r->comm)
        return CLI_CONTINUE;
    char *text = outlook(r);
    uint64_t mine = text ? cli_hash(text) : 0, first = mine;
    free(text);
    if (mcs_comm_broadcast(r->comm, &first, sizeof first, &e) != MCS_OK)
        return cli_die(r->t, &e, false);
    int code =
        tr_agree(r, first == mine ? CLI_CONTINUE
                                  : cli_error(r->t, CLI_BAD_USAGE,
                                              "other data, settings or checkpoint than rank 0: all "
                                              "ranks need the same command and the same files"));
    if (code != CLI_CONTINUE)
        return code;
    cli_info(r->t, "%d ranks, %lld pairs a step", mcs_comm_size(r->comm), (long long)r->batch);
    return mcs_params_broadcast(r->run.params, r->comm, &e) == MCS_OK ? CLI_CONTINUE
                                                                  : cli_die(r->t, &e, false);
}

/* ---- What each has, to all ---- */

int tr_gather(tr_run *r, const void *mine, size_t item, int64_t count, void **all, int64_t *total)
{
    mcs_error e = { 0 };
    int ranks = mcs_comm_size(r->comm), code = CLI_CONTINUE;
    int64_t *counts = malloc((size_t)ranks * sizeof *counts);
    size_t *bytes = malloc((size_t)ranks * sizeof *bytes);
    *all = NULL;
    *total = 0;
    if (!counts || !bytes)
        code = cli_error(r->t, CLI_NO_MEMORY, "out of memory");
    code = tr_agree(r, code);
    if (code == CLI_CONTINUE &&
        mcs_comm_gather(r->comm, &count, sizeof count, counts, &e) != MCS_OK)
        code = cli_die(r->t, &e, false);
    for (int i = 0; i < ranks && code == CLI_CONTINUE; i++) {
        *total += counts[i];
        bytes[i] = (size_t)counts[i] * item;
    }
    if (code == CLI_CONTINUE) {
        *all = malloc((size_t)*total * item + 1);
        code = tr_agree(r, *all ? CLI_CONTINUE : cli_error(r->t, CLI_NO_MEMORY, "out of memory"));
    }
    if (code == CLI_CONTINUE && mcs_comm_gather_parts(r->comm, mine, bytes, *all, &e) != MCS_OK)
        code = cli_die(r->t, &e, false);
    free(counts);
    free(bytes);
    return code;
}

int tr_share_record(tr_run *r, json_t *record)
{
    if (!r->comm)
        return CLI_CONTINUE;
    char *text = json_dumps(record, JSON_COMPACT | JSON_REAL_PRECISION(17)), *all = NULL;
    int64_t n = text && !r->t->rank ? (int64_t)strlen(text) + 1 : 0, total;
    int code = tr_agree(r, text ? CLI_CONTINUE : cli_error(r->t, CLI_NO_MEMORY, "out of memory"));
    if (code == CLI_CONTINUE)
        code = tr_gather(r, text, 1, n, (void **)&all, &total);
    json_t *got = code == CLI_CONTINUE ? json_loads(all, 0, NULL) : NULL;
    if (code == CLI_CONTINUE && json_object_update(record, got))
        code = cli_error(r->t, CLI_NO_MEMORY, "out of memory");
    json_decref(got);
    free(text);
    free(all);
    return code;
}
