/* meta_config.c - whole numbers of a model's layout in the safetensors metadata "mcs.config".
 *
 * Shapes determine nearly all of a layout; what they leave open (numbers of heads, image size)
 * stands in one small JSON object, {"image": 1024, "decoder_heads": 8}. */
#include <jansson.h>
#include "weights/weights.h"

mcs_status mcs_checkpoint_config_int(const mcs_checkpoint *k, const char *key, int64_t lo,
                                     int64_t hi, int64_t *value, mcs_error *e)
{
    const char *text = mcs_checkpoint_meta(k, "mcs.config");
    if (!text)
        return MCS_OK;
    json_error_t je;
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &je);
    const json_t *v = root ? json_object_get(root, key) : NULL;
    mcs_status s = MCS_OK;
    if (!json_is_object(root))
        s = mcs_error_set(e, MCS_EFORMAT, "%s: metadata mcs.config is not a JSON object: %s",
                          mcs_checkpoint_path(k), root ? "another value" : je.text);
    else if (v && (!json_is_integer(v) || json_integer_value(v) < lo || json_integer_value(v) > hi))
        s = mcs_error_set(e, MCS_EFORMAT,
                          "%s: metadata mcs.config: %s must be a whole number from %lld to %lld",
                          mcs_checkpoint_path(k), key, (long long)lo, (long long)hi);
    else if (v)
        *value = json_integer_value(v);
    json_decref(root);
    return s;
}
