"""sysmol: the vocabulary that training, code generation, gem5 and analysis share.

Importing this package loads nothing but the standard library, so that gem5's embedded Python can use
:mod:`sysmol.errors`, :mod:`sysmol.files`, :mod:`sysmol.pattern`, :mod:`sysmol.isa` and :mod:`sysmol.machine`.
"""

import sys

from sysmol.renamed import Renamed

__version__ = "0.1.0"

sys.meta_path.append(Renamed())
