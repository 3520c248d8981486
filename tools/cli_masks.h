/* cli_masks.h - files of masks: where a picture's mask is, what its pixels hold. */
#ifndef MCS_CLI_MASKS_H
#define MCS_CLI_MASKS_H
#include "tools/cli_files.h"

/* The path of the picture's mask in a folder: NAME.png, NAME_mask.png (BUSI), NAME.jpg, or the
 * picture's own name; to free().  NULL: there is none. */
char *cli_mask_find(const char *folder, const cli_input *in);

typedef struct {
    int width, height;
    int range; /* 255 or 65535 */
    int channels; /* of the file */
    bool jpeg; /* not exact: by the first bytes of the file */
    uint16_t *value; /* (height,width); free() it */
} cli_grid;
/* Grey as stored, 16 bits too; colours as grey, without their alpha.  Of NAME_mask.png together with
 * NAME_mask_1.png, NAME_mask_2.png, ... (BUSI: several masks of a picture) the larger values.
 * value is set, to free() it, on failure too. */
mcs_status cli_grid_read(const char *path, cli_grid *g, mcs_error *e) MCS_MUST_CHECK;
/* How many values other than 0 there are; the smallest `most` of them go to `list`.  -1: out of
 * memory. */
int cli_grid_labels(const cli_grid *g, int *list, int most);
#endif
