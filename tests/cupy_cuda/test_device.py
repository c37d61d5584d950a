"""Which device there is, why it cannot be used, and how it is doing. No compiler is needed."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from gemmbench_backends.cupy_cuda import CupyCuda, device
from gemmbench_backends.cupy_cuda.architecture import ARCHITECTURES

from .stand_in import State, make_cupy


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> State:
    """A device that works, unless a test says otherwise."""
    found = State()
    monkeypatch.setitem(sys.modules, "cupy", make_cupy(found))
    monkeypatch.setattr(device, "compiler_missing", lambda: None)
    monkeypatch.setattr(device, "compiler_version", lambda: "NVRTC 13.5")
    return found


def test_importing_gemmbench_never_imports_cupy() -> None:
    """Nor asking for the backends: it takes a second, and fails where CuPy is broken."""
    modules = [path.stem for path in Path(device.__file__).parent.glob("*.py")]
    names = [f"gemmbench_backends.cupy_cuda.{name}" for name in modules if name != "__init__"]
    code = (
        "import sys, importlib\nsys.modules['cupy'] = None  # whoever imports it raises\n"
        f"for name in {['gemmbench', 'gemmbench.cli', *names]}: importlib.import_module(name)\n"
        "from gemmbench_backends.cupy_cuda import CupyCuda\n"
        "for option in ('', 'cublas', 'cudnn', 'cufft'): CupyCuda(option)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_device_that_works_is_available(state: State) -> None:
    assert CupyCuda().unavailable() is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"driver": 0}, ("no NVIDIA driver", "nvidia-smi")),
        ({"driver": 12040}, ("supports CUDA 12.4", "needs 13.2", "cupy-cuda12x")),
        ({"devices": 0}, ("cudaErrorNoDevice", "nvidia-smi")),
        ({"arch": "sm_70"}, ("sm_70", "sm_75", "CUDA_VISIBLE_DEVICES")),
    ],
    ids=["no driver", "old driver", "no device", "unknown architecture"],
)
def test_each_thing_that_is_missing_has_its_reason(
    state: State, changes: dict[str, Any], words: tuple[str, ...]
) -> None:
    for name, value in changes.items():
        setattr(state, name, value)
    reason = CupyCuda().unavailable()
    assert reason is not None
    assert all(word in reason for word in words), reason


def test_without_a_compiler_the_reason_says_what_to_install(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "compiler_missing", lambda: "no NVRTC. pip install it")
    assert CupyCuda().unavailable() == "no NVRTC. pip install it"


def test_the_library_names_device_architecture_and_driver(state: State) -> None:
    assert CupyCuda().library() == ("cupy 0.stand-in, NVRTC 13.5, Stand-in sm_90, CUDA driver 13.2")


def test_the_limits_are_those_of_the_device_there_is(state: State) -> None:
    assert device.current_architecture().multiprocessors == 4
    assert device.current_architecture().threads == ARCHITECTURES["sm_90"].threads


class NVMLError(Exception):
    """Stands in for pynvml's own."""


def fake_nvml(throttled: int = 0x04 | 0x40) -> ModuleType:
    def refused(handle: object, what: int) -> int:
        raise NVMLError("Not Supported")

    nvml = ModuleType("pynvml")
    answers = SimpleNamespace(
        NVMLError=NVMLError, NVML_CLOCK_SM=1, NVML_CLOCK_MEM=2, NVML_TEMPERATURE_GPU=0,
        nvmlInit=lambda: None, nvmlShutdown=lambda: None,
        nvmlSystemGetDriverVersion=lambda: "580.82", nvmlDeviceGetTemperature=refused,
        nvmlDeviceGetHandleByPciBusId=lambda bus: bus,
        nvmlDeviceGetClockInfo=lambda handle, what: 1000 * what,
        nvmlDeviceGetPowerUsage=lambda handle: 250_500,
        nvmlDeviceGetPowerManagementLimit=lambda handle: 350_000,
        nvmlDeviceGetCurrentClocksThrottleReasons=lambda handle: throttled,
    )  # fmt: skip
    nvml.__dict__.update(vars(answers))
    return nvml


def test_the_state_has_driver_clocks_power_and_throttling(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml())
    assert device.device_state() == {
        "name": "Stand-in", "driver": "580.82", "sm_mhz": 1000, "memory_mhz": 2000,
        "power_watts": 250.5, "power_limit_watts": 350.0, "celsius": "unknown: Not Supported",
        "throttled": ["software power cap", "hardware thermal slowdown"],
    }  # fmt: skip


def test_a_device_that_nvml_refuses_is_told_with_what_is_known(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*bus: object) -> None:
        raise NVMLError("Insufficient Permissions")

    nvml = fake_nvml()
    nvml.__dict__.update(nvmlDeviceGetHandleByPciBusId=refuse, nvmlShutdown=refuse)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert device.device_state() == {
        "name": "Stand-in", "driver": "580.82", "unknown": "Insufficient Permissions",
    }  # fmt: skip


def test_without_nvml_the_state_says_how_to_get_it(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert device.device_state() == {"name": "Stand-in", "unknown": "pip install nvidia-ml-py"}


def test_the_names_of_nvml_are_real() -> None:
    pynvml = pytest.importorskip("pynvml", reason="needs nvidia-ml-py")
    assert [name for name in vars(fake_nvml()) if not name.startswith("__")
            and not hasattr(pynvml, name)] == []  # fmt: skip
