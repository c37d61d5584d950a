"""Suites: named lists of layers, found by name or path and read from one YAML file each.

What leaves this module is plain values, a `Suite` of `Layer`s, checked to the last size; the
format itself is in `suite_format`.
"""

import dataclasses
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gemmbench.cheap import Cheap
from gemmbench.cheap_format import CheapModel
from gemmbench.errors import GemmbenchError, did_you_mean
from gemmbench.network_graph import GraphError, Network, Node, network_of
from gemmbench.problem import Problem, ProblemError
from gemmbench.strict_yaml import read_yaml
from gemmbench.suite_format import DefaultsModel, LayerModel, SuiteModel

Place = tuple[int | str, ...]  # keys and indices from the top of the file


@dataclass(frozen=True, slots=True)
class Layer:
    """A problem of a suite, where its shape comes from, and how often the network repeats it.

    `reads` names the layers whose outputs it reads; () means the one before. The thresholds are
    what `check` holds it to, as fractions; None where the suite says nothing.
    """

    name: str
    problem: Problem
    source: str
    count: int = 1
    reads: tuple[str, ...] = ()
    min_effect: float | None = None
    max_regression: float | None = None


@dataclass(frozen=True, slots=True)
class Suite:
    """A named list of layers; `origin` is the file it was read from, as messages show it.

    `layers` are the products, which are raced. Where the file lists cheap layers too it is a
    network, and `nodes` are all of its layers in their order.
    """

    name: str
    description: str
    source: str
    layers: tuple[Layer, ...]
    origin: str
    max_error: float | None = None  # largest error over rms(answer) that may win; None: any
    nodes: tuple[Node, ...] = ()  # () where it lists products only

    def network(self) -> Network:
        """The layers as a network that can run. Raises GemmbenchError where they are none."""
        nodes = self.nodes or [
            Node(layer.name, layer.problem, layer.reads, layer.count) for layer in self.layers
        ]
        try:
            return network_of(nodes)
        except GraphError as error:
            ships = f"{self.name}_network"
            if ships in shipped_suites():
                raise GemmbenchError(
                    f"suite {self.name!r}: lists layers to race, it isn't a network. Use {ships}, "
                    "which ships."
                ) from error
            raise GemmbenchError(
                f"{self.origin}: isn't a network: {error} To race its layers: gemmbench run."
            ) from error

    def flops(self) -> int:
        """Floating-point operations of all layers, each as often as the network repeats it."""
        return sum(layer.count * layer.problem.flops() for layer in self.layers)


