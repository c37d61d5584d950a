"""LLVM IR to machine code for this CPU, kept on disk so that a second process compiles nothing.

A cache entry is one object file. Its folder names everything that decides what the code is: CPU,
features, LLVM. Its name is the digest of the IR itself, so a changed generator never meets an
old entry. An entry that does not load is rebuilt.
"""

import hashlib
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm

_SEAL_BYTES = 32  # a SHA-256 in front of each object: a torn or foreign file is recognised


def cache_folder() -> Path:
    """Where object files are kept: GEMMBENCH_CACHE, XDG_CACHE_HOME/gemmbench or ~/.cache."""
    named = os.environ.get("GEMMBENCH_CACHE")
    if named:
        return Path(named) / "kernels"
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "gemmbench" / "kernels"


def kernel_address(name: str, ir: str) -> int:
    """The address of function `name`, compiled from the module `ir`; callable while we live."""
    address = _loaded.get(name)
    if address is None:
        address = _loaded[name] = _load(name, ir)
    return address


def assembly(ir: str, triple: str, cpu: str, features: str) -> str:
    """`ir`, verified, as assembly text for a machine that need not be this one."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = llvm.Target.from_triple(triple)
    machine = target.create_target_machine(cpu=cpu, features=features, opt=3)
    module = llvm.parse_assembly(ir)
    module.verify()
    return str(machine.emit_assembly(module))


def host_cpu() -> tuple[str, str]:
    """LLVM's name of this CPU and the features it may use.

    The name only picks a scheduling model: a virtual machine may report a wrong one, so what may
    be executed is decided by the feature list, which is read from the CPU itself.
    """
    features = llvm.get_host_cpu_features()
    features["prefer-256-bit"] = False
    return llvm.get_host_cpu_name(), features.flatten()


_loaded: dict[str, int] = {}


def _load(name: str, ir: str) -> int:
    path = _entry_folder() / f"{hashlib.sha256(ir.encode()).hexdigest()[:32]}.o"
    code = _read_entry(path)
    if code is None:
        code = _compile(ir)
        _write_entry(path, code)
    engine = _engine()
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return int(engine.get_function_address(name))


def _compile(ir: str) -> bytes:
    return bytes(_target_machine().emit_object(llvm.parse_assembly(ir)))


def _read_entry(path: Path) -> bytes | None:
    try:
        sealed = path.read_bytes()
    except OSError:
        return None
    seal, code = sealed[:_SEAL_BYTES], sealed[_SEAL_BYTES:]
    return code if code and hashlib.sha256(code).digest() == seal else None


def _write_entry(path: Path, code: bytes) -> None:
    """Write beside the final name, then rename: a reader sees all of an entry or none."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(hashlib.sha256(code).digest() + code)
        Path(file.name).replace(path)
    except OSError:  # a read-only home costs compile time, nothing else
        return


@cache
def _entry_folder() -> Path:
    environment = (*host_cpu(), llvmlite.__version__, llvm.llvm_version_info)
    digest = hashlib.sha256(repr(environment).encode()).hexdigest()[:16]
    return cache_folder() / digest


@cache
def _target_machine() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    cpu, features = host_cpu()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(cpu=cpu, features=features, opt=3, jit=True)


@cache
def _engine() -> Any:
    """One engine for the process: it owns the memory of every kernel."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    cpu, features = host_cpu()
    target = llvm.Target.from_default_triple()
    machine = target.create_target_machine(cpu=cpu, features=features, opt=3, jit=True)
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
