"""Branches of the readers that inputs take: of the modules that read files, without the functions that only write."""

import json
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
READ: dict[str, tuple[str, ...]] = {
    "sysmol/network/file/container.py": ("read", "_check_header", "_unpacked", "_json"),
    "sysmol/network/file/assemble.py": (),
    "sysmol/network/file/arrays.py": ("Reader.__init__", "Reader.take", "Reader.finish", "take_constant", "as_int32"),
    "sysmol/network/file/version1.py": (),
    "sysmol/network/file/version2.py": (),
    "sysmol/network/file/version3.py": (
        "Version3.__init__", "Version3.network", "Version3.finish", "Version3.tensor", "Version3.weight",
        "Version3.constants", "_check_fields",
    ),
    "sysmol/network/checks.py": (),
    "sysmol/network/operations/layer_checks.py": (),
    "sysmol/files.py": ("read_json", "check_fields", "_once", "read_text", "check_file", "check_version"),
    "sysmol/typed.py": (),
    "sysmol/manifest.py": (),
    "sysmol/machine/files.py": ("load_machine", "machine_path"),
    "sysmol/machine/parts.py": (),
    "sysmol/machine/reader.py": (),
    "sysmol/hwcost.py": ("read",),
    "kernels_c/plan/schedule_file.py": ("read",),
    "configs_gem5/inputs.py": ("load_job", "file_size", "check_elf", "Job.check_mode"),
    "analysis/runs.py": ("read_record", "read_run", "load_run", "_samples", "_layer", "smol_breakdown", "totals"),
    "analysis/stats.py": ("parse_blocks", "read_stats", "block_counts"),
    "analysis/checks.py": ("read_check",),
    "analysis/summary.py": ("read_summary", "agreement"),
    "analysis/products.py": ("collect", "network_files"),
    "analysis/accuracy.py": ("measured", "simulated"),
    "analysis/costs/vectors.py": ("read_costs", "layer_costs"),
    "train/frontend/npz.py": (),
    "train/frontend/data.py": (
        "load_npz", "npz_images", "_npz_labels", "unit_normalisation", "normalised", "_read_idx", "load_mnist",
    ),
    "train/frontend/unpacking.py": (),
    "train/frontend/checkpoint.py": ("load_weights",),
    "train/quantise/states.py": (),
    "train/quantise/phase_file.py": ("read",),
    "train/quantise/trainer.py": ("Trainer._load",),
    "workbench/spec_file.py": (),
    "workbench/sweep/spec.py": ("load_spec", "_distinct", "_machine", "_networks"),
    "workbench/experiments/spec.py": ("_table_of", "load_spec", "_normalisation", "_schedule", "_given"),
    "workbench/store.py": ("Store.find", "_read", "records"),
    "workbench/provenance.py": ("read", "changed", "verdict", "check"),
    "workbench/sweep/ledger.py": ("_read", "load_layers"),
    "search/spaces/files.py": (),
    "search/spaces/expression.py": (),
    "analysis/costs/energy/constants.py": ("read_core",),
    "analysis/costs/tile.py": ("Correction.load",),
    "train/frontend/readers/onnx_graph.py": (),
    "train/frontend/readers/tflite.py": (),
    "train/frontend/readers/tflite_integers.py": (),
    "train/frontend/readers/importer.py": (),
    "train/frontend/readers/assembly.py": (),
    "interchange/qonnx_in.py": (),
    "interchange/qonnx_nodes.py": (),
}  # fmt: skip
"""Modules of readers, each with the functions that count; all of them where none is named."""


class Counting:
    """Counts branches while it is entered."""

    def __init__(self) -> None:
        import coverage  # it comes with the extra for tests

        self.coverage = coverage.Coverage(
            data_file=None, branch=True, include=[str(ROOT / name) for name in READ], config_file=False
        )

    def __enter__(self) -> None:
        self.coverage.start()

    def __exit__(self, _kind: type | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self.coverage.stop()

    def rows(self) -> list[dict[str, Any]]:
        """Per module: ``branches``, how many inputs ``took``, and the lines with one that none took."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "coverage.json"
            self.coverage.json_report(outfile=str(path))
            found = json.loads(path.read_text())["files"]
        by_name = {Path(name).resolve().relative_to(ROOT).as_posix(): each["functions"] for name, each in found.items()}
        return [_row(name, by_name[name], functions) for name, functions in READ.items() if name in by_name]


def _row(name: str, found: dict[str, Any], functions: tuple[str, ...]) -> dict[str, Any]:
    """One module's."""
    missing = set(functions) - found.keys()
    assert not missing, f"{name} has no functions {sorted(missing)}"
    counted = [found[each] for each in functions or found]
    return {
        "module": name,
        "branches": sum(each["summary"]["num_branches"] for each in counted),
        "took": sum(each["summary"]["covered_branches"] for each in counted),
        "missing": sorted({line for each in counted for line, _ in each["missing_branches"]}),
    }
