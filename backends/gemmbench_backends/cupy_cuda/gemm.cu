// C = alpha * A * B + beta * C in float32, any m, n, k, beta = 0 never reading C.
//
// One block computes a BM x BN tile of C and walks along k in steps of BK, through STAGES buffers in
// shared memory. Its warps split the tile into WM x WN each, the 32 lanes of a warp split that into
// TM x TN accumulators each. A lane's accumulators come in chunks of 4 x 4 that lie LANES * 4 apart,
// so that neighbouring lanes read neighbouring float4s of shared memory.
//
// A and B are treated alike: an element has an outer index (its row in A, its column in B) and a
// depth k. Shared memory holds [k][outer]. In global memory an operand is contiguous along k
// ("K-major": A as usual, B transposed) or along the outer index ("MN-major": B as usual).
//
// Macros, all from tiles.py: BM BN BK TM TN WM WN as above; STAGES buffers; ASYNC 1 fills them by
// cp.async (sm_80 and newer), 0 through registers; PAD floats behind each row of shared memory;
// VEC_A VEC_B VEC_C floats moved at once, which need rows that divide and 16-byte alignment;
// MINB blocks that must fit on an SM; A_K_MAJOR, B_K_MAJOR; SHARED_BYTES; IMPLICIT 1 takes B
// from image.cu, which then stands before this file.

constexpr int CHUNK = 4;  // accumulators read and written together
constexpr int THREADS = BM * BN / (TM * TN);
constexpr int LANES_M = WM / TM, LANES_N = WN / TN;

static_assert(BM % WM == 0 && BN % WN == 0, "whole warp tiles in a block tile");
static_assert(WM % TM == 0 && WN % TN == 0 && LANES_M * LANES_N == 32, "32 lanes in a warp");
static_assert(TM % CHUNK == 0 && TN % CHUNK == 0, "whole chunks in a thread tile");
static_assert(PAD % CHUNK == 0, "rows of shared memory stay aligned");
static_assert(ASYNC ? STAGES >= 2 : STAGES <= 2, "stages");

struct alignas(16) Tiles {  // read and written by float4
    float a[STAGES][BK][BM + PAD];
    float b[STAGES][BK][BN + PAD];
};
static_assert(sizeof(Tiles) == SHARED_BYTES, "the host's formula for shared memory");

template <int WIDTH>
struct alignas(4 * WIDTH) Floats {
    float at[WIDTH];
};

template <bool K_MAJOR>
struct Matrix {
    const float* at;
    int ld, outer_end, k_end;

    __device__ __forceinline__ const float* find(int outer, int k) const {
        if (outer >= outer_end || k >= k_end) return nullptr;
        return at + (K_MAJOR ? (long long)outer * ld + k : (long long)k * ld + outer);
    }
};

// The parts of an operand's tile that one thread brings: GROUPS vectors of VEC floats.
template <int OUTER, bool K_MAJOR, int VEC>
struct Share {
    static constexpr int GROUPS = OUTER * BK / (VEC * THREADS);
    static constexpr int ACROSS = (K_MAJOR ? BK : OUTER) / VEC;  // vectors in a contiguous row
    static_assert(OUTER * BK % (VEC * THREADS) == 0, "each thread brings whole vectors");
    static_assert((K_MAJOR ? BK : OUTER) % VEC == 0, "whole vectors in a row");

    Floats<VEC> held[GROUPS];

    static __device__ __forceinline__ int outer(int group) {
        const int at = threadIdx.x + group * THREADS;
        return K_MAJOR ? at / ACROSS : at % ACROSS * VEC;
    }
    static __device__ __forceinline__ int depth(int group) {
        const int at = threadIdx.x + group * THREADS;
        return K_MAJOR ? at % ACROSS * VEC : at / ACROSS;
    }

    // Global memory to registers; zero where the operand has nothing.
    template <class Source>
    __device__ __forceinline__ void fetch(const Source& source, int outer0, int k0) {
#pragma unroll
        for (int g = 0; g < GROUPS; ++g) {
            const float* from = source.find(outer0 + outer(g), k0 + depth(g));
            held[g] = from ? *reinterpret_cast<const Floats<VEC>*>(from) : Floats<VEC>{};
        }
    }

