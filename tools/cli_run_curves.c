/* cli_run_curves.c - loss and other figures by epoch as an SVG, readable without a program of ours. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/cli_run.h"

enum {
    WIDTH = 420,
    HEIGHT = 260,
    LEFT = 62,
    TOP = 40,
    STEP = 520,
    PANELS = 8
}; /* of a panel; STEP apart */

typedef struct {
    const char *key, *label, *colour;
} curve;

typedef struct {
    const char *title;
    curve curves[2];
    double factor; /* 100: per cent */
    double x0, x1, y0, y1; /* ranges */
    int left;
} panel;

static bool value_of(const json_t *record, const panel *p, const char *key, double *x, double *y)
{
    const json_t *v = key ? json_object_get(record, key) : NULL;
    *x = json_number_value(json_object_get(record, "epoch"));
    *y = json_number_value(v) * p->factor;
    return json_is_number(v);
}

/* 1, 2 or 5 times a power of ten, so that about `want` of them fit the range. */
static double nice_step(double range, int want)
{
    double raw = range / want, power = pow(10, floor(log10(raw > 0 ? raw : 1)));
    double m = raw / power;
    return power * (m <= 1 ? 1 : m <= 2 ? 2 : m <= 5 ? 5 : 10);
}

static void find_ranges(panel *p, const json_t *history)
{
    double x, y;
    p->x0 = 0;
    p->x1 = fmax(1, (double)json_array_size(history));
    p->y0 = HUGE_VAL;
    p->y1 = -HUGE_VAL;
    for (size_t i = 0; i < json_array_size(history); i++)
        for (int c = 0; c < 2; c++)
            if (value_of(json_array_get(history, i), p, p->curves[c].key, &x, &y)) {
                p->y0 = fmin(p->y0, y);
                p->y1 = fmax(p->y1, y);
            }
    if (!(p->y0 <= p->y1)) {
        p->y0 = 0;
        p->y1 = 1;
    }
    double step = nice_step(fmax(p->y1 - p->y0, 1e-3 * fmax(1, fabs(p->y1))), 5);
    p->y0 = floor(p->y0 / step) * step;
    p->y1 = ceil(p->y1 / step) * step;
    if (p->y1 <= p->y0)
        p->y1 = p->y0 + step;
}

static double at_x(const panel *p, double x)
{
    return p->left + WIDTH * (x - p->x0) / (p->x1 - p->x0);
}
static double at_y(const panel *p, double y)
{
    return TOP + HEIGHT * (1 - (y - p->y0) / (p->y1 - p->y0));
}

static void draw_axes(cli_html *h, const panel *p)
{
    double sy = nice_step(p->y1 - p->y0, 5), sx = fmax(1, nice_step(p->x1 - p->x0, 6));
    for (double v = p->y0; v <= p->y1 + sy / 2; v += sy)
        cli_html_rawf(h,
                      "<path d='M%d %.1fh%d' stroke='#ddd'/><text x='%d' y='%.1f' "
                      "text-anchor='end'>%.4g</text>\n",
                      p->left, at_y(p, v), WIDTH, p->left - 8, at_y(p, v) + 4,
                      fabs(v) < sy * 1e-6 ? 0 : v);
    for (double v = p->x0; v <= p->x1 + 1e-9; v += sx)
        cli_html_rawf(h,
                      "<path d='M%.1f %dv5' stroke='#333'/><text x='%.1f' y='%d' "
                      "text-anchor='middle'>%.0f</text>\n",
                      at_x(p, v), TOP + HEIGHT, at_x(p, v), TOP + HEIGHT + 20, v);
    cli_html_rawf(h, "<path d='M%d %dv%dh%d' fill='none' stroke='#333'/>\n", p->left, TOP, HEIGHT,
                  WIDTH);
    cli_html_rawf(h, "<text x='%d' y='%d' font-weight='bold'>%s</text>\n", p->left, TOP - 18,
                  p->title);
    cli_html_rawf(h, "<text x='%d' y='%d' text-anchor='middle'>epochs</text>\n",
                  p->left + WIDTH / 2, TOP + HEIGHT + 40);
}

static void draw_curve(cli_html *h, const panel *p, int c, const json_t *history)
{
    double x, y;
    int points = 0;
    const curve *k = &p->curves[c];
    cli_html_rawf(h, "<path fill='none' stroke='%s' stroke-width='2'%s d='", k->colour,
                  c ? " stroke-dasharray='7 3'" : "");
    for (size_t i = 0; i < json_array_size(history); i++)
        if (value_of(json_array_get(history, i), p, k->key, &x, &y))
            cli_html_rawf(h, "%s%.1f %.1f", points++ ? "L" : "M", at_x(p, x), at_y(p, y));
    cli_html_raw(h, "'/>\n");
    for (size_t i = 0; i < json_array_size(history) && json_array_size(history) <= 60; i++)
        if (value_of(json_array_get(history, i), p, k->key, &x, &y))
            cli_html_rawf(h, "<circle cx='%.1f' cy='%.1f' r='3' fill='%s'/>\n", at_x(p, x),
                          at_y(p, y), k->colour);
    if (points)
        cli_html_rawf(h, "<text x='%d' y='%d' fill='%s'>%s %s</text>\n", p->left + WIDTH - 150,
                      TOP + 16 + 18 * c, k->colour, c ? "- -" : "\xE2\x80\x94", k->label);
}

static panel make_panel(const cli_run_panel *from)
{
    static const char *const colours[] = { "#1f6fb4", "#d1600a" };
    panel p = { .title = from->title, .factor = from->factor };
    for (int c = 0; c < 2; c++)
        p.curves[c] = (curve){ from->curves[c].key, from->curves[c].label, colours[c] };
    return p;
}

static bool has_values(const panel *p, const json_t *history)
{
    double x, y;
    for (size_t i = 0; i < json_array_size(history); i++)
        for (int c = 0; c < 2; c++)
            if (value_of(json_array_get(history, i), p, p->curves[c].key, &x, &y))
                return true;
    return false;
}

mcs_status cli_run_curves(const cli_run_panel *from, const json_t *history, const char *dir,
                          mcs_error *e)
{
    panel panels[PANELS];
    cli_html h = { 0 };
    int wide = 0;
    for (int i = 0; from[i].title && wide < PANELS; i++) {
        panels[wide] = make_panel(&from[i]);
        panels[wide].left = LEFT + STEP * wide;
        wide += i == 0 || has_values(&panels[wide], history);
    }
    cli_html_rawf(&h,
                  "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %d %d' width='%d' "
                  "font-family='sans-serif' font-size='13'>\n<rect width='100%%' height='100%%' "
                  "fill='white'/>\n",
                  LEFT + WIDTH + 30 + STEP * (wide - 1), TOP + HEIGHT + 56,
                  LEFT + WIDTH + 30 + STEP * (wide - 1));
    for (int i = 0; i < wide; i++) {
        find_ranges(&panels[i], history);
        draw_axes(&h, &panels[i]);
        for (int c = 0; c < 2; c++)
            draw_curve(&h, &panels[i], c, history);
    }
    cli_html_raw(&h, "</svg>\n");
    return cli_html_save(&h, dir, "curves.svg", e);
}
