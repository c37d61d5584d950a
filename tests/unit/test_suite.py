import copy
import errno
import json
import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gemmbench.errors import GemmbenchError
from gemmbench.problem import Conv2d, Gemm, Linear
from gemmbench.strict_yaml import MAX_BYTES
from gemmbench.suite import (
    Layer,
    Suite,
    find_suite,
    load_suite,
    select_layers,
    shipped_suites,
    suite_schema,
)

SHIPPED = [
    "alexnet",
    "deepbench",
    "fft_crossover",
    "gemm_peers",
    "googlenet",
    "mobilenet_v1",
    "resnet50",
    "resnet50_network",
    "transformers",
    "vgg16",
    "warden",
]

EVERYTHING = """
suite: everything
description: >-
  Two lines
  of text
source: a paper
defaults: {dtype: float64, batch: 3}
layers:
  - {name: square, conv2d: {in: [4, 9, 8], out: 6, kernel: 3}}
  - name: oblong
    conv2d: {in: [4, 9, 8], out: 6, kernel: [3, 2], stride: [2, 1], pad: [1, 0], dilation: 2,
             groups: 2}
    batch: 5
    dtype: float32
    source: another paper
    count: 7
  - {name: fc, linear: {in: 10, out: 20}, from: square}
  - {name: text, gemm: 2x3x4, from: [square, oblong]}
  - {name: sign, gemm: 2×3×4}
  - {name: mapping, gemm: {m: 2, k: 3, n: 4}, dtype: float32}
  - {name: "123", gemm: 2 x 3 x 4}
"""


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    """The current folder, empty, so that messages name a file without its folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load_text(folder, text, **overrides):
    (folder / "s.yaml").write_text(text, encoding="utf-8")
    return load_suite("s.yaml", **overrides)


def refused(folder, text):
    """The line about `text` in the file s.yaml, without that name."""
    with pytest.raises(GemmbenchError) as caught:
        load_text(folder, text)
    line = str(caught.value)
    assert line.startswith("s.yaml: ")
    return line.removeprefix("s.yaml: ")


def test_every_part_of_the_format_reaches_the_layers(in_folder):
    assert load_text(in_folder, EVERYTHING) == Suite(
        name="everything",
        description="Two lines of text",
        source="a paper",
        origin="s.yaml",
        layers=(
            Layer("square", Conv2d(3, 4, 9, 8, 6, (3, 3), dtype="float64"), "a paper"),
            Layer(
                "oblong",
                Conv2d(5, 4, 9, 8, 6, (3, 2), (2, 1), (1, 0), (2, 2), 2, "float32"),
                "another paper",
                count=7,
            ),
            Layer("fc", Linear(3, 10, 20, "float64"), "a paper", reads=("square",)),
            Layer("text", Gemm(2, 3, 4, "float64"), "a paper", reads=("square", "oblong")),
            Layer("sign", Gemm(2, 3, 4, "float64"), "a paper"),
            Layer("mapping", Gemm(2, 3, 4, "float32"), "a paper"),
            Layer("123", Gemm(2, 3, 4, "float64"), "a paper"),
        ),
    )


def test_without_defaults_a_layer_is_one_float32_image(in_folder):
    suite = load_text(
        in_folder, "suite: s\nsource: x\nlayers: [{name: a, linear: {in: 2, out: 3}}]"
    )
    assert suite.layers[0].problem == Linear(1, 2, 3, "float32")
    assert suite.description == ""


def test_overrides_win_over_the_layers_and_leave_the_batch_of_a_gemm_alone(in_folder):
    suite = load_text(in_folder, EVERYTHING, batch=11, dtype="float32")
    assert [getattr(layer.problem, "batch", None) for layer in suite.layers] == [
        *(11, 11, 11),
        *(None, None, None, None),
    ]
    assert {layer.problem.dtype for layer in suite.layers} == {"float32"}


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        ({"batch": 0}, "batch: got 0, expected an integer >= 1."),
        ({"dtype": "float16"}, "dtype: got 'float16'. Did you mean 'float64'?"),
    ],
)
def test_a_wrong_override_is_not_blamed_on_the_file(in_folder, overrides, line):
    with pytest.raises(GemmbenchError) as caught:
        load_text(in_folder, EVERYTHING, **overrides)
    assert str(caught.value) == line


def test_flops_count_a_layer_as_often_as_the_network_repeats_it(in_folder):
    suite = load_text(
        in_folder,
        "suite: s\nsource: x\nlayers: [{name: a, gemm: 2x3x4, count: 5}, {name: b, gemm: 1x1x1}]",
    )
    assert suite.flops() == 5 * 48 + 2


def one_layer(layer):
    return f"suite: s\nsource: x\nlayers:\n  - {layer}"


def one_conv(**changed):
    """A suite of one convolution with some keys written otherwise; None leaves the key out."""
    keys = {"in": "[4, 5, 5]", "out": "4", "kernel": "3", **changed}
    text = ", ".join(f"{key}: {value}" for key, value in keys.items() if value is not None)
    return one_layer(f"{{name: c, conv2d: {{{text}}}}}")


CONV = "layers[0].conv2d"
KINDS = "conv2d, linear, gemm, relu, lrn, pool, dropout, softmax, batchnorm, add, concat"

BAD = {
    # The file as text.
    "empty": ("", "got nothing, expected a mapping with the keys "
              "suite, description, source, max_error, defaults, layers."),
    "only a comment": ("# nothing", "got nothing, expected a mapping with the keys "
                       "suite, description, source, max_error, defaults, layers."),
    "a list on top": ("- a", "got ['a'], expected a mapping with the keys "
                      "suite, description, source, max_error, defaults, layers."),
    "text on top": ("just text", "got 'just text', expected a mapping with the keys "
                    "suite, description, source, max_error, defaults, layers."),
    "no YAML": ("suite: [1, 2", "line 1, column 13: not YAML: "
                "expected ',' or ']', but got '<stream end>'."),
    "tab": ("suite:\n\ta: 1", "line 2, column 1: not YAML: "
            "found character '\\t' that cannot start any token."),
    "two documents": ("suite: s\n---\nsuite: t", "line 2, column 1: not YAML: "
                      "but found another document."),
    "control character": ("suite: a\x07b", "not YAML: "
                          "character #x0007 at position 8 is not allowed in text."),
    "alias": ("suite: &a s\nsource: *a", "line 2, column 9: "
              "aliases are not allowed: got *a. Write the value out."),
    "tag": ("suite: s\nlayers: !!set {a, b}", "line 2, column 9: "
            "tags are not allowed: got '!!set'. Remove it."),
    "python tag": ("suite: s\nlayers: !!python/object/apply:os.abort []", "line 2, column 9: "
                   "tags are not allowed: got '!!python/object/apply:os.abort'. Remove it."),
    "key twice": ("suite: s\nsuite: t", "line 2, column 1: "
                  "the key 'suite' appears twice in one mapping. Remove one."),
    "key no": ("no: s", "line 1, column 1: "
               "a key must be text: got no. Quote it, or name a known key."),
    "key merge": ("<<: {suite: s}", "line 1, column 1: "
                  "a key must be text: got <<. Quote it, or name a known key."),
    "key list": ("[a]: s", "line 1, column 1: "
                 "a key must be text: got a collection. Quote it, or name a known key."),
    "too deep": ("[" * 5000, "nested too deeply to be read."),
    # The top.
    "no suite": ("layers: [{name: a, gemm: 1x1x1}]", "the key 'suite' is missing."),
    "no layers": ("suite: s", "the key 'layers' is missing."),
    "unknown on top": ("suite: s\nlayer: []", "unknown key 'layer'. Did you mean 'layers'?"),
    "layers nothing": ("suite: s\nlayers:", "layers: got nothing, expected a list of layers."),
    "layers empty": ("suite: s\nlayers: []", "layers: got [], expected a list of layers."),
    "layers mapping": ("suite: s\nlayers: {a: b}",
                       "layers: got a mapping, expected a list of layers."),
    "suite number": ("suite: 123\nlayers: [{name: a, gemm: 1x1x1}]",
                     'suite: got 123, which YAML does not read as text. Quote it: "123".'),
    "source blank": ("suite: s\nsource: ' '\nlayers: [{name: a, gemm: 1x1x1}]",
                     "source: got ' ', expected text."),
    "defaults list": ("suite: s\ndefaults: [1]\nlayers: [{name: a, gemm: 1x1x1}]",
                      "defaults: got [1], expected a mapping with the keys dtype, batch."),
    "defaults dtype": ("suite: s\ndefaults: {dtype: int8}\nlayers: [{name: a, gemm: 1x1x1}]",
                       "defaults.dtype: got 'int8'. Choose from float32, float64."),
    "defaults dtype list": (
        "suite: s\ndefaults: {dtype: [float32]}\nlayers: [{name: a, gemm: 1x1x1}]",
        "defaults.dtype: got ['float32']. Did you mean 'float32'?"),
    "defaults batch": ("suite: s\ndefaults: {batch: 0}\nlayers: [{name: a, gemm: 1x1x1}]",
                       "defaults.batch: got 0, expected an integer >= 1."),
    # A layer.
    "layer text": (one_layer("conv1"), "layers[0]: got 'conv1', expected a mapping with the keys "
                   f"name, {KINDS}, dtype, batch, source, count, from, min_effect, "
                   "max_regression."),
    "no name": (one_layer("{gemm: 1x1x1}"), "layers[0]: the key 'name' is missing."),
    "name no": (one_layer("{name: no, gemm: 1x1x1}"),
                'layers[0].name: got no, which YAML does not read as text. Quote it: "no".'),
    "name on": (one_layer("{name: on, gemm: 1x1x1}"),
                'layers[0].name: got on, which YAML does not read as text. Quote it: "on".'),
    "name 1e3": (one_layer("{name: 1e3, gemm: 1x1x1}"),
                 'layers[0].name: got 1e3, which YAML does not read as text. Quote it: "1e3".'),
    "name 123": (one_layer("{name: 123, gemm: 1x1x1}"),
                 'layers[0].name: got 123, which YAML does not read as text. Quote it: "123".'),
    "name date": (one_layer("{name: 2015-04-20, gemm: 1x1x1}"),
                  "layers[0].name: got 2015-04-20, which YAML does not read as text. "
                  'Quote it: "2015-04-20".'),
    "name null": (one_layer("{name: null, gemm: 1x1x1}"),
                  'layers[0].name: got null, which YAML does not read as text. Quote it: "null".'),
    "name nothing": (one_layer("{name: , gemm: 1x1x1}"),
                     "layers[0].name: got nothing, expected text."),
    "name spaces": (one_layer("{name: ' a', gemm: 1x1x1}"), "layers[0].name (' a'): "
                    "got ' a', expected a name in one line, without spaces around it."),
    "name control": (one_layer('{name: "a\\u0007", gemm: 1x1x1}'), "layers[0].name ('a\\x07'): "
                     "got 'a\\x07', expected a name in one line, without spaces around it."),
    "unknown key": (one_layer("{name: a, gemm: 1x1x1, counts: 2}"),
                    "layers[0] ('a'): unknown key 'counts'. Did you mean 'count'?"),
    "unknown kind": (one_layer("{name: a, conv: {}}"),
                     "layers[0] ('a'): unknown key 'conv'. Did you mean 'conv2d'?"),
    "later kind": (one_layer("{name: a, tensor: {}}"), "layers[0] ('a'): unknown key 'tensor'. "
                   "Choose from add, batch, batchnorm, concat, conv2d, count, dropout, dtype, "
                   "from, gemm and 9 more."),
    "no kind": (one_layer("{name: a}"), "layers[0] ('a'): "
                f"got no kind of layer, expected exactly one of {KINDS}."),
    "two kinds": (one_layer("{name: a, gemm: 1x1x1, linear: {in: 1, out: 1}}"),
                  f"layers[0] ('a'): got linear and gemm, expected exactly one of {KINDS}."),
    "count": (one_layer("{name: a, gemm: 1x1x1, count: 0}"),
              "layers[0].count ('a'): got 0, expected an integer >= 1."),
    "batch text": (one_layer("{name: a, linear: {in: 1, out: 1}, batch: '8'}"),
                   "layers[0].batch ('a'): got '8', expected an integer >= 1."),
    "batch of gemm": (one_layer("{name: a, gemm: 1x1x1, batch: 8}"),
                      "layers[0] ('a'): a gemm has no batch. Remove the key 'batch'."),
    "dtype nothing": (one_layer("{name: a, gemm: 1x1x1, dtype: }"),
                      "layers[0].dtype ('a'): got nothing. Choose from float32, float64."),
    "no source": ("suite: s\nlayers: [{name: a, gemm: 1x1x1}]", "layers[0] ('a'): "
                  "no source. Say where the shape is from, here or on top."),
    "same name": ("suite: s\nsource: x\nlayers: [{name: a, gemm: 1x1x1}, {name: b, gemm: 1x1x1}, "
                  "{name: a, gemm: 2x2x2}]", "layers[2].name ('a'): "
                  "got 'a', the name of layers[0] too. Names are unique in a suite."),
    "from unknown": ("suite: s\nsource: x\nlayers: [{name: conv1, gemm: 1x1x1}, "
                     "{name: b, gemm: 1x1x1, from: conv2}]", "layers[1].from ('b'): "
                     "got 'conv2', expected a layer listed before. Did you mean 'conv1'?"),
    "from itself": (one_layer("{name: a, gemm: 1x1x1, from: [a]}"), "layers[0].from ('a'): "
                    "got 'a', expected a layer listed before."),
    "from nothing": (one_layer("{name: a, gemm: 1x1x1, from: []}"), "layers[0].from ('a'): "
                     "got [], expected the name of a layer, or a list of names."),
    # A gemm and a linear layer.
    "gemm two sizes": (one_layer("{name: a, gemm: 256x1152}"), "layers[0].gemm ('a'): "
                       "got '256x1152', expected m x k x n, such as 256x1152x192."),
    "gemm zero": (one_layer("{name: a, gemm: 256x0x192}"),
                  "layers[0].gemm.k ('a'): got 0, expected an integer >= 1."),
    "gemm number": (one_layer("{name: a, gemm: 256}"), "layers[0].gemm ('a'): "
                    "got 256, expected m x k x n, such as 256x1152x192."),
    "gemm missing": (one_layer("{name: a, gemm: {m: 1, k: 2}}"),
                     "layers[0].gemm ('a'): the key 'n' is missing."),
    "gemm null": (one_layer("{name: a, gemm: null}"), "layers[0].gemm ('a'): "
                  "got null, expected m x k x n, such as 256x1152x192."),
    "gemm huge": (one_layer("{name: a, gemm: 1x2147483648x1}"),
                  "layers[0].gemm.k ('a'): got 2147483648, expected an integer <= 2147483647."),
    "linear nothing": (one_layer("{name: a, linear: }"), "layers[0].linear ('a'): "
                       "got nothing, expected a mapping with the keys in, out."),
    "linear two wrong": (one_layer("{name: a, linear: {in: 0, out: -1}}"),
                         "layers[0].linear.in ('a'): got 0, expected an integer >= 1. "
                         "And 1 more like this."),
    # A convolution.
    "conv key": (one_conv(kernal="3"),
                 f"{CONV} ('c'): unknown key 'kernal'. Did you mean 'kernel'?"),
    "conv missing": (one_conv(out=None), f"{CONV} ('c'): the key 'out' is missing."),
    "stride zero": (one_conv(stride="0"),
                    f"{CONV}.stride ('c'): got 0, expected an integer >= 1."),
    "stride pair zero": (one_conv(stride="[1, 0]"),
                         f"{CONV}.stride ('c'): got 0, expected an integer >= 1."),
    "stride text": (one_conv(stride="two"),
                    f"{CONV}.stride ('c'): got 'two', "
                    "expected an integer >= 1 or [height, width]."),
    "stride truth": (one_conv(stride="yes"),
                     f"{CONV}.stride ('c'): got yes, expected an integer >= 1 or [height, width]."),
    "stride octal": (one_conv(stride="011"),
                     f"{CONV}.stride ('c'): got 011, expected an integer >= 1 or [height, width]."),
    "stride fraction": (one_conv(stride="2.0"),
                        f"{CONV}.stride ('c'): got 2.0, "
                        "expected an integer >= 1 or [height, width]."),
    "stride three": (one_conv(stride="[1, 1, 1]"),
                     f"{CONV}.stride ('c'): got [1, 1, 1], "
                     "expected an integer >= 1 or [height, width]."),
    "dilation": (one_conv(dilation="-1"),
                 f"{CONV}.dilation ('c'): got -1, expected an integer >= 1."),
    "pad": (one_conv(pad="-1"), f"{CONV}.pad ('c'): got -1, expected an integer >= 0."),
    "in two": (one_conv(**{"in": "[4, 5]"}),
               f"{CONV}.in ('c'): got [4, 5], expected [channels, height, width]."),
    "in number": (one_conv(**{"in": "4"}),
                  f"{CONV}.in ('c'): got 4, expected [channels, height, width]."),
    "in text inside": (one_conv(**{"in": "[4, '5', 5]"}),
                       f"{CONV}.in ('c'): got '5', expected an integer >= 1."),
    "huge integer": (one_conv(out="9" * 5000),
                     f"{CONV}.out ('c'): got {'9' * 60}…, expected an integer >= 1."),
    "groups": (one_conv(groups="3"),
               f"{CONV}.groups ('c'): got 3, which does not divide channels 4."),
    "groups of out": (one_conv(out="6", groups="4"),
                      f"{CONV}.groups ('c'): got 4, which does not divide filters 6."),
    "kernel": (one_conv(kernel="[3, 6]"), f"{CONV}.kernel ('c'): got 3×6 (dilated), "
               "larger than the padded input 5×5. Use a smaller kernel or more padding."),
}  # fmt: skip


@pytest.mark.parametrize(("text", "line"), BAD.values(), ids=BAD.keys())
def test_a_wrong_file_gets_one_line_that_says_where_and_what(in_folder, text, line):
    assert refused(in_folder, text) == line


def test_aliases_that_would_explode_are_refused_at_the_first(in_folder):
    bomb = "a: &a [x, x]\n" + "".join(
        f"{new}: &{new} [*{old}, *{old}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    )
    assert refused(in_folder, bomb) == (
        "line 2, column 8: aliases are not allowed: got *a. Write the value out."
    )


def test_an_anchor_that_nothing_refers_to_is_harmless(in_folder):
    assert load_text(in_folder, "suite: &a s\nsource: x\nlayers: [{name: a, gemm: 1x1x1}]")


def test_quoted_text_is_text_whatever_it_looks_like(in_folder):
    suite = load_text(in_folder, one_layer("{name: 'no', gemm: '1x1x1', source: \"1e3\"}"))
    assert (suite.layers[0].name, suite.layers[0].source) == ("no", "1e3")


def test_a_file_that_is_too_large_is_not_read(in_folder):
    line = refused(in_folder, "#" * (MAX_BYTES + 1))
    assert line == "larger than 1000000 bytes, the most that is read."


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"\x89PNG\r\n\x1a\n", "s.yaml: not UTF-8 text: byte 0x89 at position 0."),
        ("suite: é".encode("latin-1"), "s.yaml: not UTF-8 text: byte 0xe9 at position 7."),
        (b"a\0b", "s.yaml: not YAML: character #x0000 at position 1 is not allowed in text."),
    ],
)
def test_a_file_that_is_no_text_is_refused(in_folder, data, line):
    Path("s.yaml").write_bytes(data)
    with pytest.raises(GemmbenchError) as caught:
        load_suite("s.yaml")
    assert str(caught.value) == line


def test_a_folder_is_no_suite(in_folder):
    Path("s.yaml").mkdir()
    with pytest.raises(GemmbenchError, match=r"^s\.yaml: cannot be read: Is a directory\.$"):
        load_suite("s.yaml")


def test_an_unreadable_file_is_refused(in_folder, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    Path("s.yaml").touch()
    monkeypatch.setattr(Path, "open", refuse)  # root could read it whatever its mode
    with pytest.raises(GemmbenchError, match=r"^s\.yaml: cannot be read: Permission denied\.$"):
        load_suite("s.yaml")


def test_a_path_that_cannot_exist_is_refused_in_one_line(in_folder):
    with pytest.raises(GemmbenchError, match=r"^x{300}\.yaml: cannot be read: File name too long"):
        load_suite("x" * 300 + ".yaml")


def test_what_is_no_yaml_file_is_told_so_with_every_suite_that_ships(in_folder):
    Path("README.md").touch()
    Path("folder").mkdir()
    for name, what in (("README.md", "is not a .yaml file"), ("folder", "is a folder")):
        with pytest.raises(GemmbenchError) as caught:
            find_suite(name)
        assert str(caught.value) == (
            f"{name}: {what}. A suite is a .yaml file, or ships with gemmbench. "
            f"Choose from {', '.join(SHIPPED)}."
        )


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("mine/netwrk.yaml", "mine/netwrk.yaml: no such file. Did you mean 'mine/network.yaml'?"),
        ("mine/network", "mine/network: no such file. Did you mean 'mine/network.yaml'?"),
        ("alexnt.yaml", "alexnt.yaml: no such file. Did you mean 'alexnet'?"),
        (
            "alexnt",
            "suite 'alexnt': not shipped with gemmbench. Did you mean 'alexnet'? "
            "A file is named with its suffix, such as alexnt.yaml.",
        ),
        (
            "s.yaml/a.yaml",
            f"s.yaml/a.yaml: no such file. Choose from {', '.join(SHIPPED)}.",
        ),
    ],
)
def test_a_missing_suite_is_answered_with_the_nearest(in_folder, name, line):
    Path("s.yaml").touch()
    Path("mine").mkdir()
    Path("mine/network.yaml").touch()
    with pytest.raises(GemmbenchError) as caught:
        find_suite(name)
    assert str(caught.value) == line


def test_a_shipped_name_means_the_same_everywhere(in_folder):
    Path("alexnet").write_text("not this")
    shipped = shipped_suites()["alexnet"]
    assert find_suite("alexnet") == shipped
    assert find_suite("alexnet.yaml") == shipped


def test_a_file_here_is_preferred_to_a_shipped_suite_of_its_name(in_folder):
    Path("alexnet.yaml").touch()
    assert find_suite("alexnet.yaml") == Path("alexnet.yaml")
    assert find_suite("./alexnet.yaml") == Path("alexnet.yaml")
    assert find_suite(Path("alexnet.yaml")) == Path("alexnet.yaml")


def test_messages_name_a_shipped_file_as_a_user_here_would(monkeypatch, tmp_path):
    path = shipped_suites()["warden"]
    monkeypatch.chdir(path.parents[1])
    assert load_suite("warden").origin == "suites/warden.yaml"
    monkeypatch.chdir(tmp_path)
    assert load_suite("warden").origin == str(path)


def test_layers_are_selected_by_glob_in_their_order():
    several = select_layers(load_suite("alexnet"), ["fc*", "conv1"])
    assert [layer.name for layer in several.layers] == ["conv1", "fc6", "fc7", "fc8"]
    suite = select_layers(load_suite("alexnet"), ["conv[35]"])
    assert [layer.name for layer in suite.layers] == ["conv3", "conv5"]
    assert suite.name == "alexnet"


@pytest.mark.parametrize(
    ("glob", "hint"),
    [
        ("CONV1", "Choose from conv1, conv2, conv3, conv4, conv5, fc6, fc7, fc8."),
        ("cnv1", "Did you mean 'conv1'?"),
        ("", "Choose from conv1, conv2, conv3, conv4, conv5, fc6, fc7, fc8."),
    ],
)
def test_a_glob_that_selects_nothing_is_refused(glob, hint):
    with pytest.raises(GemmbenchError) as caught:
        select_layers(load_suite("alexnet"), [glob])
    assert str(caught.value) == f"suite 'alexnet': no layer matches {glob!r}. {hint}"


def test_eleven_suites_are_shipped():
    assert list(shipped_suites()) == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_suite_is_complete(name):
    suite = load_suite(name)
    assert suite.name == name
    assert len(suite.description) > 30
    assert all(layer.source for layer in suite.layers)
    text = shipped_suites()[name].read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=suite.schema.json\n")


def test_the_product_of_the_post_has_its_57_million_multiply_adds():
    assert load_suite("warden").flops() == 2 * 56_623_104


def test_deepbench_lists_each_shape_once():
    problems = [layer.problem for layer in load_suite("deepbench").layers]
    assert len(set(problems)) == len(problems) == 166 + 191
    assert [problem.kind for problem in problems] == ["gemm"] * 166 + ["conv2d"] * 191


def test_the_names_in_deepbench_tell_the_gemm():
    for layer in load_suite("deepbench").layers[:166]:
        gemm = layer.problem.gemm()
        assert layer.name == f"gemm_{gemm.m}x{gemm.k}x{gemm.n}"


def test_the_products_of_the_peers_are_those_of_alexnets_layers():
    peers = {layer.name: layer.problem.gemm() for layer in load_suite("gemm_peers").layers}
    assert len(peers) == 20
    for layer in load_suite("alexnet", batch=10).layers:
        lowered = layer.problem.gemm()
        if layer.problem.kind == "conv2d":
            grouped = "g" if layer.problem.groups > 1 else ""
            found = peers[layer.name + grouped]
            assert (found.m, found.k, found.n) == (lowered.m, lowered.k, lowered.n)
        else:  # there the weights are on the left
            for batch in (1, 10, 128):
                found = peers[f"{layer.name}b{batch}"]
                assert (found.m, found.k, found.n) == (lowered.n, lowered.k, batch)


def test_resnet_has_its_53_convolutions_and_one_linear_layer():
    layers = load_suite("resnet50").layers
    assert sum(layer.count for layer in layers if layer.problem.kind == "conv2d") == 53
    assert sum(layer.count for layer in layers if layer.problem.kind == "linear") == 1


def test_a_bert_layer_has_its_parameters():
    layers = [
        layer
        for layer in load_suite("transformers").layers
        if layer.name.startswith("bert-base/") and layer.problem.kind == "linear"
    ]
    weights = sum(
        layer.count * layer.problem.in_features * layer.problem.out_features
        for layer in layers
        if layer.name != "bert-base/lm_head"
    )
    assert weights == 12 * 12 * 768 * 768  # 4·h² of attention and 8·h² of the MLP, 12 layers


def test_the_shipped_schema_is_the_one_of_the_models():
    path = shipped_suites()["alexnet"].with_name("suite.schema.json")
    assert json.loads(path.read_text(encoding="utf-8")) == suite_schema()


def test_the_schema_asks_for_exactly_one_kind():
    layer = suite_schema()["$defs"]["LayerModel"]
    assert layer["oneOf"] == [{"required": [kind]} for kind in KINDS.split(", ")]
    assert layer["required"] == ["name"]


junk = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 9) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


def places(value, here=()):
    """Every place in nested lists and mappings, as the keys that lead there."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (*here, key)
        if isinstance(inner, dict | list):
            yield from places(inner, (*here, key))


