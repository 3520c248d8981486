/* phantom.h - synthetic medical pictures with exact masks: material for tests, demonstrations and
 * for training a small model without patients.
 *
 * Three kinds: breast ultrasound (mass, cyst), axial brain MRI (tumour, ventricles) and frontal
 * chest X-ray (heart, lungs, nodule).  A phantom is a pure function of (seed, index): first its
 * scene is drawn by lot, then every pixel is computed from the scene at its centre ((i + 0.5) /
 * size), so that one phantom can be had at any size.  No function of libm with its differences
 * between machines takes part, only IEEE + - * / and square root: the same (seed, index, size)
 * gives the same bytes everywhere and on any number of threads.
 *
 * Every structure differs from its surroundings by at least MCS_PHANTOM_CONTRAST grey levels;
 * none can be cut out by its brightness alone.  Phantoms know nothing of patients.
 *
 * Nothing here is global; functions on different phantoms may run at the same time. */
#ifndef MCS_PHANTOM_H
#define MCS_PHANTOM_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "tensor/status.h"

typedef enum {
    MCS_PHANTOM_ULTRASOUND,
    MCS_PHANTOM_MRI,
    MCS_PHANTOM_XRAY,
    MCS_PHANTOM_KINDS
} mcs_phantom_kind;

typedef enum {
    MCS_PHANTOM_MASS, /* ultrasound: hypoechoic, from smooth to ragged */
    MCS_PHANTOM_CYST, /* ultrasound: anechoic, round */
    MCS_PHANTOM_TUMOUR, /* MRI: solid or ring, brighter (or darker) than white matter */
    MCS_PHANTOM_VENTRICLES, /* MRI: dark in T1 and FLAIR, bright in T2 */
    MCS_PHANTOM_HEART, /* X-ray */
    MCS_PHANTOM_LUNGS, /* X-ray: both, or the one that is aerated; without the heart */
    MCS_PHANTOM_NODULE, /* X-ray: in a lung, and part of its mask; at least 1/10 wide */
    MCS_PHANTOM_STRUCTURES
} mcs_phantom_structure;

enum {
    MCS_PHANTOM_SIZE_MIN = 32,
    MCS_PHANTOM_SIZE_MAX = 2048,
    MCS_PHANTOM_CONTRAST = 20 /* least |mean inside - mean around|, in grey levels of 255 */
};

/* What one structure is like in a picture.  Lengths are in widths of the picture, x to the
 * right, y down; left and right are those of the picture, not of the patient. */
typedef struct {
    float visible; /* share of the structure inside the view; 0: absent */
    float area; /* of its mask, as a share of the picture */
    float x, y; /* centroid of the mask */
    float x0, y0, x1, y1; /* box around the mask */
    int row, column; /* of the centroid: 0 upper or left, 1 middle, 2 lower or right */
    int size; /* 0 small, 1 medium, 2 large: by its area, thirds of all */
    float contrast; /* mean inside - mean around, grey levels */
    bool unlit; /* left in the dark by a strict spotlight: to name it is false, to deny it undecided */
} mcs_phantom_part;

/* All that captions are about; small, to be kept when the pixels are gone. */
typedef struct {
    mcs_phantom_kind kind;
    mcs_phantom_part part[MCS_PHANTOM_STRUCTURES];
} mcs_phantom_facts;

typedef struct {
    uint64_t seed, index;
    int size;
    mcs_phantom_facts facts;
    uint8_t *grey; /* (size, size) */
    uint8_t *bits; /* (size, size): bit s is set where structure s is */
    size_t room; /* pixels the two can hold */
} mcs_phantom;

/* Fills p, which is { 0 } or a phantom whose memory is used again.  The kind is index modulo 3.
 * MCS_EINVAL: size beyond the limits above; MCS_ENOMEM.  Nullable: e. */
mcs_status mcs_phantom_make(uint64_t seed, uint64_t index, int size, mcs_phantom *p,
                            mcs_error *e) MCS_MUST_CHECK;
/* The same with the kind of one's choice; with kind = index modulo 3 the same phantom. */
mcs_status mcs_phantom_make_kind(uint64_t seed, uint64_t index, mcs_phantom_kind kind, int size,
                                 mcs_phantom *p, mcs_error *e) MCS_MUST_CHECK;
void mcs_phantom_free(mcs_phantom *p); /* leaves { 0 }; Nullable: p */

