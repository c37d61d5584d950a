"""Layers of a pass share a process, and what a library keeps for the whole of it."""

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from gemmbench.network_worker import on_its_threads


def blas_threads():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_each_layer_runs_on_the_threads_that_it_was_prepared_with():
    seen, prepared = [], []
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            if blas_threads() != {threads}:
                pytest.skip("no BLAS here can be told its threads")
            prepared.append(on_its_threads(lambda: seen.append(blas_threads())))
    for run in (*prepared, *prepared):
        run()
    assert seen == [{1}, {2}, {1}, {2}]