@given(st.data())
def test_one_part_replaced_by_junk_gives_a_suite_or_one_line(tmp_path_factory, data):
    suite = yaml.safe_load(EVERYTHING)
    where = data.draw(st.sampled_from(list(places(suite))))
    parent = suite
    for key in where[:-1]:
        parent = parent[key]
    parent[where[-1]] = copy.deepcopy(data.draw(junk))
    suite_or_one_line(tmp_path_factory, yaml.safe_dump(suite, allow_unicode=True))


@given(st.text())
def test_any_text_at_all_gives_one_line(tmp_path_factory, text):
    suite_or_one_line(tmp_path_factory, text)


def suite_or_one_line(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        suite = load_suite(path)
    except GemmbenchError as error:
        line = str(error)
        assert line.startswith(f"{path}: ")
        assert line.splitlines() == [line]
    else:
        assert len(suite.layers) == 7


@pytest.mark.parametrize(
    ("text", "fraction"), [("2%", 0.02), ("2.5 %", 0.025), ("0.02", 0.02), ("0", 0.0), (".5", 0.5)]
)
def test_a_layer_may_have_thresholds_for_check(in_folder, text, fraction):
    suite = load_text(
        in_folder,
        "suite: mine\nsource: s\nlayers:\n"
        f"  - {{name: a, gemm: 2x3x4, min_effect: {text}, max_regression: {text}}}\n"
        "  - {name: b, gemm: 2x3x4}\n",
    )
    own, plain = suite.layers
    assert (own.min_effect, own.max_regression) == (fraction, fraction)
    assert (plain.min_effect, plain.max_regression) == (None, None)


@pytest.mark.parametrize("text", ["5", "1", "100%", "-1%", "fast", "true", "[1%]", "null"])
def test_a_threshold_that_could_mean_something_else_is_refused(in_folder, text):
    layer = f"{{name: a, gemm: 2x3x4, min_effect: {text}}}"
    with pytest.raises(GemmbenchError, match=r"layers\[0\].min_effect .'a'.: got .*5% or 0.05"):
        load_text(in_folder, f"suite: m\nsource: s\nlayers:\n  - {layer}\n")


def test_a_suite_may_say_how_exact_a_winner_has_to_be(in_folder):
    text = "suite: s\nsource: x\nmax_error: 1e-4\nlayers: [{name: a, gemm: 2x3x4}]\n"
    for value, meant in (("1e-4", 1e-4), ("1.0e-4", 1e-4), ("0.001", 0.001), ("2", 2.0)):
        assert load_text(in_folder, text.replace("1e-4", value)).max_error == meant
    assert load_text(in_folder, text.replace("max_error: 1e-4\n", "")).max_error is None


@pytest.mark.parametrize("value", ["0", "-1.0", "true", "abc", ".inf", "1e999", "[1]"])
def test_an_error_that_is_no_positive_number_is_refused(in_folder, value):
    text = f"suite: s\nsource: x\nmax_error: {value}\nlayers: [{{name: a, gemm: 2x3x4}}]\n"
    with pytest.raises(GemmbenchError, match=r"max_error: got .*expected a positive number"):
        load_text(in_folder, text)
