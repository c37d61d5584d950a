// C = alpha * (the sum of `splits` partial products) + beta * C. C: (rows, columns); a partial product is
// dense, the next one lies split_stride floats on. In a fixed order, so the answer is the same each time.
extern "C" __global__ void add_splits(long long rows, int columns, int splits,
                                      long long split_stride, float alpha,
                                      const float* __restrict__ partial, float beta,
                                      float* __restrict__ c, int ldc) {
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < rows * columns;
         i += step) {
        float sum = 0.f;
        for (int split = 0; split < splits; ++split) sum += partial[split * split_stride + i];
        float* target = c + i / columns * ldc + i % columns;
        *target = alpha * sum + (beta != 0.f ? beta * *target : 0.f);
    }
}