    // Registers to shared memory; a K-major operand is transposed on the way.
    __device__ __forceinline__ void stash(float (*tile)[OUTER + PAD]) const {
#pragma unroll
        for (int g = 0; g < GROUPS; ++g) {
            if constexpr (K_MAJOR) {
#pragma unroll
                for (int v = 0; v < VEC; ++v) tile[depth(g) + v][outer(g)] = held[g].at[v];
            } else {
                *reinterpret_cast<Floats<VEC>*>(&tile[depth(g)][outer(g)]) = held[g];
            }
        }
    }

#if ASYNC
    // Global to shared memory without registers, in the background until wait().
    template <class Source>
    static __device__ __forceinline__ void copy(const Source& source, int outer0, int k0,
                                                float (*tile)[OUTER + PAD]) {
#pragma unroll
        for (int g = 0; g < GROUPS; ++g) {
            const float* from = source.find(outer0 + outer(g), k0 + depth(g));
            const float* safe = from ? from : source.at;  // nothing is read of it
            if constexpr (K_MAJOR) {
#pragma unroll
                for (int v = 0; v < VEC; ++v)
                    copy_async<1>(&tile[depth(g) + v][outer(g)], safe + (from ? v : 0), from);
            } else {
                copy_async<VEC>(&tile[depth(g)][outer(g)], safe, from);
            }
        }
    }

    // Bytes that are not read are filled with zeros.
    template <int WIDTH>
    static __device__ __forceinline__ void copy_async(float* to, const float* from, bool read) {
        const unsigned target = (unsigned)__cvta_generic_to_shared(to);
        const int bytes = read ? 4 * WIDTH : 0;
        if constexpr (WIDTH == 4)  // .cg passes by L1, which .ca fills with what is used only once
            asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(target), "l"(from),
                         "r"(bytes)
                         : "memory");
        else
            asm volatile("cp.async.ca.shared.global [%0], [%1], %3, %2;\n" ::"r"(target), "l"(from),
                         "r"(bytes), "n"(4 * WIDTH)
                         : "memory");
    }
#endif
};

__device__ __forceinline__ void commit() {
#if ASYNC
    asm volatile("cp.async.commit_group;\n" ::: "memory");
#endif
}

// Until all but the last PENDING commits of this thread have arrived.
template <int PENDING>
__device__ __forceinline__ void wait() {
#if ASYNC
    asm volatile("cp.async.wait_group %0;\n" ::"n"(PENDING) : "memory");
#endif
}

using ShareA = Share<BM, A_K_MAJOR, VEC_A>;
#if IMPLICIT
using ShareB = Share<BN, false, 1>;  // neighbouring pixels need not be neighbours in memory
using SourceB = Image;
#else
using ShareB = Share<BN, B_K_MAJOR, VEC_B>;
using SourceB = Matrix<B_K_MAJOR>;
#endif
using SourceA = Matrix<A_K_MAJOR>;

// The first row (or column) of a thread's chunk in the block tile.
__device__ __forceinline__ int chunk_row(int chunk) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    return warp / (BN / WN) * WM + chunk * LANES_M * CHUNK + lane / LANES_N * CHUNK;
}
__device__ __forceinline__ int chunk_column(int chunk) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    return warp % (BN / WN) * WN + chunk * LANES_N * CHUNK + lane % LANES_N * CHUNK;
}

// acc += a * b over the BK steps of one buffer.
__device__ __forceinline__ void multiply(float (&acc)[TM][TN], const float (*a)[BM + PAD],
                                         const float (*b)[BN + PAD]) {
#pragma unroll
    for (int k = 0; k < BK; ++k) {
        Floats<CHUNK> left[TM / CHUNK], right[TN / CHUNK];
#pragma unroll
        for (int i = 0; i < TM / CHUNK; ++i)
            left[i] = *reinterpret_cast<const Floats<CHUNK>*>(&a[k][chunk_row(i)]);
#pragma unroll
        for (int j = 0; j < TN / CHUNK; ++j)
            right[j] = *reinterpret_cast<const Floats<CHUNK>*>(&b[k][chunk_column(j)]);
#pragma unroll
        for (int i = 0; i < TM; ++i)
#pragma unroll
            for (int j = 0; j < TN; ++j)
                acc[i][j] = fmaf(left[i / CHUNK].at[i % CHUNK], right[j / CHUNK].at[j % CHUNK],
                                 acc[i][j]);
    }
}

// Loads go to registers while the buffer before is multiplied; one or two buffers.
__device__ __forceinline__ void walk_registers(float (&acc)[TM][TN], Tiles& tiles,
                                               const SourceA& from_a, const SourceB& from_b,
                                               int row0, int column0, int k0, int steps) {
    ShareA a;
    ShareB b;
    a.fetch(from_a, row0, k0);
    b.fetch(from_b, column0, k0);
    a.stash(tiles.a[0]);
    b.stash(tiles.b[0]);
    __syncthreads();
    for (int step = 0; step < steps; ++step) {
        const bool more = step + 1 < steps;
        const int now = step % STAGES, next = (step + 1) % STAGES;
        if (more) {
            a.fetch(from_a, row0, k0 + (step + 1) * BK);
            b.fetch(from_b, column0, k0 + (step + 1) * BK);
        }
        multiply(acc, tiles.a[now], tiles.b[now]);
        if (STAGES == 1) __syncthreads();  // everybody has read the only buffer
        if (more) {
            a.stash(tiles.a[next]);
            b.stash(tiles.b[next]);
        }
        __syncthreads();
    }
}

