"""The simulator raises on what a device would get wrong some of the time. PTX written by hand."""

import numpy as np
import pytest

from .simulator import Kernel, PtxError
from .simulator.arithmetic import compile_compute
from .simulator.parse import Instruction

HEAD = """
.visible .entry k(
    .param .u64 k_param_0,
    .param .u32 k_param_1
)
.maxntid 64, 1, 1
{
    .reg .b32 %r<9>;
    .shared .align 4 .b8 tile[256];
    ld.param.u64 %rd1, [k_param_0];
    ld.param.u32 %r1, [k_param_1];
    cvta.to.global.u64 %rd2, %rd1;
    mov.u32 %r2, %tid.x;
    shl.b32 %r3, %r2, 2;
    mov.u32 %r4, tile;
    add.s32 %r5, %r4, %r3;
    mul.wide.s32 %rd3, %r2, 4;
    add.s64 %rd4, %rd2, %rd3;
    mov.f32 %f1, 0f3F800000;
"""


def run(body: str, threads: int = 64, size: int = 64, number: int = 0) -> np.ndarray:
    """What the kernel leaves in an array of `size` floats, NaN before."""
    out = np.full(size, np.nan, np.float32)
    kernel = Kernel(f"{HEAD}{body}\n ret;\n}}", "k")
    kernel.launch((1, 1, 1), (threads, 1, 1), (out, np.int32(number)))
    return out


def test_each_thread_writes_its_element():
    np.testing.assert_array_equal(run("st.global.f32 [%rd4], %f1;"), np.ones(64, np.float32))


def test_threads_that_part_meet_again():
    body = """
    setp.lt.s32 %p1, %r2, 20;
    @%p1 bra $L1;
    add.f32 %f1, %f1, %f1;
    bra.uni $L2;
$L1:
    add.f32 %f1, %f1, %f1;
    add.f32 %f1, %f1, %f1;
$L2:
    bar.sync 0;
    st.global.f32 [%rd4], %f1;"""
    expected = np.where(np.arange(64) < 20, 4, 2).astype(np.float32)
    np.testing.assert_array_equal(run(body), expected)


WRITE_THEN_READ = """
    st.shared.f32 [%r5], %f1;
    {barrier}
    ld.shared.f32 %f2, [tile];
    st.global.f32 [%rd4], %f2;"""


