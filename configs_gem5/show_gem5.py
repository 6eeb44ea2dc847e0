"""Write what this gem5 says of itself and of the SMOL plug-in to a JSON file.

    gem5.opt configs_gem5/show_gem5.py OUT.json

Keys: ``version`` and ``compiled`` (gem5's), ``isas`` (of the build), ``fingerprint`` (of the plug-in's instruction
table, null without the plug-in). This file runs inside gem5: nothing but m5 and the standard library.
"""

import json
import sys
from pathlib import Path

import _m5.core
from m5.defines import buildEnv


def main() -> None:
    smol = getattr(_m5, "smol", None)
    facts = {
        "version": _m5.core.gem5Version,
        "compiled": _m5.core.compileDate,
        "isas": [isa for isa in ("arm", "riscv") if buildEnv.get(f"USE_{isa.upper()}_ISA")],
        "fingerprint": None if smol is None else str(smol.isa_fingerprint),
    }
    Path(sys.argv[1]).write_text(json.dumps(facts), encoding="utf-8")


main()