/* "ultrasound", "mri", "xray"; "mass", "cyst", ...: constant strings, "" beyond the last. */
const char *mcs_phantom_kind_name(mcs_phantom_kind k);
const char *mcs_phantom_structure_name(mcs_phantom_structure s);
mcs_phantom_kind mcs_phantom_kind_of(mcs_phantom_structure s);
/* mask (size, size) becomes 255 where the structure is, else 0.  Returns the count of 255. */
int64_t mcs_phantom_mask(const mcs_phantom *p, mcs_phantom_structure s, uint8_t *mask);
/* Nameable: at least half of the structure is in view, and enough of it to be seen. */
bool mcs_phantom_shows(const mcs_phantom_facts *f, mcs_phantom_structure s);

/* ---- Views for training ---- */

typedef struct {
    float crop; /* share of views that are square crops */
    float crop_min, crop_max; /* side of the crop, in widths */
    float crop_centred; /* share of the crops that are centred on a structure */
    float spotlight; /* share of views with all but one structure's region dimmed */
    bool strict; /* what keeps less than a third of its light there is unlit */
    float jitter; /* 0: none; 1: gain 0.8 to 1.25, offset +-0.05 */
} mcs_phantom_view_options;
/* Half crops of side 0.45 to 0.9, 60 % of them centred; 40 % spotlights; jitter 1. */
mcs_phantom_view_options mcs_phantom_view_defaults(void);
/* Draws a view of `from` into `to` (of `to_size` pixels; another phantom, { 0 } or used), by lot
 * from `seed`.  A spotlight dims everything outside an ellipse around one structure that is
 * shown; its facts are then those of a picture in which the others are there, but not to be
 * named (visible < 0.5): all undecided, or with `strict` those still in the light.  Its ellipse is
 * soft, as the masks of perturbation maps are. */
mcs_status mcs_phantom_view(const mcs_phantom *from, const mcs_phantom_view_options *o,
                            uint64_t seed, int to_size, mcs_phantom *to,
                            mcs_error *e) MCS_MUST_CHECK;

/* ---- Captions ---- */

/* One statement of a caption; -1: nothing is said about it. */
typedef struct {
    mcs_phantom_structure structure;
    bool absent; /* "no mass" */
    int row, column, size;
} mcs_phantom_key;

enum { MCS_PHANTOM_KEYS = 4, MCS_PHANTOM_TEXT = 320 };
typedef struct {
    mcs_phantom_kind kind;
    int keys; /* all of them must hold */
    mcs_phantom_key key[MCS_PHANTOM_KEYS];
    char text[MCS_PHANTOM_TEXT];
} mcs_phantom_caption;

typedef struct {
    float single; /* share of captions about one structure; the others name all */
    float position, size; /* share of phrases that say where, how large */
    float negation_single, negation_full; /* share that add "and no ..." */
    float complete; /* share that name all structures, each with its place and size */
} mcs_phantom_wording;
/* 0.65; 0.6, 0.5; 0.1, 0.4; 0. */
mcs_phantom_wording mcs_phantom_wording_defaults(void);

/* Writes a caption that is true of f, by lot from `seed`: several per picture are several seeds.
 * Nullable: w (defaults). */
void mcs_phantom_describe(const mcs_phantom_facts *f, const mcs_phantom_wording *w, uint64_t seed,
                          mcs_phantom_caption *c);
/* Is the caption true of the picture?  1 yes, 0 no, -1 undecided (about a structure of which a
 * part is in view).  Of a batch, pairs that are not 0 are no negatives of each other. */
int mcs_phantom_holds(const mcs_phantom_caption *c, const mcs_phantom_facts *f);
/* Plain request for a structure, such as "breast ultrasound showing a hypoechoic mass". */
const char *mcs_phantom_prompt(mcs_phantom_structure s);
/* A name for what the caption states ("mri:tumour/upper left/large+ventricles"): captions of one
 * name say the same.  At most `room` bytes with the NUL. */
void mcs_phantom_group(const mcs_phantom_caption *c, char *name, size_t room);
/* All that is true of a picture in the same way ("mri:image+tumour/upper left/large+no ..."): a
 * caption holds if each of its claims has its words in one of these; '*' stands for any word of a
 * structure of which a part is in view. */
void mcs_phantom_truth(const mcs_phantom_facts *f, char *text, size_t room);
/* The i-th of all phrases that captions and prompts are put together from; NULL after the last.
 * Their words are the vocabulary. */
const char *mcs_phantom_phrase(int i);
#endif
