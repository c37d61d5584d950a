// A convolution's input as the right operand of a product: element (k, pixel) is the input under
// filter tap k = (c, r, s) of output pixel = (image, p, q). Nothing is stored: it is looked up
// (implicit GEMM, gemm.cu) or written out once (im2col, below). The geometry comes as macros, so
// that every division is by a constant.
//
// CONV_C  channels of one group      CONV_H CONV_W  input     CONV_R CONV_S  filter
// CONV_P CONV_Q  output              CONV_STRIDE_H, _W, CONV_PAD_H, _W, CONV_DILATION_H, _W
// CONV_IMAGE  floats from one image to the next, all groups

struct Image {
    const float* at;  // the group's first channel in the first image
    int pixels;       // outputs, of all images together
    int k_end;

    // Where (k, pixel) lies; null where there is padding or nothing: the element is 0.
    __device__ __forceinline__ const float* find(int pixel, int k) const {
        const int image = pixel / (CONV_P * CONV_Q), spot = pixel % (CONV_P * CONV_Q);
        const int p = spot / CONV_Q, q = spot % CONV_Q;
        const int c = k / (CONV_R * CONV_S), tap = k % (CONV_R * CONV_S);
        const int r = tap / CONV_S, s = tap % CONV_S;
        const int h = p * CONV_STRIDE_H - CONV_PAD_H + r * CONV_DILATION_H;
        const int w = q * CONV_STRIDE_W - CONV_PAD_W + s * CONV_DILATION_W;
        const bool inside = h >= 0 && h < CONV_H && w >= 0 && w < CONV_W;
        if (pixel >= pixels || k >= k_end || !inside) return nullptr;
        return at + (long long)image * CONV_IMAGE + (c * CONV_H + h) * CONV_W + w;
    }
};

// Counts up to 2³¹ and a step beyond, or further: dividing 64-bit numbers takes several times longer.
template <bool LARGE> struct Count { using type = unsigned; };
template <> struct Count<true> { using type = long long; };

// columns: (images, groups, k, P*Q), dense. blockIdx.y is image * groups + group.
extern "C" __global__ void im2col(const float* __restrict__ x, float* __restrict__ columns,
                                  int groups) {
    constexpr int K = CONV_C * CONV_R * CONV_S, PIXELS = CONV_P * CONV_Q;
    constexpr long long FLOATS = (long long)K * PIXELS;  // of 64 channels, 2048², 3 × 3: over 2³¹
    using Index = typename Count<(FLOATS >> 31) != 0>::type;
    const int image = blockIdx.y / groups, group = blockIdx.y % groups;
    const Image source{x + (long long)image * CONV_IMAGE +
                           (long long)group * (CONV_C * CONV_H * CONV_W),
                       PIXELS, K};
    float* target = columns + blockIdx.y * FLOATS;
    for (Index i = blockIdx.x * blockDim.x + threadIdx.x; i < (Index)FLOATS;
         i += gridDim.x * blockDim.x) {
        const float* found = source.find((int)(i % PIXELS), (int)(i / PIXELS));
        target[i] = found ? *found : 0.f;
    }
}