#if ASYNC
// STAGES - 1 buffers are on their way while one is multiplied.
__device__ __forceinline__ void walk_async(float (&acc)[TM][TN], Tiles& tiles,
                                           const SourceA& from_a, const SourceB& from_b,
                                           int row0, int column0, int k0, int steps) {
    auto bring = [&](int step) {
        if (step < steps) {
            ShareA::copy(from_a, row0, k0 + step * BK, tiles.a[step % STAGES]);
            ShareB::copy(from_b, column0, k0 + step * BK, tiles.b[step % STAGES]);
        }
        commit();  // an empty one too, so that wait() can count
    };
#pragma unroll
    for (int step = 0; step < STAGES - 1; ++step) bring(step);
    for (int step = 0; step < steps; ++step) {
        wait<STAGES - 2>();
        __syncthreads();  // all threads' copies have arrived, and the buffer before has been read
        bring(step + STAGES - 1);
        multiply(acc, tiles.a[step % STAGES], tiles.b[step % STAGES]);
    }
}
#endif

// Floats from the start of C to (row, column).
__device__ __forceinline__ long long place(int row, int column, int ldc) {
#if IMPLICIT
    const int image = column / (CONV_P * CONV_Q), pixel = column % (CONV_P * CONV_Q);
    return (long long)image * CONV_OUT_IMAGE + (long long)row * (CONV_P * CONV_Q) + pixel;
#else
    return (long long)row * ldc + column;
#endif
}

// Many products at once: blockIdx.z counts `batches` products, then shares of k of `k_span` each,
// a multiple of BK, whose partial sums lie `split_stride` floats apart (add_splits.cu adds them).
// A repeats after `a_count` products: the filters of a convolution are the same for every image.
extern "C" __global__ void __launch_bounds__(THREADS, MINB)
gemm(int m, int n, int k, float alpha,
     const float* __restrict__ a, int lda, long long a_stride, int a_count,
     const float* __restrict__ b, int ldb, long long b_stride,
     float beta, float* __restrict__ c, int ldc, long long c_stride,
     int batches, int k_span, long long split_stride) {
#if SHARED_BYTES <= 48 * 1024
    __shared__ Tiles tiles;
#else
    extern __shared__ __align__(16) unsigned char dynamic[];
    Tiles& tiles = *reinterpret_cast<Tiles*>(dynamic);
#endif
    const int batch = blockIdx.z % batches, split = blockIdx.z / batches;
    const int row0 = blockIdx.y * BM, column0 = blockIdx.x * BN;
    const int k0 = split * k_span, k_end = min(k, k0 + k_span);
    const int steps = (k_end - k0 + BK - 1) / BK;

    const SourceA from_a{a + batch % a_count * a_stride, lda, m, k_end};
#if IMPLICIT
    const SourceB from_b{b + batch * b_stride, n, k_end};
#else
    const SourceB from_b{b + batch * b_stride, ldb, n, k_end};
#endif
    float acc[TM][TN] = {};
    if (steps > 0) {
#if ASYNC
        walk_async(acc, tiles, from_a, from_b, row0, column0, k0, steps);
#else
        walk_registers(acc, tiles, from_a, from_b, row0, column0, k0, steps);
#endif
    }

    c += batch * c_stride + split * split_stride;
#pragma unroll
    for (int i = 0; i < TM; ++i) {
        const int row = row0 + chunk_row(i / CHUNK) + i % CHUNK;
        if (row >= m) continue;
#pragma unroll
        for (int j = 0; j < TN; j += VEC_C) {
            const int column = column0 + chunk_column(j / CHUNK) + j % CHUNK;
            if (column >= n) continue;
            auto* target = reinterpret_cast<Floats<VEC_C>*>(c + place(row, column, ldc));
            Floats<VEC_C> sum;
            if (beta != 0.f) sum = *target;
#pragma unroll
            for (int v = 0; v < VEC_C; ++v) {
                const float product = alpha * acc[i][j + v];
                sum.at[v] = beta != 0.f ? fmaf(beta, sum.at[v], product) : product;
            }
            *target = sum;
        }
    }
}
