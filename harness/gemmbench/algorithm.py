"""The algorithms that gemmbench's own backends know, by the names that users type.

A backend may have others: one that names none computes a convolution by 'conv'.
"""

ALGORITHMS = (
    "gemm",  # of products, Gemm and Linear,
    "gemv",  # of those with one row or column
    "im2col",  # from here on of convolutions
    "implicit-gemm",
    "fft",
    "fft-full",  # a strided convolution at full resolution
    "winograd",
    "direct",
    "depthwise",
    "onednn",  # of products, beside the BLAS of the same library
    "library",  # whichever it chooses itself, without a say of ours
)
# They compute with other numbers than the products of the definition, so their errors are bounded
# otherwise, and they execute another number of operations.
TRANSFORM_ALGORITHMS = frozenset({"fft", "fft-full", "winograd"})
