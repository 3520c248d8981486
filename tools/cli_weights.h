/* cli_weights.h - parts of inspect_weights: one function a command. */
#ifndef MCS_CLI_WEIGHTS_H
#define MCS_CLI_WEIGHTS_H
#include "tools/cli_files.h"
#include "weights/weights.h"

typedef struct {                /* the options, as the table fills them */
    cli_list words;             /* command, then files or names */
    const char *out, *sha256, *prefix;
    int dtype, layout;
    int64_t limit;
    float tolerance;
    bool json, summary, allow_nan;
} iw_opts;

enum { IW_AS_STORED, IW_F32, IW_BF16, IW_F16 };             /* --dtype */
enum { IW_KEEP, IW_OPEN_CLIP, IW_HF, IW_SAM };              /* --layout */

/* Each returns an exit code. */
int iw_info(cli *t, const iw_opts *o, const char *path);
int iw_verify(cli *t, const iw_opts *o, const char *path);
int iw_convert(cli *t, const iw_opts *o, const char *path);
int iw_diff(cli *t, const iw_opts *o, const char *a, const char *b);
int iw_dump(cli *t, const iw_opts *o, const char *path, char *const *names, int count);

/* ---- Between them ---- */

/* NULL: said on standard error, exit code in *code. */
mcs_checkpoint *iw_open(cli *t, const char *path, int *code);
/* "BiomedCLIP, open_clip layout", "SAM vit_b", ... into buf; false: no known layout. */
bool iw_layout(const mcs_checkpoint *k, char *buf, size_t n);
/* "(3, 4)" into buf; returns buf. */
const char *iw_shape(const mcs_stored *t, char *buf, size_t n);
/* A name from a file on standard output, control characters as '?'. */
void iw_print(const char *name);
/* A whole tensor as floats (integers converted) for free(); NULL: see e. */
float *iw_floats(mcs_checkpoint *k, const mcs_stored *t, mcs_error *e);
#endif
