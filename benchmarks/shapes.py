"""Shape files: networks and single layers as plain text, shared by benchmarks and tests.

A file of ``benchmarks/shapes`` has one statement per line; ``#`` begins a comment. Words are separated by blanks.

A network::

    network HEIGHTxWIDTHxCHANNELS
    NAME OP IN OUT KERNEL STRIDE PADDING GROUPS ACT INPUT RESIDUAL

Single layers, which share nothing but the file::

    layers
    NAME HEIGHTxWIDTH IN OUT KERNEL STRIDE PADDING GROUPS

A layer of a transformer, or the attention in it alone (:class:`EncoderShape`)::

    encoder HEIGHTxWIDTH CHANNELS HEADS EXPANSION
    attention HEIGHTxWIDTH CHANNELS HEADS

=========  ============================================================================================================
NAME       letters, digits and ``_``
OP         ``conv``, ``linear``, ``maxpool``, ``avgpool``
IN, OUT    channels
KERNEL     ``HEIGHTxWIDTH`` (linear: ``1x1``)
STRIDE     of rows and columns alike
PADDING    pixels on all four sides
GROUPS     1, or a divisor of IN and OUT; where it is IN and OUT, the convolution is depthwise
ACT        ``none``, ``relu``, ``relu6``: what the layer's result passes through, after the residual was added
INPUT      ``image`` or an earlier layer
RESIDUAL   an earlier layer whose result is added, or ``-``
=========  ============================================================================================================

The last layer of a network gives the logits. HEIGHTxWIDTH is that of the input.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from sysmol.errors import SysmolError
from sysmol.network import output_size

FOLDER = Path(__file__).resolve().parent / "shapes"
IMAGE = "image"
OPS = ("conv", "linear", "maxpool", "avgpool")
ACTS = ("none", "relu", "relu6")
PROBES = 2
"""Logits of a network that is made around single layers."""


@dataclass(frozen=True)
class LayerShape:
    """One line of a network; ``source`` and ``residual`` name earlier layers (``residual`` may be empty)."""

    name: str
    op: str
    inputs: int
    outputs: int
    kernel: tuple[int, int]
    stride: int
    padding: int
    groups: int
    act: str
    source: str
    residual: str

    @property
    def depthwise(self) -> bool:
        """Whether every channel is convolved alone."""
        return self.op == "conv" and 1 < self.groups == self.inputs == self.outputs


@dataclass(frozen=True)
class NetworkShape:
    """A network without numbers. ``probes``: layers that exist only so that the logits depend on every output of the
    others; their cycles are of no interest."""

    name: str
    height: int
    width: int
    channels: int
    layers: tuple[LayerShape, ...]
    probes: frozenset[str] = frozenset()

    def sizes(self) -> dict[str, tuple[int, int, int]]:
        """Height, width and channels of the image and of every layer's result, by name."""
        found = {IMAGE: (self.height, self.width, self.channels)}
        for layer in self.layers:
            height, width, _ = found[layer.source]
            rows = output_size(height, layer.kernel[0], layer.stride, layer.padding, layer.padding)
            columns = output_size(width, layer.kernel[1], layer.stride, layer.padding, layer.padding)
            found[layer.name] = rows, columns, layer.outputs
        return found

    def macs(self) -> dict[str, int]:
        """Multiply-accumulates of one inference by layer; 0 for pooling. Taps outside the image count."""
        sizes = self.sizes()
        result = {}
        for layer in self.layers:
            rows, columns, outputs = sizes[layer.name]
            each = layer.kernel[0] * layer.kernel[1] * layer.inputs // layer.groups
            result[layer.name] = rows * columns * outputs * each if layer.op in ("conv", "linear") else 0
        return result


@dataclass(frozen=True)
class EncoderShape(NetworkShape):
    """An encoder layer over ``height * width`` tokens: normalisation, attention of ``heads``, projection,
    normalisation, an MLP of ``expansion`` times the channels with GELU; with an expansion of 0, the products of
    attention and its softmax alone. ``probes`` are what the tokens come from and where they go to."""

    heads: int = 1
    expansion: int = 0


PROBES_OF_ENCODERS = frozenset(
    {f"{IMAGE}_scaled", "stem", "rounded", "logits"},
)
PROBES_OF_ATTENTION = PROBES_OF_ENCODERS | {"queries", "keys", "values"}


