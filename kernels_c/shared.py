"""One C function for layers that differ in their constants alone.

Networks that concatenate have a layer for every part of every concatenation, so that their number grows with the
square of the network's depth; their functions are few. Where several are equal but for the arrays that they read, one
takes their place and gets the arrays through a structure.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sysmol.kernels_c.elf import SHARED_PREFIX

LEAST = 8
"""Equal functions from which on they are one. Networks whose blocks repeat less often keep a function for each layer,
which profiles show by its name."""

_FUNCTION = re.compile(r"^SMOL_KERNEL (\w+)\(([^\n]*)\) \{\n(.*?)^\}\n", re.MULTILINE | re.DOTALL)
_CALL = re.compile(r"\b(layer_\w+)\(")
_ARRAY = re.compile(r"^static const (\w+) (\w+)\[", re.MULTILINE)


@dataclass(frozen=True)
class Form:
    """What equal functions have in common: parameters, body with ``own_`` for the name, types of the arrays."""

    parameters: str
    body: str
    arrays: tuple[tuple[str, str], ...]
    """(suffix of the name, type of the elements)."""

    def definition(self, name: str) -> str:
        """The structure and the function."""
        if not self.arrays:
            return f"SMOL_KERNEL {name}({self.parameters}) {{\n{self.body}}}\n"
        members = "".join(f"    const {kind} *{suffix};\n" for suffix, kind in self.arrays)
        local = "".join(f"    const {kind} *const own_{suffix} = of->{suffix};\n" for suffix, kind in self.arrays)
        return (
            f"typedef struct {{\n{members}}} {name}_constants;\n\n"
            f"SMOL_KERNEL {name}(const {name}_constants *of, {self.parameters}) {{\n{local}{self.body}}}\n"
        )

    def constants(self, name: str, layer: str) -> str:
        """The structure's contents for a layer's function."""
        arrays = ", ".join(f"{layer}_{suffix}" for suffix, _ in self.arrays)
        return f"static const {name}_constants {layer}_of = {{{arrays}}};\n" if arrays else ""

    def call(self, name: str, layer: str) -> str:
        """A call in place of one of a layer's function, up to its operands."""
        return f"{name}(&{layer}_of, " if self.arrays else f"{name}("

    def wrapper(self, name: str, layer: str) -> str:
        """A layer's function that does nothing but call."""
        operands = ", ".join(part.split()[-1].lstrip("*") for part in self.parameters.split(","))
        return f"SMOL_KERNEL {layer}({self.parameters}) {{\n    {self.call(name, layer)}{operands});\n}}\n"


def functions(text: str) -> list[str]:
    """Names of the functions in a layer's text."""
    return [match[1] for match in _FUNCTION.finditer(text)]


def _form(match: re.Match[str], types: dict[str, str]) -> Form | None:
    """The form of a function, None where it calls other functions of its layer."""
    name, parameters, body = match.groups()
    own = re.compile(rf"\b{name}_(\w+)")
    suffixes = dict.fromkeys(own.findall(body))
    if any(f"{name}_{suffix}" not in types for suffix in suffixes):
        return None
    return Form(parameters, own.sub(r"own_\1", body), tuple((s, types[f"{name}_{s}"]) for s in suffixes))


def share(texts: Sequence[str], constants: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """The texts of a network's layers with equal functions made one, in front of the first that uses it; and the
    names of the shared functions by those of the layers' functions.

    ``constants`` are the texts of the arrays.
    """
    types = {name: kind for text in constants for kind, name in _ARRAY.findall(text)}
    forms = {match[1]: _form(match, types) for text in texts for match in _FUNCTION.finditer(text)}
    count = Counter(form for form in forms.values() if form is not None)
    names: dict[Form, str] = {}
    found: dict[str, str] = {}

    def rewritten(text: str) -> str:
        calls = Counter(_CALL.findall(text))

        def function(match: re.Match[str]) -> str:
            layer = match[1]
            form = forms[layer]
            if form is None or count[form] < LEAST:
                return match[0]
            first = form not in names
            name = found[layer] = names.setdefault(form, f"{SHARED_PREFIX}{len(names)}")
            # What the layer's own function calls, it calls directly.
            wrapper = "" if calls[layer] > 1 else form.wrapper(name, layer)
            return (form.definition(name) + "\n" if first else "") + form.constants(name, layer) + wrapper

        def call(match: re.Match[str]) -> str:
            form = forms.get(match[1])
            if form is None or match[1] not in found or calls[match[1]] == 1:
                return match[0]
            return form.call(found[match[1]], match[1])

        return _CALL.sub(call, _FUNCTION.sub(function, text))

    return [rewritten(text) for text in texts], found
