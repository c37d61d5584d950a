"""The device: whether there is one that can be used, which one it is, and how it is doing."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from gemmbench_backends.cupy_cuda.architecture import ARCHITECTURES, Architecture
from gemmbench_backends.cupy_cuda.compile import compiler_missing, compiler_version, line

INSTALL = "pip install 'gemmbench[cuda12]', or 'gemmbench[cuda13]' for a CUDA 13 driver"
SPARE_BYTES = 2**28  # of device memory, for the context and what others take meanwhile
THROTTLES = {  # nvml.h, nvmlClocksEventReasons
    0x04: "software power cap",
    0x08: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
}
State = dict[str, str | int | float | list[str]]


def unavailable() -> str | None:
    """What is missing first, and the command that mends it: CuPy, driver, device, compiler."""
    try:
        import cupy
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "cupy":
            return f"CuPy is not installed. Install it with: {INSTALL}"
        return f"CuPy is installed but does not import: {line(error)}. Reinstall: {INSTALL}"
    runtime = cupy.cuda.runtime
    try:
        driver, needed = int(runtime.driverGetVersion()), int(runtime.runtimeGetVersion())
        if driver == 0:
            return "there is no NVIDIA driver. Install it, or check it with: nvidia-smi"
        if driver // 1000 < needed // 1000:
            return (
                f"the NVIDIA driver supports CUDA {_version(driver)}, this CuPy needs "
                f"{_version(needed)}. Update the driver, or: pip install "
                f"cupy-cuda{driver // 1000}x, after removing this one"
            )
        if int(runtime.getDeviceCount()) == 0:
            return "CuPy finds no CUDA device. Check: nvidia-smi, and CUDA_VISIBLE_DEVICES"
        name = arch_name()
    except runtime.CUDARuntimeError as error:
        return f"CuPy reaches no CUDA device: {line(error)}. Check: nvidia-smi"
    if name not in ARCHITECTURES:
        return (
            f"the device is {name}; the kernels know {', '.join(ARCHITECTURES)}. Choose another "
            "device with CUDA_VISIBLE_DEVICES"
        )
    return compiler_missing()


def arch_name() -> str:
    """The current device's architecture, such as "sm_90"."""
    import cupy

    return f"sm_{cupy.cuda.Device().compute_capability}"


def current_architecture() -> Architecture:
    """The current device's limits, with its own number of multiprocessors."""
    from dataclasses import replace

    import cupy

    count = int(cupy.cuda.Device().attributes["MultiProcessorCount"])
    return replace(ARCHITECTURES[arch_name()], multiprocessors=count)


def peak_flops() -> float:
    """Float32 operations a second at the highest clock, in multiply-adds without tensor cores."""
    import cupy

    arch = current_architecture()
    kilohertz = int(cupy.cuda.Device().attributes["ClockRate"])
    return 2.0 * arch.lanes * arch.multiprocessors * kilohertz * 1e3


def too_little_memory(needed_bytes: int) -> str | None:
    """Why a contender of this size does not fit beside what the device holds; None if it does."""
    import cupy

    free, total = (int(number) for number in cupy.cuda.runtime.memGetInfo())
    if needed_bytes + SPARE_BYTES <= free:
        return None
    return (
        f"needs {needed_bytes / 2**30:.2f} GiB on the device, {free / 2**30:.2f} of "
        f"{total / 2**30:.2f} GiB are free. Use a smaller --batch, or see who holds it: nvidia-smi"
    )


def device_name() -> str:
    """'NVIDIA H100 PCIe', of the current device."""
    import cupy

    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    name = properties["name"]
    return name.decode() if isinstance(name, bytes) else str(name)


def describe_device() -> str:
    """'cupy 14.2.0, NVRTC 13.5, NVIDIA H100 PCIe sm_90, CUDA driver 13.0'."""
    import cupy

    driver = _version(int(cupy.cuda.runtime.driverGetVersion()))
    return (
        f"cupy {cupy.__version__}, {compiler_version()}, {device_name()} {arch_name()}, "
        f"CUDA driver {driver}"
    )


def device_state() -> State:
    """Driver, clocks, power limit, temperature and why clocks are held down, as NVML has it now.

    What is known, and the reason as "unknown", where NVML cannot be asked.
    """
    import cupy

    state: State = {"name": device_name()}
    try:
        import pynvml
    except ImportError:
        return state | {"unknown": "pip install nvidia-ml-py"}
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return state | {"unknown": line(error)}
    try:
        state |= _ask(pynvml, {"driver": lambda: _text(pynvml.nvmlSystemGetDriverVersion())})
        bus = cupy.cuda.Device().pci_bus_id
        return state | _ask(pynvml, _questions(pynvml, pynvml.nvmlDeviceGetHandleByPciBusId(bus)))
    except pynvml.NVMLError as error:  # a container or a MIG slice may refuse the device itself
        return state | {"unknown": line(error)}
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _questions(nvml: Any, handle: Any) -> Mapping[str, Any]:
    return {
        "sm_mhz": lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM),
        "memory_mhz": lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM),
        "power_watts": lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000,
        "power_limit_watts": lambda: nvml.nvmlDeviceGetPowerManagementLimit(handle) / 1000,
        "celsius": lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
        "throttled": lambda: _throttles(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)),
    }


def _ask(nvml: Any, questions: Mapping[str, Any]) -> State:
    answers: State = {}
    for name, question in questions.items():
        try:
            answers[name] = question()
        except nvml.NVMLError as error:  # a virtual GPU answers some and not others
            answers[name] = f"unknown: {line(error)}"
    return answers


def lost() -> str | None:
    """Why the context is beyond use, after an illegal address say; None if it still works."""
    import cupy

    try:
        cupy.cuda.runtime.deviceSynchronize()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return line(error)
    return None


def _throttles(bits: int) -> list[str]:
    return [reason for bit, reason in THROTTLES.items() if bits & bit]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _version(number: int) -> str:
    """CUDA's 13020 as '13.2'."""
    return f"{number // 1000}.{number % 1000 // 10}"
