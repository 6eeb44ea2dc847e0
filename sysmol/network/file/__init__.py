"""The bytes of a network file, versions 1 to 3 (docs/network-format.md): :func:`save` and :func:`load`.

Version 3 is written. Arrays are in logical channel order, except the input side of packed SMOL weights, which is in
slot order.
"""

from collections.abc import Callable
from pathlib import Path

from sysmol.errors import SysmolError
from sysmol.files import atomic_write_bytes
from sysmol.network.checks import validate
from sysmol.network.file.assemble import Source, assemble
from sysmol.network.file.container import FORMAT, PARTS, VERSION, Arrays, Description, read, wrap
from sysmol.network.file.version1 import Version1
from sysmol.network.file.version2 import Version2
from sysmol.network.file.version3 import Version3, breakdown, encode
from sysmol.network.model import Network


def save(path: str | Path, net: Network, deploy: bool = False) -> Path:
    """Validate and write a network, atomically. The same network gives the same bytes.

    ``deploy``: only what inference needs, without samples, provenance (but for ``logit_scale``) and metrics.
    """
    validate(net)
    return atomic_write_bytes(path, encode(net, deploy))


def load(path: str | Path) -> Network:
    """Read and validate a network file.

    Raises :class:`SysmolError` on a file that is absent, cut short, damaged, of another format, of a newer version, or
    invalid.
    """
    description, arrays = read(path)
    try:
        net = decode(description, arrays)
    except SysmolError as error:
        raise SysmolError(f"{path}: {error}") from None
    return net


VERSIONS: dict[int, Callable[[Description, Arrays], Source]] = {1: Version1, 2: Version2, 3: Version3}


def decode(description: Description, arrays: Arrays) -> Network:
    """The valid network of what :func:`read` found.

    Raises :class:`SysmolError` on content that fits no network.
    """
    try:
        net = assemble(description, arrays, VERSIONS[description["version"]](description, arrays))
        validate(net)
    except (ArithmeticError, AttributeError, IndexError, KeyError, MemoryError, TypeError, ValueError) as error:
        text = " ".join(str(error).split())[:200]
        raise SysmolError(f"the description lacks or garbles {text or type(error).__name__}") from None
    return net


__all__ = ["FORMAT", "PARTS", "VERSION", "breakdown", "decode", "encode", "load", "read", "save", "wrap"]
