/* cli_zeroshot_html.c - index.html: a card per picture with what was saved of it. */
#include "tools/cli_zeroshot.h"

static void maps(cli_html *h, const json_t *j)
{
    cli_page_figure(h, j, "heat", "saliency over the picture");
    cli_page_figure(h, j, "saliency", "saliency");
    cli_page_figure(h, j, "coarse", "coarse mask");
}

static void facts(cli_html *h, const json_t *j)
{
    static const char *const keys[][2] = {
        { "class", "class" },
        { "prompt", "prompt" },
        { "clip_score", "CLIP score" },
        { "sam_boxes", "boxes" },
        { "iou_pred", "IoU estimate" },
        { "stability", "stability" },
        { "area", "area (pixels)" },
        { "coarse_area", "coarse area" },
        { "coarse_empty", "coarse mask was empty" },
        { "rejected", "rejected as too weak" },
        { "metrics", "against ground truth" },
    };
    cli_html_raw(h, "<table>\n");
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const json_t *v = json_object_get(j, keys[i][0]);
        if (!json_is_false(v))
            cli_page_row(h, keys[i][1], v);
    }
    cli_html_raw(h, "</table>\n");
}

static void card(cli_html *h, const json_t *line)
{
    const json_t *classes = json_object_get(line, "classes");
    cli_html_raw(h, "<div class=\"row\">\n");
    cli_page_figure(h, line, "overlay", "mask and boxes");
    cli_page_figure(h, line, "mask", "mask");
    maps(h, line);
    for (size_t i = 0; i < json_array_size(classes); i++)
        maps(h, json_array_get(classes, i));
    cli_html_raw(h, "</div>\n");
    facts(h, line);
    for (size_t i = 0; i < json_array_size(classes); i++)
        facts(h, json_array_get(classes, i));
}

mcs_status zs_html(const zs_run *r, const json_t *lines, mcs_error *e)
{
    cli_html h = { 0 };
    cli_page_begin(&h, "zeroshot_seg");
    cli_page_summary(&h, "zeroshot_seg", r->job.run, lines);
    if (r->o->shipped)
        cli_html_rawf(&h, "<p class=\"bad\">%s</p>\n", cli_shipped_notice);
    cli_page_failures(&h, r->job.errors_path, e);
    cli_page_cards(&h, lines, card);
    return cli_page_end(&h, r->o->out, e);
}