class _PlacedError(Exception):
    """What is wrong with a file that has the right form, and where."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(place, message)
        self.place = place
        self.message = message


def load_suite(
    name_or_path: str | Path, *, batch: int | None = None, dtype: str | None = None
) -> Suite:
    """The suite that `name_or_path` means; `batch` and `dtype` override those of every layer.

    A `gemm` has no batch and keeps its shape. Raises GemmbenchError, one line that says where.
    """
    overrides = _overrides(batch, dtype)
    path = find_suite(name_or_path)
    shown = _shown(path)
    data = read_yaml(path, shown)
    try:
        model = SuiteModel.model_validate(data)
        nodes = tuple(_nodes(model, overrides))
        layers = tuple(_layers(model, nodes))
    except ValidationError as error:
        raise GemmbenchError(f"{shown}: {_first_of(error, data)}") from error
    except _PlacedError as error:
        raise GemmbenchError(f"{shown}: {_where(error.place, data)}{error.message}") from error
    # What a suite says of its batch is of its own.
    here = f"; here batch {batch}" if batch is not None and model.description else ""
    named = (model.suite, model.description + here, model.source)
    listed = nodes if any(node.cheap for node in nodes) else ()
    return Suite(*named, layers, shown, model.max_error, listed)


def shipped_suites() -> dict[str, Path]:
    """The suites that come with gemmbench: name to file, sorted by name."""
    return {path.stem: path for path in sorted(_suites_folder().glob("*.yaml"))}


def find_suite(name_or_path: str | Path) -> Path:
    """The file that is meant: with a separator or a YAML suffix a path, else a shipped name.

    Raises GemmbenchError, with the nearest names, where there is no such file or suite.
    """
    name = os.fspath(name_or_path)
    path = Path(name)
    is_path = os.sep in name or path.suffix in (".yaml", ".yml")
    if is_path and _exists(path):
        return path
    shipped = shipped_suites()
    if name.removesuffix(".yaml") in shipped:
        return shipped[name.removesuffix(".yaml")]
    known = len(shipped)  # all are told
    if not is_path and _exists(path):
        what = "is a folder" if path.is_dir() else "is not a .yaml file"
        raise GemmbenchError(
            f"{name}: {what}. A suite is a .yaml file, or ships with gemmbench."
            f"{did_you_mean(name, shipped, known)}"
        )
    if not is_path:
        raise GemmbenchError(
            f"suite {name!r}: not shipped with gemmbench.{did_you_mean(name, shipped, known)} "
            f"A file is named with its suffix, such as {name}.yaml."
        )
    beside = [str(file) for file in path.parent.glob("*.yaml")]
    raise GemmbenchError(f"{name}: no such file.{did_you_mean(name, [*beside, *shipped], known)}")


def select_layers(suite: Suite, globs: Sequence[str]) -> Suite:
    """`suite` with only the layers whose names match one of `globs`; upper and lower case differ.

    Raises GemmbenchError, with the nearest name, for a glob that matches none.
    """
    names = [layer.name for layer in suite.layers] + [node.name for node in suite.nodes]
    for glob in globs:
        if not any(fnmatchcase(name, glob) for name in names):
            hint = did_you_mean(glob, (layer.name for layer in suite.layers))
            raise GemmbenchError(f"suite {suite.name!r}: no layer matches {glob!r}.{hint}")

    def chosen(name: str) -> bool:
        return any(fnmatchcase(name, glob) for glob in globs)

    layers = tuple(layer for layer in suite.layers if chosen(layer.name))
    nodes = tuple(node for node in suite.nodes if chosen(node.name))
    return dataclasses.replace(suite, layers=layers, nodes=nodes)


def check_raced(suite: Suite) -> None:
    """Raise GemmbenchError where nothing of `suite` can be raced: only products are."""
    if not suite.layers:
        raise GemmbenchError(
            f"suite {suite.name!r}: only cheap layers were chosen, and those are not raced. "
            "Choose a conv2d, a linear or a gemm; 'gemmbench network' times the others."
        )


def suite_schema() -> dict[str, Any]:
    """The format of a suite file as JSON Schema, for editors to check and complete it."""
    schema = SuiteModel.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _overrides(batch: int | None, dtype: str | None) -> DefaultsModel:
    given = {"batch": batch, "dtype": dtype}
    try:
        return DefaultsModel.model_validate({k: v for k, v in given.items() if v is not None})
    except ValidationError as error:
        raise GemmbenchError(_first_of(error, given)) from error


def _nodes(model: SuiteModel, overrides: DefaultsModel) -> Iterator[Node]:
    """The layers of `model` in their order, cheap ones included. Raises _PlacedError.

    A file that lists cheap layers is a network: each layer must fit what it reads.
    """
    index_of: dict[str, int] = {}
    nodes = []
    for index, layer in enumerate(model.layers):
        place: Place = ("layers", index)
        if layer.name in index_of:
            raise _PlacedError(
                (*place, "name"),
                f"got {layer.name!r}, the name of layers[{index_of[layer.name]}] too. "
                "Names are unique in a suite.",
            )
        for name in layer.from_:
            if name not in index_of:
                raise _PlacedError(
                    (*place, "from"),
                    f"got {name!r}, expected a layer listed before.{did_you_mean(name, index_of)}",
                )
        index_of[layer.name] = index
        if not (layer.source or model.source):
            raise _PlacedError(place, "no source. Say where the shape is from, here or on top.")
        operation = _operation(layer, model, overrides, place)
        nodes.append(Node(layer.name, operation, layer.from_, layer.count))
        yield nodes[-1]
    if any(node.cheap for node in nodes):
        _check_network(nodes, index_of)


def _check_network(nodes: list[Node], index_of: dict[str, int]) -> None:
    try:
        network_of(nodes)
    except GraphError as error:
        place: Place = ("layers", index_of[error.layer])
        node = nodes[index_of[error.layer]]
        inside = error.field in node.operation.__dataclass_fields__
        key = (node.operation.kind, error.field) if inside else (error.field,)
        raise _PlacedError((*place, *key), error.message) from error


def _layers(model: SuiteModel, nodes: tuple[Node, ...]) -> Iterator[Layer]:
    """The products of `model`, whose layers `nodes` are."""
    for layer, node in zip(model.layers, nodes, strict=True):
        if not isinstance(node.operation, Problem):
            continue
        yield Layer(
            layer.name,
            node.operation,
            layer.source or model.source,
            layer.count,
            layer.from_,
            layer.min_effect,
            layer.max_regression,
        )


def _operation(
    layer: LayerModel, model: SuiteModel, overrides: DefaultsModel, place: Place
) -> Problem | Cheap:
    forced = overrides.model_fields_set
    batch = overrides.batch if "batch" in forced else layer.batch or model.defaults.batch
    dtype = overrides.dtype if "dtype" in forced else layer.dtype or model.defaults.dtype
    kind = layer.kind()
    try:
        return kind.layer() if isinstance(kind, CheapModel) else kind.problem(batch, dtype)
    except ProblemError as error:
        raise _PlacedError((*place, layer.kind_name(), error.field), error.message) from error


def _first_of(error: ValidationError, data: Any) -> str:
    """The first of the refusals in `error` with its place, and how many others there are."""
    first, *others = error.errors(include_url=False)
    more = f" And {len(others)} more like this." if others else ""
    return f"{_where(first['loc'], data)}{first['msg']}{more}"


def _where(place: Place, data: Any) -> str:
    """'layers[3].conv2d.stride ('conv4'): ', with the layer's name where it has one."""
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
    layer = data["layers"][place[1]] if len(place) > 1 and place[0] == "layers" else None
    name = layer.get("name") if isinstance(layer, dict) else None
    label = f" ({name!r})" if isinstance(name, str) else ""
    return f"{path.removeprefix('.')}{label}: " if path else ""


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise GemmbenchError(f"{path}: cannot be read: {error.strerror}.") from error
    return True


def _shown(path: Path) -> str:
    """`path` as a user would type it: relative where it is under the current folder."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _suites_folder() -> Path:
    """`suites/` of a checkout, else the folder that a wheel puts beside the package."""
    here = Path(__file__).resolve()
    checkout = here.parents[2]
    if (checkout / "pyproject.toml").is_file() and (checkout / "suites").is_dir():
        return checkout / "suites"
    return here.parents[1] / "gemmbench_suites"
