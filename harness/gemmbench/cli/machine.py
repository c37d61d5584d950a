"""`gemmbench machine`."""

from typing import TYPE_CHECKING

import click

from gemmbench.cli.formats import format_option, pairs_text, print_formatted
from gemmbench.cli.options import json_option, quiet_option
from gemmbench.cli.raced import threads_option

if TYPE_CHECKING:
    from gemmbench_results.report.render import TableFormat

GIB = 2**30


@click.command(epilog="Example: gemmbench machine --threads 1")
@threads_option
@json_option
@quiet_option
@format_option
def machine(threads: int | None, json_to: str | None, quiet: bool, format_: "TableFormat") -> int:
    """Print the machine, its FLOP peak and memory bandwidth, measured now.

    The peak is what independent fused multiply-adds in registers reach, the bandwidth what reading
    and copying far more memory than the caches hold reaches.
    """
    from gemmbench.machine import detect_machine, machine_to_data
    from gemmbench.peak import measure_roof

    found = detect_machine()
    used = threads or found.cores
    roofs = {
        "float32_flops": measure_roof("flops", "float32", found, used),
        "float64_flops": measure_roof("flops", "float64", found, used),
        "read_bytes": measure_roof("read", "float32", found, used),
        "copy_bytes": measure_roof("copy", "float32", found, used),
    }
    lines = [
        ("CPU", f"{found.cpu} ({found.microarchitecture}), {found.cores} cores, {found.system}"),
        (
            "caches",
            f"L1d {found.l1d_bytes // 1024} KiB, L2 {found.l2_bytes // 1024} KiB, "
            f"L3 {found.l3_bytes // 1024} KiB; memory {found.memory_bytes / GIB:.1f} GiB",
        ),
        ("vectors", f"{8 * found.vector_bytes()} bits"),
        (
            "peak",
            f"{roofs['float32_flops'] / 1e9:.0f} GFLOP/s float32, "
            f"{roofs['float64_flops'] / 1e9:.0f} GFLOP/s float64 on {used} threads",
        ),
        (
            "memory",
            f"{roofs['read_bytes'] / 1e9:.1f} GB/s read, "
            f"{roofs['copy_bytes'] / 1e9:.1f} GB/s copied (read + written) on {used} threads",
        ),
        ("key", found.key()),
    ]
    data = {"schema": 1, "machine": machine_to_data(found), "threads": used, "roofs": roofs}
    print_formatted(
        format_,
        lambda style: pairs_text(lines, style),
        lambda: data,
        lambda: [{**data, "schema": 1}],
        quiet=quiet,
        json_to=json_to,
    )
    return 0
