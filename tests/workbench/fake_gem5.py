"""Stands in for gem5 where only what a sweep does with it matters: takes run_net.py's options, leaves a run folder.

FAKE_LOG: a file that gets a line per start. FAKE_SECONDS: how long a run takes. FAKE_ENDING: how many of the log's
starts come to an end, the later ones hang. FAKE_FAIL: machine that fails.
"""

import json
import os
import sys
import time
from pathlib import Path

from sysmol.machine import load_machine

BLOCK = """
---------- Begin Simulation Statistics ----------
simInsts 9000 # (Count)
system.cpu.numCycles {} # (Cycle)
system.cpu.commitStats0.numInsts 9000 # (Count)
system.cpu.commitStats0.committedInstType::SimdAes 6400 71.11% 71.11% # (Count)
---------- End Simulation Statistics   ----------
"""


def main() -> int:
    options = {"--images": "1", "--cpu": "o3", "--machine": "o3-n1"}  # as run_net.py has them by default
    options |= dict(zip(sys.argv[4::2], sys.argv[5::2], strict=False))
    out, manifest_path = Path(options["--outdir"]), Path(options["--net"])
    machine, images = options["--machine"], int(options["--images"])
    with open(os.environ["FAKE_LOG"], "a", encoding="utf-8") as log:
        log.write(" ".join([manifest_path.name, Path(machine).stem, options["--patterns"], str(images)]) + "\n")
        log.flush()
        number = Path(log.name).read_bytes()[: log.tell()].count(b"\n")
    out.mkdir(parents=True, exist_ok=True)
    (out / "simout").write_text("layer 1\nlayer 2\n")
    hangs = number > int(os.environ.get("FAKE_ENDING", number))
    time.sleep(3600 if hangs else float(os.environ.get("FAKE_SECONDS", "0")))
    if Path(machine).stem == os.environ.get("FAKE_FAIL"):
        print("run_net.py: the program met its end", file=sys.stderr)
        return 1
    manifest = json.loads(manifest_path.read_text())
    (out / "stats.txt").write_text("".join(BLOCK.format(1000 + k) for k in range(images * len(manifest["regions"]))))
    run = {
        "format": "sysmol-run",
        "version": 1,
        "manifest": {"path": str(manifest_path), "sha256": ""},
        "machine": load_machine(machine).to_json(),
        "gem5": {"version": "fake"},
        "cpu": options["--cpu"],
        "images": images,
        "elf_sha256": manifest["elf"]["sha256"],
        **{name: manifest[name] for name in ("name", "variant", "isa")},
    }
    (out / "run.json").write_text(json.dumps(run))
    return 0


if __name__ == "__main__":
    sys.exit(main())