def list_shapes() -> list[str]:
    """Names of the shape files that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.txt"))


def load_shapes(name: str | Path) -> list[NetworkShape]:
    """The networks of a shape file, by name or path; single layers become one network per size of input.

    Raises :class:`SysmolError` where there is no such file, or with file and line where one breaks the grammar.
    """
    path = Path(name)
    if path.suffix != ".txt":
        path = FOLDER / f"{name}.txt"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        raise SysmolError(f"there is no shape file {str(name)!r}: choose from {', '.join(list_shapes())}") from None
    return parse_shapes(text, path.stem, str(path))


def load_network(name: str) -> NetworkShape:
    """The only network of a shape file."""
    found = load_shapes(name)
    if len(found) != 1:
        raise SysmolError(f"shape file {name!r} describes {len(found)} networks where one is wanted")
    return found[0]


def parse_shapes(text: str, name: str, where: str) -> list[NetworkShape]:
    """The networks in the text of a shape file; ``where`` names it in errors."""
    lines = [(number, line.split("#", 1)[0].split()) for number, line in enumerate(text.splitlines(), 1)]
    lines = [(number, words) for number, words in lines if words]
    if not lines:
        raise SysmolError(f"{where}: the file is empty: begin with 'network HxWxC' or 'layers'")
    number, words = lines[0]
    parser = _Parser(where)
    if words[0] == "network" and len(words) == 2:
        return [parser.network(name, parser.numbers(words[1], 3, number), lines[1:])]
    if words == ["layers"]:
        return parser.single_layers(name, lines[1:])
    if words[0] in ENCODERS and len(words) == ENCODERS[words[0]] and len(lines) == 1:
        return [parser.encoder(name, words, number)]
    raise SysmolError(
        f"{where}:{number}: begin with 'network HxWxC', 'layers', or have a line 'encoder' or 'attention'"
    )


ENCODERS = {"encoder": 5, "attention": 4}
"""Words of the statements of transformers."""
Line = tuple[int, list[str]]


class _Parser:
    """Statements to shapes, with errors that name the file and the line."""

    def __init__(self, where: str) -> None:
        self.where = where

    def need(self, condition: bool, number: int, what: str) -> None:
        if not condition:
            raise SysmolError(f"{self.where}:{number}: {what}")

    def numbers(self, word: str, count: int, number: int) -> list[int]:
        """``count`` positive numbers separated by ``x``."""
        self.need(
            re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", word) is not None and word.count("x") == count - 1,
            number,
            f"{word!r} should be {count} positive number(s) with x between them",
        )
        return [int(part) for part in word.split("x")]

    def layer(self, number: int, words: list[str]) -> LayerShape:
        """A network's line."""
        self.need(len(words) == 11, number, f"a layer takes 11 words, here are {len(words)}")
        name, op, inputs, outputs, kernel, stride, padding, groups, act, source, residual = words
        self.need(re.fullmatch(r"[A-Za-z]\w*", name) is not None, number, f"{name!r} is no name")
        self.need(op in OPS, number, f"{op!r} is none of {', '.join(OPS)}")
        self.need(act in ACTS, number, f"{act!r} is none of {', '.join(ACTS)}")
        self.need(padding.isdigit(), number, f"padding {padding!r} is no number")
        height, width = self.numbers(kernel, 2, number)
        channels = self.numbers(inputs, 1, number)[0], self.numbers(outputs, 1, number)[0]
        group = self.numbers(groups, 1, number)[0]
        self.need(not channels[0] % group and not channels[1] % group, number, f"{group} groups do not divide")
        self.need(op in ("conv", "linear") or channels[0] == channels[1], number, f"{op} keeps the channels")
        return LayerShape(
            name=name,
            op=op,
            inputs=channels[0],
            outputs=channels[1],
            kernel=(height, width),
            stride=self.numbers(stride, 1, number)[0],
            padding=int(padding),
            groups=group,
            act=act,
            source=source,
            residual="" if residual == "-" else residual,
        )

    def network(self, name: str, image: list[int], lines: list[Line]) -> NetworkShape:
        """A network, its connections and sizes checked."""
        height, width, channels = image
        shape = NetworkShape(name, height, width, channels, ())
        self.need(bool(lines), 1, "a network needs layers")
        for number, words in lines:
            layer = self.layer(number, words)
            known = shape.sizes()
            self.need(layer.name not in known, number, f"{layer.name} stands twice")
            self.need(layer.source in known, number, f"{layer.source} is no earlier layer")
            self.need(
                known[layer.source][2] == layer.inputs, number, f"{layer.source} has other than {layer.inputs} channels"
            )
            shape = NetworkShape(name, height, width, channels, (*shape.layers, layer))
            size = shape.sizes()[layer.name]
            self.need(min(size) > 0, number, f"the kernel of {layer.name} is larger than its input")
            if layer.residual:
                self.need(known.get(layer.residual) == size, number, f"{layer.residual} does not have the shape {size}")
        self.need(
            shape.sizes()[lines[-1][1][0]][:2] == (1, 1), lines[-1][0], "the last layer must give one pixel: logits"
        )
        return shape

    def encoder(self, name: str, words: list[str], number: int) -> EncoderShape:
        """A statement of a transformer's layer."""
        height, width = self.numbers(words[1], 2, number)
        channels, heads, *rest = (self.numbers(word, 1, number)[0] for word in words[2:])
        self.need(channels % heads == 0, number, f"{heads} heads do not divide {channels} channels")
        probes = PROBES_OF_ENCODERS if rest else PROBES_OF_ATTENTION
        return EncoderShape(name, height, width, channels, (), probes, heads, rest[0] if rest else 0)

    def single_layers(self, name: str, lines: list[Line]) -> list[NetworkShape]:
        """One network per size of input: its layers side by side, each followed by a probe that reads all of its
        outputs; the probes' sum is the network's logits."""
        sizes: dict[tuple[int, int, int], list[LayerShape]] = {}
        for number, words in lines:
            self.need(len(words) == 8, number, f"a single layer takes 8 words, here are {len(words)}")
            height, width = self.numbers(words[1], 2, number)
            layer = self.layer(number, [words[0], "conv", *words[2:8], "none", IMAGE, "-"])
            sizes.setdefault((height, width, layer.inputs), []).append(layer)
        networks = []
        for (height, width, channels), layers in sizes.items():
            shape = NetworkShape(f"{name}-{height}x{width}x{channels}", height, width, channels, tuple(layers))
            found = shape.sizes()
            chain: list[LayerShape] = []
            for layer in layers:
                rows, columns, outputs = found[layer.name]
                self.need(min(rows, columns) > 0, lines[0][0], f"the kernel of {layer.name} is larger than its input")
                before = chain[-1].name if chain else ""
                probe = LayerShape(
                    f"{layer.name}_probe", "conv", outputs, PROBES, (rows, columns), 1, 0, 1, "none", layer.name, before
                )
                chain += [layer, probe]
            probes = frozenset(layer.name for layer in chain[1::2])
            networks.append(NetworkShape(shape.name, height, width, channels, tuple(chain), probes))
        return networks
