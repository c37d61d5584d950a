"""`gemmbench suite`: which suites there are, what is in them, and whether a file is one."""

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from gemmbench.cli.formats import format_option, print_formatted
from gemmbench.errors import GemmbenchError
from gemmbench.problem import ITEMSIZE, Problem, problem_to_data

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gemmbench.network_graph import Node
    from gemmbench.problem import Shape
    from gemmbench.suite import Layer, Suite
    from gemmbench_results.report.render import TableFormat, TextFormat

DESCRIPTION_WIDTH = 64  # characters; keeps the list of suites within a usual terminal


class SuiteName(click.ParamType):  # type: ignore[type-arg]  # not generic in click 8.1
    """A shipped suite or a YAML file; the shell completes both."""

    name = "suite"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The shipped names that begin so, else files."""
        from gemmbench.suite import shipped_suites

        names = [name for name in shipped_suites() if name.startswith(incomplete)]
        return [CompletionItem(name) for name in names] or [CompletionItem(incomplete, type="file")]


@click.group("suite")
def suite() -> None:
    """List, show and check suites of layers."""


@suite.command("list")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@format_option
def list_suites(as_json: bool, format_: "TableFormat") -> None:
    """List the suites that come with gemmbench.

    Example: gemmbench suite list
    """
    from gemmbench.suite import load_suite, shipped_suites

    suites = [load_suite(name) for name in shipped_suites()]
    data = [_suite_data(found) for found in suites]
    rows = [
        [found.name, str(len(found.layers)), f"{found.flops() / 1e9:.2f}", found.description]
        for found in suites
    ]
    widths = [None, None, None, DESCRIPTION_WIDTH]
    print_formatted(
        "json" if as_json else format_,
        lambda style: _table(["suite", "layers", "GFLOP", "description"], rows, style, widths),
        lambda: {"schema": 1, "suites": data},
        lambda: data,
    )


@suite.command("show")
@click.argument("name", metavar="SUITE", type=SuiteName())
@click.option(
    "--only", metavar="GLOB", multiple=True, help="Show only the layers whose names match."
)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    show_default="the suite's",
    help="Override the batch of every layer that has one.",
)
@click.option(
    "--dtype",
    type=click.Choice(list(ITEMSIZE)),
    show_default="the suite's",
    help="Override the type of the elements.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@format_option
def show(
    name: str,
    only: str | None,
    batch: int | None,
    dtype: str | None,
    as_json: bool,
    format_: "TableFormat",
) -> None:
    """Show the layers of SUITE, the products they become, their work and their memory.

    MFLOP, MB (operands read once, output written once) and FLOP/B are of one call; im2col MB is
    of one image; count is how often the network repeats the layer.

    Example: gemmbench suite show alexnet --batch 1
    """
    from gemmbench.suite import load_suite, select_layers

    found = load_suite(name, batch=batch, dtype=dtype)
    shapes = found.network().shapes if found.nodes else {}
    if only:
        found = select_layers(found, only)
    layers = [_layer_data(layer) for layer in found.layers]
    cheap = [_cheap_data(node, shapes) for node in found.nodes if node.cheap]
    listed = {"layers": layers, **({"cheap_layers": cheap} if cheap else {})}
    print_formatted(
        "json" if as_json else format_,
        lambda style: _layers_table(found, shapes, style),
        lambda: {"schema": 1, **_suite_data(found), **listed},
        lambda: layers,
    )


def _layers_table(found: "Suite", shapes: "Mapping[str, Shape]", style: "TextFormat") -> str:
    """What the suite is, its layers, and their sum."""
    head = [f"{found.name}: {found.description}".removesuffix(": ")]
    head += [f"Source: {found.source}"] if found.source else []
    columns = ["layer", "kind", "operands", "GEMM m×k×n", "MFLOP", "MB", "FLOP/B"]
    columns += ["im2col MB", "count"]
    table = _table(columns, _rows(found, shapes), style)
    dtypes = ", ".join(sorted({layer.problem.dtype for layer in found.layers}))
    work = f"{found.flops() / 1e9:.2f} GFLOP in all, {dtypes}"
    total = f"{_layers_text(found)}, {work}".rstrip(", ")
    return "\n\n".join(["\n".join(head), table, total])


@suite.command("validate")
@click.argument("paths", metavar="SUITE...", nargs=-1, required=True, type=SuiteName())
@click.pass_context
def validate(context: click.Context, paths: tuple[str, ...]) -> None:
    """Check each SUITE, one line each; exit code 2 if any is wrong.

    Example: gemmbench suite validate my_suite.yaml
    """
    from gemmbench.suite import load_suite

    wrong = 0
    for path in paths:
        try:
            click.echo(f"{path}: ok, {_layers_text(load_suite(path))}")
        except GemmbenchError as error:
            click.echo(f"gemmbench: error: {error}", err=True)
            wrong += 1
    if wrong:
        context.exit(2)


@suite.command("schema")
def schema() -> None:
    """Print the format of a suite file as JSON Schema, for an editor to complete.

    Example: gemmbench suite schema > suite.schema.json
    """
    from gemmbench.suite import suite_schema

    _print_json(suite_schema())


def _suite_data(found: "Suite") -> dict[str, Any]:
    return {
        "suite": found.name,
        "description": found.description,
        "source": found.source,
        "origin": found.origin,
        "layer_count": len(found.layers),
        "flops": found.flops(),
    }


def _layer_data(layer: "Layer") -> dict[str, Any]:
    return {
        "layer": layer.name,
        "problem": problem_to_data(layer.problem),
        "gemm": dataclasses.asdict(layer.problem.gemm()),
        "flops": layer.problem.flops(),
        "minimal_bytes": layer.problem.minimal_bytes(),
        "intensity": layer.problem.flops() / layer.problem.minimal_bytes(),
        "im2col_bytes": layer.problem.im2col_bytes(),
        "count": layer.count,
        "source": layer.source,
        "from": list(layer.reads),
    }


def _rows(found: "Suite", shapes: "Mapping[str, Shape]") -> list[list[str]]:
    """A row a layer, in the order of the file; a cheap one shows what it gives."""
    layers = {layer.name: layer for layer in found.layers}
    if not found.nodes:
        return [_layer_row(layer) for layer in found.layers]
    return [
        _cheap_row(node, shapes) if node.cheap else _layer_row(layers[node.name])
        for node in found.nodes
    ]


def _cheap_row(node: "Node", shapes: "Mapping[str, Shape]") -> list[str]:
    return [node.name, node.operation.kind, "×".join(map(str, shapes[node.name])), *[""] * 6]


def _cheap_data(node: "Node", shapes: "Mapping[str, Shape]") -> dict[str, Any]:
    from gemmbench.network_graph import node_to_data

    data = node_to_data(node)
    return {
        "layer": node.name,
        "cheap": data["operation"],
        "from": data["reads"],
        "output": list(shapes[node.name]),
    }


def _layer_row(layer: "Layer") -> list[str]:
    problem = layer.problem
    im2col = problem.im2col_bytes()
    return [
        layer.name,
        problem.kind,
        _operands(problem),
        str(problem.gemm()),
        f"{problem.flops() / 1e6:.2f}",
        f"{problem.minimal_bytes() / 1e6:.2f}",
        f"{problem.flops() / problem.minimal_bytes():.1f}",
        f"{im2col / 1e6:.2f}" if im2col else "",
        str(layer.count),
    ]


def _operands(problem: Problem) -> str:
    """The shapes of the operands, then what is not as usual: '… stride 4×4, groups 2'."""
    shapes = problem.operand_shapes().values()
    text = " · ".join("×".join(map(str, shape)) for shape in shapes)
    unusual = [
        f"{field.name} {'×'.join(map(str, value)) if isinstance(value, tuple) else value}"
        for field in dataclasses.fields(problem)
        if field.name != "dtype"
        and field.default is not dataclasses.MISSING
        and (value := getattr(problem, field.name)) != field.default
    ]
    return f"{text} {', '.join(unusual)}".rstrip()


def _layers_text(found: "Suite") -> str:
    cheap = sum(node.cheap for node in found.nodes)
    besides = f" and {cheap} cheap one{'s'[: cheap - 1]}" if cheap else ""
    return f"{len(found.layers)} layer{'s' if len(found.layers) != 1 else ''}{besides}"


def _print_json(data: dict[str, Any]) -> None:
    click.echo(json.dumps(data, indent=2, ensure_ascii=False))


def _table(
    headers: list[str],
    rows: list[list[str]],
    style: "TextFormat",
    widths: list[int | None] | None = None,
) -> str:
    from tabulate import tabulate

    from gemmbench_results.report.render import table_text

    sides = ["left" if _is_text(column) else "right" for column in zip(*rows, strict=True)]
    if style == "markdown" or widths is None:
        return table_text(dict(zip(headers, sides, strict=True)), rows, style)
    return tabulate(rows, headers, disable_numparse=True, colalign=sides, maxcolwidths=widths)


def _is_text(column: tuple[str, ...]) -> bool:
    return not all(cell.replace(".", "").isdigit() or not cell for cell in column)
