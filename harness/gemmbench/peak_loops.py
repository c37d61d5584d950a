"""The loops of the roofs, in LLVM IR, compiled for whatever CPU this is.

IR is the one way to say "this many independent fused multiply-adds on full vectors" and get exactly
that on every CPU.
"""

import ctypes
from typing import Any

READ_ACCUMULATORS = 8  # vectors that the reading loop sums at a time
_ATTRIBUTES = 'nounwind "prefer-vector-width"="512" "min-legal-vector-width"="512"'


class Compiled:
    """A function `f` from LLVM IR, called through ctypes, which releases the GIL."""

    def __init__(self, ir: str, arguments: tuple[Any, ...]) -> None:
        import llvmlite.binding as llvm

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        features = llvm.get_host_cpu_features()
        features["prefer-256-bit"] = False
        target = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=features.flatten(), opt=3, jit=True
        )
        module = llvm.parse_assembly(ir)
        module.verify()
        self._engine = llvm.create_mcjit_compiler(module, target)
        self._engine.finalize_object()
        address = self._engine.get_function_address("f")
        self.call = ctypes.CFUNCTYPE(ctypes.c_double, *arguments)(address)


def fma_ir(lane: str, lanes: int, accumulators: int) -> str:
    """double f(i64 iterations): acc[j] = acc[j]·c + d on every accumulator, each iteration."""
    vector = f"<{lanes} x {lane}>"
    suffix = f"v{lanes}f{32 if lane == 'float' else 64}"
    ones, scale = (_splat(lane, lanes, value) for value in ("1.0", "0.5"))
    phis = "\n".join(
        f"  %a{j} = phi {vector} [ {ones}, %entry ], [ %n{j}, %loop ]" for j in range(accumulators)
    )
    fmas = "\n".join(
        f"  %n{j} = call {vector} @llvm.fma.{suffix}({vector} %a{j}, {vector} {scale}, "
        f"{vector} {ones})"
        for j in range(accumulators)
    )
    return f"""
declare {vector} @llvm.fma.{suffix}({vector}, {vector}, {vector})
define double @f(i64 %count) {_ATTRIBUTES} {{
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
{phis}
{fmas}
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %count
  br i1 %more, label %loop, label %done
done:
{_total(vector, lane, "n", accumulators)}
}}
"""


def read_ir(lanes: int) -> str:
    """double f(ptr data, i64 blocks, i64 passes): the sum of blocks × 8 vectors, pass by pass."""
    vector = f"<{lanes} x float>"
    sums = "\n".join(
        f"  %b{j} = phi {vector} [ zeroinitializer, %entry ], [ %n{j}, %passed ]"
        for j in range(READ_ACCUMULATORS)
    )
    phis = "\n".join(
        f"  %a{j} = phi {vector} [ %b{j}, %pass ], [ %n{j}, %loop ]"
        for j in range(READ_ACCUMULATORS)
    )
    adds = "\n".join(
        f"  %p{j} = getelementptr {vector}, ptr %at, i64 {j}\n"
        f"  %v{j} = load {vector}, ptr %p{j}, align 4\n"
        f"  %n{j} = fadd {vector} %a{j}, %v{j}"
        for j in range(READ_ACCUMULATORS)
    )
    return f"""
define double @f(ptr %data, i64 %blocks, i64 %passes) {_ATTRIBUTES} {{
entry:
  br label %pass
pass:
  %p = phi i64 [ 0, %entry ], [ %pnext, %passed ]
{sums}
  br label %loop
loop:
  %i = phi i64 [ 0, %pass ], [ %next, %loop ]
  %at = phi ptr [ %data, %pass ], [ %after, %loop ]
{phis}
{adds}
  %after = getelementptr {vector}, ptr %at, i64 {READ_ACCUMULATORS}
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %blocks
  br i1 %more, label %loop, label %passed
passed:
  %pnext = add i64 %p, 1
  %again = icmp ult i64 %pnext, %passes
  br i1 %again, label %pass, label %done
done:
{_total(vector, "float", "n", READ_ACCUMULATORS)}
}}
"""


def _splat(lane: str, lanes: int, value: str) -> str:
    return "<" + ", ".join([f"{lane} {value}"] * lanes) + ">"


def _total(vector: str, lane: str, prefix: str, accumulators: int) -> str:
    """IR that adds the accumulators and returns lane 0, so that no FMA is dead code."""
    lines = [f"  %t1 = fadd {vector} %{prefix}0, %{prefix}1"]
    lines += [f"  %t{j} = fadd {vector} %t{j - 1}, %{prefix}{j}" for j in range(2, accumulators)]
    lines.append(f"  %lane = extractelement {vector} %t{accumulators - 1}, i32 0")
    if lane == "float":
        lines.append("  %result = fpext float %lane to double")
    else:
        lines.append("  %result = fadd double %lane, 0.0")
    return "\n".join([*lines, "  ret double %result"])
