"""Products and fully connected layers made ready to run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gemmbench.backend import Operands
from gemmbench.problem import Gemm, Linear
from gemmbench.space import Config
from gemmbench_backends.numba_cpu import driver
from gemmbench_backends.numba_cpu.emit import Vector
from gemmbench_backends.numba_cpu.plan import BY_COLUMNS
from gemmbench_backends.numba_cpu.product import (
    Array,
    Blocking,
    Matrix,
    Plan,
    Runner,
    Shape,
    dots_plan,
    new_plan,
    rows_plan,
    tiled_plan,
)
from gemmbench_backends.numba_cpu.threads import runner


@dataclass(slots=True)
class Ready:
    """A contender ready to run: its steps in order, and the memory they work on."""

    steps: tuple[Runner, ...]
    operands: Operands
    plans: tuple[Plan, ...]
    stages: Mapping[str, Callable[[], None]] = field(default_factory=dict)

    @property
    def workspace_bytes(self) -> int:
        """Memory beyond the operands."""
        return sum(plan.workspace_bytes() for plan in self.plans)

    def run(self) -> None:
        """Compute once."""
        for step in self.steps:
            step()

    def output(self) -> Array:
        """The answer of the last run."""
        return self.operands["out"]


def blocking(config: Config) -> Blocking:
    """The part of a config that says how a tiled product is cut."""
    items, rows, columns = (int(size) for size in str(config["grid"]).split("x"))
    return Blocking(
        mr=int(config["mr"]), nv=int(config["nv"]), ku=int(config["ku"]), kc=int(config["kc"]),
        mc=int(config["mc"]), nc=int(config["nc"]), order=str(config["order"]),
        pack_a=str(config["pack_a"]), pack_b=str(config["pack_b"]), grid=(items, rows, columns),
    )  # fmt: skip


def matrix(array: Array, step: int = 0) -> Matrix:
    """A row-major array as the driver sees it."""
    return Matrix(int(array.ctypes.data), array.shape[-1] * array.itemsize, step)


def prepare_gemm(problem: Gemm, config: Config, operands: Operands, vector: Vector) -> Ready:
    """C = A·B."""
    shape = Shape(problem.m, problem.k, problem.n)
    a, b, c = (matrix(operands[name]) for name in ("a", "b", "out"))
    cut = blocking(config)
    if config.get("path") == "rows":
        plan = rows_plan(shape, vector, cut, a, b, c)
        return _ready(
            ((plan, runner(driver.multiply_rows, plan.address, cut.threads())),), operands
        )
    if config.get("path") != "dots":
        return _ready((_multiply(tiled_plan(shape, vector, cut, a, b, c), cut),), operands)
    flipping = _flip(vector, cut, b, (problem.k, problem.n))
    bt = Matrix(int(flipping[0].record["flip_to"][0]), int(flipping[0].record["flip_ld_to"][0]))
    strides = Matrix(c.address, c.ld, vector.itemsize)
    dots = _dots(dots_plan(shape, vector, cut, a, bt, strides), cut)
    return _ready((flipping, dots), operands)


def prepare_linear(problem: Linear, config: Config, operands: Operands, vector: Vector) -> Ready:
    """out = x·wᵀ, which reads w once and in its own order: as outᵀ = w·xᵀ unless w is prepared."""
    x, w, out = (matrix(operands[name]) for name in ("x", "w", "out"))
    if config["weights"] == "prepared":
        return _prepared_linear(problem, config, operands, vector)
    shape = Shape(problem.out_features, problem.in_features, problem.batch)
    cut = blocking(config)
    if config.get("path") == "dots":
        strides = Matrix(out.address, vector.itemsize, out.ld)
        return _ready((_dots(dots_plan(shape, vector, cut, w, x, strides), cut),), operands)
    ld = -(-shape.n // vector.lanes) * vector.nbytes
    flipping = _flip(vector, cut, Matrix(0, ld), (shape.m, shape.n), out)
    target = Matrix(int(flipping[0].record["flip_from"][0]), ld)
    plan = tiled_plan(shape, vector, cut, w, x, target, BY_COLUMNS)
    return _ready((_multiply(plan, cut), flipping), operands)


def _prepared_linear(problem: Linear, config: Config, operands: Operands, vector: Vector) -> Ready:
    """out = x·wᵀ with wᵀ packed ahead into the panels that the micro-kernel streams."""
    cut, shape = blocking(config), Shape(problem.batch, problem.in_features, problem.out_features)
    x, w, out = (matrix(operands[name]) for name in ("x", "w", "out"))
    plan = tiled_plan(shape, vector, cut, x, w, out, BY_COLUMNS)
    vectors = -(-shape.n // vector.lanes)  # of which a lone column takes less
    panels = plan.workspace(vectors * vector.nbytes * shape.k)
    plan.set(buffer_b=panels)
    runner(driver.pack_weights, plan.address, 1)()
    plan.set(b=panels)
    return _ready((_multiply(plan, cut),), operands)


Step = tuple[Plan, Runner]


def _ready(steps: tuple[Step, ...], operands: Operands) -> Ready:
    return Ready(tuple(run for _, run in steps), operands, tuple(plan for plan, _ in steps))


def _multiply(plan: Plan, cut: Blocking) -> Step:
    return plan, runner(driver.multiply, plan.address, cut.threads())


def _dots(plan: Plan, cut: Blocking) -> Step:
    return plan, runner(driver.multiply_dots, plan.address, cut.threads())


def _flip(
    vector: Vector, cut: Blocking, source: Matrix, size: tuple[int, int], to: Matrix | None = None
) -> Step:
    """A transposition of (rows, columns), from or to memory of its own where none is given."""
    plan = new_plan(vector, cut.grid)
    rows, columns = size
    if to is None:
        ld = -(-rows // vector.lanes) * vector.nbytes
        to = Matrix(plan.workspace(columns * ld), ld)
    address = source.address or plan.workspace(rows * source.ld)
    plan.set(flip_from=address, flip_ld_from=source.ld, flip_rows=rows, flip_columns=columns)
    plan.set(flip_to=to.address, flip_ld_to=to.ld)
    return plan, runner(driver.flip, plan.address, cut.threads())
