"""The kernel of C's last columns where they do not fill a register, as LLVM IR.

               vectors · lanes  tail                           vectors · lanes  tail
              ┌────────┬────────┬───┬────┐                    ┌────────┬────────┬───┐
    scratch   │ alpha · A · B   │   │ /  │  + beta · C  →  C  │        │        │   │
              └────────┴────────┴───┴────┘                    └────────┴────────┴───┘
                                      └ products of the panel's stray lanes, which nobody wants

The micro-kernel knows whole registers only, so it computes such a tile in a scratch of its own, and
this brings the lanes that exist to C. One kernel serves every register block of a dtype: variants
of the micro-kernel with an edge of their own took as long to compile as all the others together.

Source: Van Zee & van de Geijn 2015, "BLIS", whose micro-kernels leave the edge to a scratch, too.
"""

from gemmbench_backends.numba_cpu.emit import Function, Values, Vector


def edge_name(vector: Vector) -> str:
    """The symbol of the kernel."""
    return f"edge_{vector.suffix}"


def edge_ir(vector: Vector) -> str:
    """The module of `void name(rows, vectors, tail, from, ld_from, to, ld_to, scale)`.

    `rows` of `vectors` registers and `tail` lanes, fewer than all. Strides are bytes. The second
    element at `scale` is beta; `to` is not read where it is 0.
    """
    parameters = [("i64", "rows"), ("i64", "vectors"), ("i64", "tail"), ("ptr noalias", "from"),
                  ("i64", "ld_from"), ("ptr noalias", "to"), ("i64", "ld_to"),
                  ("ptr noalias", "scale")]  # fmt: skip
    f = Function(edge_name(vector), parameters, vector)
    beta = f.load_scalar(f.at("%scale", vector.itemsize))
    factor, mask = f.splat(beta), f.first_lanes("%tail")

    def rows(update: bool) -> None:
        def total(at: Values, mask: str | None) -> str:
            new = f.load(at["from"][1])
            return f.fma(f.load(at["to"][1], mask), factor, new) if update else new

        def vector_of_row(at: Values) -> Values:
            f.store(total(at, None), at["to"][1])
            return {key: ("ptr", f.at(where, vector.nbytes)) for key, (_, where) in at.items()}

        def row(start: Values) -> Values:
            end = f.loop("%vectors", start, vector_of_row)
            f.store_lanes(total(end, mask), end["to"][1], "%tail", mask)
            return {key: ("ptr", f.at(at, f"%ld_{key}")) for key, (_, at) in start.items()}

        f.loop("%rows", {"from": ("ptr", "%from"), "to": ("ptr", "%to")}, row)

    overwrite = f.new(f"fcmp oeq {vector.scalar} {beta}, 0.0")
    f.either(overwrite, lambda: rows(update=False), lambda: rows(update=True))
    return f.text()
