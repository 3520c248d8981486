/* vec_map.h - the elementwise kernels; part of the template vec_kernels.h.
 *
 * A kernel is an expression over whole vectors.  It is given as a macro E(L), where L(p, fill)
 * loads the current vector of p: FULL in the loop, PART (padded with fill) for what is left. */
#define FULL(p, fill) load((p) + i)
#define PART(p, fill) load_part((p) + i, n - i, fill)

#define MAP(y, E)                                                                                  \
    int64_t i = 0;                                                                                 \
    for (; i + W <= n; i += W)                                                                     \
        store((y) + i, E(FULL));                                                                   \
    if (i < n)                                                                                     \
    store_part((y) + i, n - i, E(PART))

/* ---- y = f(x) and y += dy f'(x) ---- */

#define E_EXP(L) vexp(L(x, 0.0f))
#define E_GELU(L) vgelu(L(x, 0.0f))
#define E_SIGMOID(L) vsigmoid(L(x, 0.0f))
#define E_TANH(L) vtanh(L(x, 0.0f))
#define E_RELU(L) at_least(L(x, 0.0f), 0.0f)
#define E_SQRT(L) vsqrt(L(x, 0.0f))
#define E_ABS(L) vabs(L(x, 0.0f))
static void k_exp(float *y, const float *x, int64_t n)
{
    MAP(y, E_EXP);
}

static void k_gelu(float *y, const float *x, int64_t n)
{
    MAP(y, E_GELU);
}

static void k_sigmoid(float *y, const float *x, int64_t n)
{
    MAP(y, E_SIGMOID);
}

static void k_tanh(float *y, const float *x, int64_t n)
{
    MAP(y, E_TANH);
}

static void k_relu(float *y, const float *x, int64_t n)
{
    MAP(y, E_RELU);
}

static void k_sqrt(float *y, const float *x, int64_t n)
{
    MAP(y, E_SQRT);
}

static void k_abs(float *y, const float *x, int64_t n)
{
    MAP(y, E_ABS);
}

INLINE vf relu_slope(vf x)
{
    return choose((vi)(x > 0.0f), set1(1.0f), set1(0.0f));
}

INLINE vf sigmoid_slope(vf y)
{
    return y * (1.0f - y);
}

INLINE vf tanh_slope(vf y)
{
    return 1.0f - y * y;
}

#define E_GELU_GRAD(L) (L(y, 0.0f) + L(dy, 0.0f) * vgelu_slope(L(of, 0.0f)))
#define E_RELU_GRAD(L) (L(y, 0.0f) + L(dy, 0.0f) * relu_slope(L(of, 0.0f)))
#define E_SIGMOID_GRAD(L) (L(y, 0.0f) + L(dy, 0.0f) * sigmoid_slope(L(of, 0.0f)))
#define E_TANH_GRAD(L) (L(y, 0.0f) + L(dy, 0.0f) * tanh_slope(L(of, 0.0f)))
static void k_gelu_grad(float *y, const float *dy, const float *of, int64_t n)
{
    MAP(y, E_GELU_GRAD);
}

static void k_relu_grad(float *y, const float *dy, const float *of, int64_t n)
{
    MAP(y, E_RELU_GRAD);
}

static void k_sigmoid_grad(float *y, const float *dy, const float *of, int64_t n)
{
    MAP(y, E_SIGMOID_GRAD);
}

static void k_tanh_grad(float *y, const float *dy, const float *of, int64_t n)
{
    MAP(y, E_TANH_GRAD);
}

/* ---- Arithmetic ---- */

#define E_ADD(L) (L(a, 0.0f) + L(b, 0.0f))
#define E_SUB(L) (L(a, 0.0f) - L(b, 0.0f))
#define E_MUL(L) (L(a, 0.0f) * L(b, 0.0f))
#define E_DIV(L) (L(a, 0.0f) / L(b, 1.0f))
#define E_MUL_ACC(L) (L(y, 0.0f) + L(a, 0.0f) * L(b, 0.0f))
static void k_add(float *y, const float *a, const float *b, int64_t n)
{
    MAP(y, E_ADD);
}

static void k_sub(float *y, const float *a, const float *b, int64_t n)
{
    MAP(y, E_SUB);
}

static void k_mul(float *y, const float *a, const float *b, int64_t n)
{
    MAP(y, E_MUL);
}

static void k_div(float *y, const float *a, const float *b, int64_t n)
{
    MAP(y, E_DIV);
}

static void k_mul_acc(float *y, const float *a, const float *b, int64_t n)
{
    MAP(y, E_MUL_ACC);
}

static void k_affine(float *y, const float *x, float scale, float shift, int64_t n)
{
#define E(L) (L(x, 0.0f) * scale + shift)
    MAP(y, E);
#undef E
}

static void k_center(float *y, const float *x, float mean, float scale, float shift, int64_t n)
{
#define E(L) ((L(x, 0.0f) - mean) * scale + shift)
    MAP(y, E);
#undef E
}

static void k_center_acc(float *y, const float *x, float mean, float scale, float shift, int64_t n)
{
#define E(L) (L(y, 0.0f) + ((L(x, 0.0f) - mean) * scale + shift))
    MAP(y, E);
#undef E
}

static void k_axpy(float *y, float s, const float *x, int64_t n)
{
#define E(L) (L(y, 0.0f) + L(x, 0.0f) * s)
    MAP(y, E);
#undef E
}

static void k_clamp(float *y, const float *x, float lo, float hi, int64_t n)
{
#define E(L) at_most(at_least(L(x, 0.0f), lo), hi)
    MAP(y, E);
#undef E
}

/* ---- PReLU ---- */

INLINE vf positive_else(vf x, vf yes, vf no)
{
    return choose((vi)(x > 0.0f), yes, no);
}

static void k_prelu(float *y, const float *x, float w, int64_t n)
{
#define E(L) positive_else(L(x, 0.0f), L(x, 0.0f), L(x, 0.0f) * w)
    MAP(y, E);
#undef E
}

static void k_prelu_grad(float *y, const float *dy, const float *x, float w, int64_t n)
{
#define E(L) (L(y, 0.0f) + L(dy, 0.0f) * positive_else(L(x, 0.0f), set1(1.0f), set1(w)))
    MAP(y, E);
#undef E
}
