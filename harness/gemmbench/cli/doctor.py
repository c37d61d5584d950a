"""`gemmbench doctor`."""

import click


@click.command(epilog="Example: gemmbench doctor --gpu")
@click.option(
    "--gpu", is_flag=True, required=True,
    help="Check the GPU kernels on the device and time them beside the vendor's library.",
)  # fmt: skip
def doctor(gpu: bool) -> int:
    """Check the machine. With --gpu: whether the kernels are right on this device, and how fast.

    The first command for somebody with a GPU; its report is made to be pasted into an issue.
    """
    del gpu  # required: there is nothing else to check yet
    from gemmbench.cli.gpu import print_gpu_reports

    return print_gpu_reports()
