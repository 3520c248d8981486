/* cam_map.c - maps of BiomedCLIP for gscorecam.py.
 *   cam_map CHECKPOINT LAYER cls|patch|official TOPK SCALE BATCH < floats > floats
 * Input: the normalised picture (3,S,S), then P texts (P,E), already normalised, to the end.
 * Output: P maps (grid, grid); processor seconds on stderr. */
#define PROGRAM "cam_map"
#include "tests/parity/cam_model.h"

int main(int argc, char **argv)
{
    if (argc != 7)
        return 2;
    job j = begin(argv[1], argv[2], 0);
    mcs_cam_opts o = { .at = !strcmp(argv[3], "cls")     ? MCS_CAM_AT_CLS
                             : !strcmp(argv[3], "patch") ? MCS_CAM_AT_PATCH
                                                         : MCS_CAM_AT_OFFICIAL,
                       .top_k = atoi(argv[4]),
                       .scale = (float)atof(argv[5]),
                       .batch = atoi(argv[6]) };
    double start = seconds(CLOCK_PROCESS_CPUTIME_ID);
    mcs_cam *cam = mcs_cam_new(j.c, &j.model, j.image);
    mcs_tensor *map = mcs_gscorecam(cam, j.text, &o, NULL);
    double taken = seconds(CLOCK_PROCESS_CPUTIME_ID) - start;
    answer(&j, map);
    fprintf(stderr, "%.2f s, arena peak %.0f MB\n", taken, (double)mcs_ctx_peak(j.c) / 1e6);
    end(&j);
    return 0;
}
