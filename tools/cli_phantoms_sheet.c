/* cli_phantoms_sheet.c - items of a data set of phantoms, and the contact sheet. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/cli_phantoms.h"

/* With --no-healthy, phantoms in which nothing shows are passed over for ones far away. */
mcs_status ph_phantom(const ph_job *j, int64_t i, int size, mcs_phantom *p, mcs_error *e)
{
    mcs_phantom_kind kind = j->kind[i % j->kinds];
    uint64_t index = (uint64_t)i;
    for (int tries = 0; tries < 50; tries++, index += UINT64_C(3) << 40) {
        mcs_status s = mcs_phantom_make_kind((uint64_t)j->t->seed, index, kind, size, p, e);
        bool any = j->o->healthy;
        for (int k = 0; k < MCS_PHANTOM_STRUCTURES; k++)
            any = any || mcs_phantom_shows(&p->facts, (mcs_phantom_structure)k);
        if (s != MCS_OK || any)
            return s;
    }
    return MCS_OK;
}

static mcs_status make_view(const ph_job *j, int view, mcs_phantom *p, mcs_error *e)
{
    mcs_phantom to = { 0 };
    mcs_phantom_view_options v = mcs_phantom_view_defaults();
    v.crop = view == PH_MIXED ? j->o->crops : view == PH_CROP ? 1 : 0;
    v.spotlight = view == PH_MIXED ? j->o->spotlights : view == PH_SPOTLIGHT ? 1 : 0;
    v.strict = j->o->unlit == 1;
    mcs_status s = mcs_phantom_view(p, &v, (uint64_t)view, j->o->size, &to, e);
    mcs_phantom_free(p);
    *p = to;
    return s;
}

mcs_status ph_make(const ph_job *j, int64_t i, ph_item *item, mcs_phantom *p)
{
    static const char *const suffix[] = { "", "_crop", "_spotlight", "_view" };
    int nth = (int)(i % j->per_phantom), list[MCS_PHANTOM_STRUCTURES], n = 0;
    *item = (ph_item){ .index = i / j->per_phantom, .finding = -1, .other = -1 };
    while (!j->view[item->view] || nth-- > 0)
        item->view++;
    mcs_status s = ph_phantom(j, item->index, j->o->size, p, &item->e);
    if (s == MCS_OK && item->view != PH_WHOLE)
        s = make_view(j, item->view, p, &item->e);
    if (s != MCS_OK)
        return s;
    item->facts = p->facts;
    snprintf(item->stem, sizeof item->stem, "%06lld_%s%s", (long long)item->index,
             mcs_phantom_kind_name(p->facts.kind), suffix[item->view]);
    for (int k = 0; k < MCS_PHANTOM_STRUCTURES; k++)
        if (mcs_phantom_shows(&p->facts, (mcs_phantom_structure)k))
            list[n++] = k;
    int64_t turn = item->index / j->kinds;
    if (n)
        item->finding = list[turn % n];
    if (n > 1)
        item->other = list[(turn + 1) % n];
    return MCS_OK;
}

/* ---- The sheet ---- */

/* Copies p with outlines into the cell at (left, top). */
static bool paint(mcs_image *sheet, int left, int top, const mcs_phantom *p, uint8_t *mask)
{
    mcs_image *cell = mcs_image_new(p->size, p->size, 3, 8);
    if (!cell)
        return false;
    size_t n = (size_t)p->size * (size_t)p->size;
    uint8_t *to = cell->data;
    for (size_t i = 0; i < n; i++)
        memset(to + 3 * i, p->grey[i], 3);
    for (int s = 0; s < MCS_PHANTOM_STRUCTURES; s++)
        if (mcs_phantom_mask(p, (mcs_phantom_structure)s, mask))
            mcs_draw_mask(cell, mask, mcs_label_colour(s + 1), 0);
    for (int y = 0; y < p->size; y++)
        memcpy((uint8_t *)sheet->data +
                   3 * ((size_t)(top + y) * (size_t)sheet->width + (size_t)left),
               to + 3 * (size_t)y * (size_t)p->size, 3 * (size_t)p->size);
    mcs_image_free(cell);
    return true;
}

int ph_montage(ph_job *j)
{
    enum { GAP = 4, MOST = 400 };
    int64_t items = j->o->count * j->per_phantom;
    int count = items < MOST ? (int)items : MOST, size = j->o->size;
    int columns = j->o->columns < count ? j->o->columns : count;
    int rows = (count + columns - 1) / columns;
    mcs_error e = { 0 };
    mcs_phantom p = { 0 };
    ph_item item;
    mcs_image *sheet = mcs_image_new(columns * (size + GAP) - GAP, rows * (size + GAP) - GAP, 3, 8);
    uint8_t *mask = malloc((size_t)size * (size_t)size);
    int code = CLI_DONE;
    if (!sheet || !mask)
        code = cli_error(j->t, CLI_NO_MEMORY,
                         "the contact sheet of %d x %d pictures of %d pixels "
                         "is too large: lower --count or --size",
                         columns, rows, size);
    for (int i = 0; i < count && code == CLI_DONE; i++) {
        if (ph_make(j, i, &item, &p) != MCS_OK)
            code = cli_die(j->t, &item.e, false);
        else if (!paint(sheet, i % columns * (size + GAP), i / columns * (size + GAP), &p, mask))
            code = cli_error(j->t, CLI_NO_MEMORY, "out of memory");
    }
    if (code == CLI_DONE && (cli_mkdirs_for(j->o->montage, &e) != MCS_OK ||
                             mcs_png_write(j->o->montage, sheet, &e) != MCS_OK))
        code = cli_die(j->t, &e, false);
    if (code == CLI_DONE && !j->t->quiet)
        printf("%s\n", j->o->montage);
    mcs_phantom_free(&p);
    mcs_image_free(sheet);
    free(mask);
    return code;
}
