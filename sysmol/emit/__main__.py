"""``python -m sysmol.emit [--check]``: write the generated files, or compare them with the instruction table."""

import sys

from sysmol import generated
from sysmol.emit import files

if __name__ == "__main__":
    sys.exit(generated.main("sysmol.emit", files(), sys.argv[1:]))
