"""Write what this gem5 says of itself and of the SMOL plug-in to a JSON file.

    gem5.opt configs_gem5/show_gem5.py OUT.json

Keys: ``version`` and ``compiled`` (gem5's), ``isas`` (of the build), ``fingerprint`` (of the plug-in's instruction
table, null without the plug-in). This file runs inside gem5: nothing but m5 and the standard library.
"""

import json
import re
import sys
from pathlib import Path

import _m5.core
from m5.defines import buildEnv


def main() -> None:
    smol = getattr(_m5, "smol", None)
    facts = {
        "version": _m5.core.gem5Version,
        "compiled": _m5.core.compileDate,
        "isas": sorted(
            name[4:-4].lower() for name, built in buildEnv.items() if re.fullmatch("USE_.*_ISA", name) and built
        ),
        "fingerprint": None if smol is None else str(smol.isa_fingerprint),
    }
    Path(sys.argv[1]).write_text(json.dumps(facts), encoding="utf-8")


main()
