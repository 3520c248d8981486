/* cli_unet_notes.c - what a UNet's checkpoint says about its use, as JSON in its metadata. */
#include "tools/cli_unet.h"

char *un_notes_text(const un_notes *n)
{
    json_t *values = json_array();
    for (int i = 0; i < n->classes; i++)
        json_array_append_new(values, json_integer(n->value[i]));
    json_t *j = json_pack("{s:i, s:s, s:o}", "side", n->side, "input",
                          n->input == MCS_UNET_SLIDING ? "patch" : "resize", "values", values);
    char *text = j ? json_dumps(j, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(j);
    return text;
}

bool un_notes_read(const char *text, un_notes *n)
{
    json_t *j = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
    const json_t *values = json_object_get(j, "values");
    const char *input = json_string_value(json_object_get(j, "input"));
    json_int_t side = json_integer_value(json_object_get(j, "side"));
    size_t count = json_array_size(values);
    bool good = input && side > 0 && side <= 4096 && count >= 1 && count <= UN_CLASSES_MAX;
    if (good) {
        *n = (un_notes){ .side = (int)side,
                         .input = input[0] == 'p' ? MCS_UNET_SLIDING : MCS_UNET_RESIZE,
                         .classes = (int)count };
        for (size_t i = 0; i < count; i++)
            n->value[i] = (int)json_integer_value(json_array_get(values, i));
    }
    json_decref(j);
    return good;
}
