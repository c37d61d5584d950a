// C = alpha * (the sum of `splits` partial products) + beta * C, all dense and of `count` floats.
// The sums are taken in a fixed order, so that the answer is the same each time.
extern "C" __global__ void add_splits(long long count, int splits, float alpha,
                                      const float* __restrict__ partial, float beta,
                                      float* __restrict__ c) {
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {
        float sum = 0.f;
        for (int split = 0; split < splits; ++split) sum += partial[split * count + i];
        c[i] = alpha * sum + (beta != 0.f ? beta * c[i] : 0.f);
    }
}
