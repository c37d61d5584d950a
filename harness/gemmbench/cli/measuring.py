"""What `run`, `tune` and `compare` ask for alike: their options, in the order of their help."""

from gemmbench.cli.effort import (
    evaluations_option,
    memory_option,
    processes_option,
    strategy_option,
    timeout_option,
)
from gemmbench.cli.options import db_option, in_order, json_option, quiet_option, seed_option
from gemmbench.cli.raced import (
    algorithms_option,
    backends_option,
    batch_option,
    cache_option,
    dtype_option,
    fill_option,
    max_error_option,
    only_option,
    threads_option,
    weights_option,
)

measuring_options = in_order(
    backends_option("to race: numba, blas, ./my_kernel.py:MyGemm", default="all"),
    algorithms_option("to race"),
    weights_option(ranked=True),
    only_option(" to run"),
    batch_option(),
    dtype_option,
    threads_option,
    cache_option(
        "Operands where the last call left them, or rotated through more memory than the caches."
    ),
    max_error_option,
    fill_option,
    evaluations_option,
    processes_option("Fresh processes in which the leading contenders are measured."),
    timeout_option("A contender that takes longer over one request"),
    memory_option,
    db_option,
    json_option,
    seed_option,
    quiet_option,
    strategy_option,
)
