"""From the instruction table to everything that is generated: C headers, gem5's decoder, the reference page.

``python -m sysmol.emit`` writes the files; ``--check`` compares instead and exits with status 1 on a difference. A file
here renders one artefact.
"""

from collections.abc import Callable
from pathlib import Path

from sysmol.emit import (
    c_calls,
    c_dispatch,
    c_isa_header,
    c_selectors,
    cpp_decoder,
    gem5_classes,
    reference_page,
)
from sysmol.files import PACKAGE

ARTEFACTS: dict[Path, Callable[[], str]] = {
    Path("kernels_c/include/smol_isa.h"): c_isa_header.render,
    Path("kernels_c/include/smol_selectors.h"): c_selectors.render,
    Path("kernels_c/include/smol_dispatch.h"): c_dispatch.render,
    Path("kernels_c/include/smol_calls.h"): c_calls.render,
    Path("gem5_ext/smol_decode.hh"): cpp_decoder.render,
    Path("gem5_ext/SmolClasses.py"): gem5_classes.render,
    Path("docs/isa.md"): reference_page.render,
}
"""Path below the package, and what the file holds."""


def files(root: Path = PACKAGE) -> dict[Path, str]:
    """Content of every generated file under ``root`` by path."""
    return {root / path: render() for path, render in ARTEFACTS.items()}