def test_what_was_written_before_a_barrier_may_be_read():
    assert (run(WRITE_THEN_READ.format(barrier="bar.sync 0;")) == 1).all()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (WRITE_THEN_READ.format(barrier=""), "race: ld.shared.f32 .* another thread wrote"),
        ("ld.shared.f32 %f2, [tile]; st.shared.f32 [%r5], %f1;", "another thread read"),
        ("st.shared.f32 [tile], %f1;", "two threads"),
        ("st.shared.f32 [%r5+256], %f1;", "outside shared memory"),
        ("st.shared.f32 [%r5+2], %f1;", "misaligned"),
        ("st.global.f32 [%rd4+4], %f1;", "element 64 of 64"),
        ("st.global.f32 [%rd4+-4], %f1;", "element -1 of 64|points nowhere"),
        ("st.global.f32 [%rd2], %f1;", "two threads"),
        ("st.global.f32 [%rd3], %f1;", "points nowhere"),
        ("ld.global.v4.f32 {%f2, %f3, %f4, %f5}, [%rd4];", "misaligned"),
        ("add.f32 %f2, %f9, %f1;", "%f9 is read before"),
        ("setp.lt.s32 %p1, %r2, 8; @%p1 bra $L1; bar.sync 0; $L1:", "left the kernel"),
        ("setp.lt.s32 %p1, %r2, 8; @%p1 bra $L1; bar.sync 0; bra.uni $L2;"
         "$L1: bar.sync 0; $L2:", "different barriers"),
        ("$L1: bra.uni $L1;", "without end"),
        ("div.s32 %r6, %r2, %r2;", "divided by zero"),
        ("shl.b32 %r6, %r2, 32;", "shift"),
        ("fma.rn.f64 %fd1, %fd1, %fd1, %fd1;", "unknown instruction fma.rn.f64"),
        ("mma.sync.aligned.m16n8k8 %f1, %f1, %f1, %f1;", "unknown instruction mma"),
        ("shfl.sync.bfly.b32 %r6, %r2, 1, 31, -1;", "unknown instruction shfl"),
        ("atom.global.add.f32 %f2, [%rd4], %f1;", "unknown instruction atom"),
        ("cp.async.ca.shared.global [%r5], [%rd4], 12;", "does not exist"),
        ("cp.async.cg.shared.global [%r5], [%rd4], 4;", "does not exist"),
        ("cp.async.ca.shared.global [%r5], [%rd4], 4; ld.shared.f32 %f2, [%r5];", "in flight"),
        ("cp.async.ca.shared.global [%r5], [%rd4], 4; cp.async.commit_group;"
         "cp.async.wait_group 1; ld.shared.f32 %f2, [%r5];", "in flight"),
        ("cp.async.ca.shared.global [%r5], [%rd4], 4; cp.async.wait_group 0;"
         "ld.shared.f32 %f2, [%r5];", "in flight"),
        ("cp.async.ca.shared.global [%r5], [%rd4], 4; cp.async.commit_group;"
         "cp.async.wait_group 0; ld.shared.f32 %f2, [tile];", "another thread wrote"),
        ("cp.async.ca.shared.global [%r5], [%rd4+256], 4;", "outside its array"),
    ],
)  # fmt: skip
def test_what_must_not_happen_raises(body: str, message: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("cupy_cuda.simulator.launch.MOST_STEPS", 1000)
    with pytest.raises(PtxError, match=message):
        run(body)


def test_a_copy_arrives_when_it_was_waited_for_and_what_is_not_read_is_zero():
    body = """
    st.global.f32 [%rd4], %f1;
    cp.async.ca.shared.global [%r5], [%rd4], 4, %r1;
    cp.async.commit_group;
    cp.async.wait_group 0;
    ld.shared.f32 %f2, [%r5];
    st.global.f32 [%rd4], %f2;"""
    assert (run(body, number=4) == 1).all()
    assert (run(body, number=0) == 0).all()


def test_a_launch_larger_than_compiled_for_is_refused():
    with pytest.raises(PtxError, match="compiled for 64"):
        run("", threads=65)


def test_an_argument_shorter_than_the_kernel_reads_is_refused():
    head = HEAD.replace(".param .u32 k", ".param .u64 k").replace("u32 %r1, [k", "u64 %rd9, [k")
    kernel = Kernel(f"{head} ret;\n}}", "k")
    out = np.zeros(64, np.float32)
    kernel.launch((1, 1, 1), (1, 1, 1), (out, np.int64(1)))
    with pytest.raises(PtxError, match="k_param_1: got 4 bytes, the kernel reads 8"):
        kernel.launch((1, 1, 1), (1, 1, 1), (out, np.int32(1)))


def test_arguments_are_counted():
    with pytest.raises(PtxError, match="takes 2 arguments, got 0"):
        Kernel(f"{HEAD} ret;\n}}", "k").launch((1, 1, 1), (1, 1, 1), ())


@pytest.mark.parametrize(
    ("opcode", "operands", "expected"),
    [
        ("div.s32", (-7, 2), -3), ("rem.s32", (-7, 2), -1), ("mul.hi.s32", (-2, 3), -1),
        ("mul.wide.s32", (-2, 3), -6), ("mul.wide.u32", (-2, 3), 3 * (2**32 - 2)),
        ("shr.s32", (-8, 1), -4), ("shr.u32", (-8, 1), 2**31 - 4), ("min.s32", (-8, 1), -8),
        ("mad.lo.s32", (2, 3, 4), 10), ("setp.lt.s32", (-1, 0), True),
        ("setp.lt.u32", (-1, 0), False), ("not.b32", (0,), 2**32 - 1), ("neg.s32", (5,), -5),
        ("cvt.s64.s32", (-1,), -1), ("cvt.u64.u32", (-1,), 2**32 - 1), ("sub.s32", (2, 3), -1),
    ],
)  # fmt: skip
def test_integers_behave_as_in_the_ptx_manual(opcode: str, operands: tuple, expected: object):
    compiled = compile_compute(Instruction(opcode, ("%d", *map(str, operands))), {})
    assert compiled is not None
    with np.errstate(all="ignore"):
        assert compiled[1]({}) == expected


def test_a_multiply_add_rounds_once():
    compiled = compile_compute(Instruction("fma.rn.f32", ("%d", "%a", "%b", "%c")), {})
    x = np.float32(1 + 2**-12)
    registers = {"%a": x, "%b": x, "%c": np.float32(-1)}
    assert compiled is not None
    assert compiled[1](registers) == np.float32(2**-11 + 2**-24)
