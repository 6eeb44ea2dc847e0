"""Every reader of files that people pass on, with an undamaged folder to read, as one table."""

import functools
import gzip
import importlib.util
import io
import json
import os
import random
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from harm import (
    Damage,
    damage_bytes,
    damage_json,
    damage_lines,
    damage_network,
    damage_packed,
    damage_protobuf,
    damage_tensors,
    damage_zip,
)

from sysmol import hwcost
from sysmol.analysis.accuracy import measured
from sysmol.analysis.checks import write_check
from sysmol.analysis.costs.energy import constants as energy_constants
from sysmol.analysis.costs.tile import Correction
from sysmol.analysis.costs.vectors import layer_costs, read_costs
from sysmol.analysis.products import collect
from sysmol.analysis.report import write_report
from sysmol.analysis.runs import load_run, smol_breakdown, totals
from sysmol.analysis.summary import summary
from sysmol.configs_gem5.inputs import load_job
from sysmol.errors import SysmolError
from sysmol.files import sha256_file
from sysmol.kernels_c.build import run_host
from sysmol.kernels_c.plan import schedule_file
from sysmol.machine import load_machine
from sysmol.manifest import load_manifest
from sysmol.network import load, save
from sysmol.network.builder import any_network, random_network
from sysmol.network.file import container, encode
from sysmol.schedule import Schedule
from sysmol.search.spaces import files as space_files
from sysmol.train.frontend.checkpoint import load_weights
from sysmol.train.frontend.data import load_mnist, load_npz
from sysmol.train.quantise import phase_file
from sysmol.train.quantise.trainer import Phase, Trainer
from sysmol.workbench import provenance
from sysmol.workbench.experiments import spec as experiment_spec
from sysmol.workbench.store import Store, records
from sysmol.workbench.sweep import ledger
from sysmol.workbench.sweep import spec as sweep_spec


@dataclass(frozen=True)
class Reader:
    """Makes an undamaged folder, says which of its files are damaged and how, and reads the folder."""

    make: Callable[[Path], None]
    files: tuple[tuple[str, Damage], ...]
    read: Callable[[Path], object]
    seal: Callable[[Path], None] | None = None
    """Writes the right hash of a damaged file, so that what stands behind the hash is reached."""
    behind: Callable[[bytes], bool] = lambda content: True  # there is no checksum
    """Whether a damaged file still passes its checksum."""
    share: float = 1.0
    """Of the inputs that readers get by default."""


# --- network files ------------------------------------------------------------------------------------------------


@functools.cache
def networks() -> list[bytes]:
    """Files of all versions that hold all kinds of layers."""
    nets = [*map(any_network, range(8)), random_network(1, 5, (5, 9))]
    old = sorted((Path(__file__).parents[1] / "sysmol/data").glob("version[12]*"))
    return [encode(net) for net in nets] + [path.read_bytes() for path in old]


def damage_one(rng: random.Random, _content: bytes) -> bytes:
    """Any of :func:`networks`, damaged."""
    return damage_network(rng, rng.choice(networks()))


def passes(content: bytes) -> bool:
    """Whether a network file passes its checksum."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / NETWORK).write_bytes(content)
            container.read(Path(folder) / NETWORK)
    except SysmolError:
        return False
    return True


# --- executables, runs, reports ------------------------------------------------------------------------------------

PROGRAM = """#!/bin/sh
head -c {bytes} /dev/zero > "$2"
"""
"""What stands for a host executable: it writes logits of zeros."""
ELF = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\0\xb7\0\x01\0\0\0" + bytes(8) + (64).to_bytes(8, "little") + bytes(40)
MIX = {"smol": 6400, "vload": 1600, "vstore": 10, "simd": 300, "scalar": 900, "branch": 100, "chains": 16,
       "chain_len": 72}  # fmt: skip


def make_products(folder: Path) -> None:
    """A folder as the demo leaves it: a network, manifests for host and ARM, a run, a check."""
    net = random_network(1)
    assert net.samples is not None
    network = save(folder / "mixed.network.safetensors", net)
    (folder / "bin").mkdir()
    image, samples = net.tensors[net.input], net.samples
    kind = np.float32 if net.is_float else np.int32
    (folder / "bin/mixed.images.bin").write_bytes(samples.images.tobytes())
    (folder / "bin/mixed.logits.bin").write_bytes(samples.logits.astype(kind).tobytes())
    elves = {"host": PROGRAM.format(bytes=samples.logits.size * 4).encode(), "arm": ELF}
    sizes = {"macs": 64_000, "bytes_weights": 1000, "bytes_in": 200, "bytes_out": 100, "bytes_code": 80}
    for isa, content in elves.items():
        program = folder / f"bin/mixed.{isa}"
        program.write_bytes(content)
        program.chmod(0o755)
        regions = [
            {"name": layer.name, "op": layer.op, "schedule": "os-8x2x4-vdot" if layer.op == "conv2d" else "",
             **sizes, "mix": MIX}
            for layer in net.layers
        ]  # fmt: skip
        manifest = {
            "format": "sysmol-manifest", "version": 1, "name": net.name, "variant": "mixed", "isa": isa, "mode": "se",
            "network": {"path": "../mixed.network.safetensors", "sha256": sha256_file(network), "metrics": {}},
            "elf": {"path": program.name, "sha256": sha256_file(program)},
            "compiler": {"command": "cc", "version": "cc 1"}, "dataflow": "os-8x2x4-vdot",
            "patterns": list(net.patterns),
            "input": {"shape": list(image.shape), "bytes": samples.images[0].size},
            "output": {"classes": net.classes, "dtype": "float32" if net.is_float else "int32"},
            "regions": regions,
            "reference": {
                "images": "mixed.images.bin", "images_sha256": sha256_file(folder / "bin/mixed.images.bin"),
                "logits": "mixed.logits.bin", "logits_sha256": sha256_file(folder / "bin/mixed.logits.bin"),
                "count": len(samples.images), "tolerance": 0,
            },
        }  # fmt: skip
        (folder / f"bin/mixed.{isa}.json").write_text(json.dumps(manifest))
    run = folder / "runs/mixed-arm-o3"
    run.mkdir(parents=True)
    (run / "stats.txt").write_text(stats(2 * len(net.layers)))
    facts = {
        "format": "sysmol-run", "version": 1, "isa": "arm", "cpu": "o3", "machine": load_machine("o3-n1").to_json(),
        "patterns": list(net.patterns),
        "manifest": {"path": "../../bin/mixed.arm.json", "sha256": sha256_file(folder / "bin/mixed.arm.json")},
        "elf_sha256": sha256_file(folder / "bin/mixed.arm"), "network_sha256": sha256_file(network),
        "variant": "mixed", "name": net.name, "images": 2, "seed": 7,
        "gem5": {"version": "24.0.0.1", "binary": "gem5.opt"}, "isa_fingerprint": "0123456789abcdef",
        "logits_match": True, "mismatches": 0, "command": ["run_net.py", "--net", "x.json"],
    }  # fmt: skip
    (run / "run.json").write_text(json.dumps(facts))
    write_check(
        folder / "checks/mixed-host.json", what="generated C on the host", variant="mixed", isa="host", images=2,
        mismatches=0, tolerance=0, worst=0.0, network_sha256=sha256_file(network),
    )  # fmt: skip


def stats(blocks: int) -> str:
    block = """
---------- Begin Simulation Statistics ----------
simInsts 9000 # (Count)
system.cpu.numCycles {} # (Cycle)
system.cpu.commitStats0.numInsts 9000 # (Count)
system.cpu.commitStats0.committedInstType::SimdAes 6400 71.11% 71.11% # (Count)
system.cpu.commitStats0.committedInstType::MemRead 1600 17.78% 88.89% # (Count)
system.cpu.smol.units 2 # (Count)
system.cpu.smol.vdot::p0 6400 # (Count)
---------- End Simulation Statistics   ----------
"""
    return "".join(block.format(3000 + 100 * number) for number in range(blocks))


def seal_arm(folder: Path) -> None:
    """The executable's hash, where the manifest was left alone."""
    manifest = folder / "bin/mixed.arm.json"
    facts = json.loads(manifest.read_bytes())
    facts["elf"]["sha256"] = sha256_file(folder / "bin/mixed.arm")
    manifest.write_text(json.dumps(facts))


def read_host(folder: Path) -> None:
    """What ``sysmol verify`` and ``sysmol costs`` do with manifests, without the comparison."""
    manifest = folder / "bin/mixed.host.json"
    load_manifest(manifest)
    samples = load(folder / "mixed.network.safetensors").samples
    assert samples is not None
    run_host(manifest, samples.images, len(samples.images))


def read_arm(folder: Path) -> None:
    """What ``sysmol run`` checks, and what ``sysmol costs`` reads."""
    manifest = folder / "bin/mixed.arm.json"
    layer_costs(manifest, load_machine("o3-n1"))
    load_job(str(manifest), "arm", None).check_mode(None)


def read_run(folder: Path) -> None:
    run = folder / "runs/mixed-arm-o3"
    totals(load_run(run))
    smol_breakdown(run)


def read_products(folder: Path) -> None:
    """What ``sysmol report`` gathers."""
    summary(collect(folder, "o3-n1"), "sysmol report")


def read_page(folder: Path) -> None:
    """The page of ``sysmol report``; no tag that a file holds may stand in it."""
    found = collect(folder, "o3-n1")
    write_report(found, folder / "page", "sysmol report")
    page = (folder / "page/report.html").read_text()
    shutil.rmtree(folder / "page")
    assert "<script>document" not in page


# --- machines, specs, costs ---------------------------------------------------------------------------------------


def make_machine(folder: Path) -> None:
    (folder / "m.json").write_text(json.dumps({"format": "sysmol-machine", "version": 1} | load_machine("o3-n1").raw))


def make_parts(folder: Path) -> None:
    """A machine that is put together from its own copy of a part."""
    packaged = Path(__file__).parents[2] / "sysmol/machines"
    machine = json.loads((packaged / "o3-n1.json").read_text())
    core = next(name for name in machine["uses"] if name.startswith("core"))
    shutil.copy(packaged / f"parts/{core}.json", folder / "core.json")
    machine["uses"] = ["core.json" if name == core else name for name in machine["uses"]]
    (folder / "m.json").write_text(json.dumps(machine))


def read_machine(folder: Path) -> None:
    machine = load_machine(folder / "m.json")
    machine.with_smol("units=2,vdot=4,share=no")


SWEEP = """networks = "*.network.safetensors"
isas = ["arm", "riscv"]
machines = ["o3-n1", "m.json"]
patterns = ["machine", "P4", "0,12,44"]
cpus = "o3"
images = [1, 2]
seed = 3
time_limit = 600
layers_once = false
"""
EXPERIMENT = """dataset = "digits"
model = "resnet8"
seeds = [0, 1]
variants = ["fp32", "int8", "w4", "P4-1.8"]
[schedule]
calibration = 64
[phase]
batch = 64
lr = 0.01
[phases.fp32]
epochs = 2
[phases.int8]
epochs = 1
[phases.uniform]
epochs = 1
[phases.noise]
epochs = 1
[phases.tune]
epochs = 1
"""


def make_sweep(folder: Path) -> None:
    make_machine(folder)
    (folder / "a.network.safetensors").write_bytes(b"")
    (folder / "s.toml").write_text(SWEEP)
    plain = {"networks": "*.network.safetensors", "isas": ["arm"], "machines": ["m.json"], "images": [1, 2], "seed": 3}
    (folder / "s.json").write_text(json.dumps(plain))


def read_sweep(folder: Path) -> None:
    for name in ("s.toml", "s.json"):
        sweep_spec.load_spec(folder / name)


def make_costs(folder: Path) -> None:
    row = {"cycles": 100.0, "vectors": 8.0, "cycles_per_vector": 9.5}
    facts = {"name": "n", "variant": "v", "isa": "arm", "machine": "o3-n1", "source": "estimate"}
    head = {"format": "sysmol-costs", "version": 1}
    (folder / "c.json").write_text(json.dumps({**head, **facts, "layers": {"a": row, "b": row}}))


def make_summary(folder: Path) -> None:
    check = {"what": "gem5 24 o3", "variant": "v", "isa": "arm", "images": 2, "mismatches": 0, "worst": None}
    row = {"variant": "v", "isa": "arm", "cpu": "o3", "machine": "o3-n1", "source": "gem5 24 o3", "cycles": 5000}
    head = {"format": "sysmol-summary", "version": 1, "networks": {"v": {"sha256": "0123"}}}
    (folder / "summary.json").write_text(json.dumps({**head, "agreement": [check], "cycles": [row]}))


def read_schedules(folder: Path) -> None:
    for entry in schedule_file.read(folder / "s.json").values():
        Schedule.parse(str(entry["schedule"]))


def make_schedules(folder: Path) -> None:
    entry = {"schedule": "os-8x2x4-vdot", "cycles": 5, "heuristic": "os-8x2x4-vdot", "measured": {}, "source": "x"}
    schedule_file.write(folder / "s.json", {"0123456789abcdef": entry})


def read_hwcost(folder: Path) -> None:
    """What tables, figures and estimates read of it."""
    found = hwcost.read(folder / "h.json")
    for row in found["points"]:
        assert row["logic_um2"] + row["flop_um2"] + sum(row["stage_ps"]) >= 0
        for case in row.get("energy", []):
            hwcost.energy(row, case["instruction"], case["selector"], case["operands"])
    for key in set(map(hwcost.key, found["points"])):
        hwcost.find(found, *key)


def make_provenance(folder: Path) -> None:
    whole = {"code": {"files.py": "0123"}, "files": {}, "variables": {}, "packages": {}, "tools": {}}
    head = {"format": provenance.FORMAT, "version": provenance.VERSION}
    data = {**head, "rows": {"a": {"inputs": "x"}}, "inputs": {"x": whole}}
    provenance.path_of(folder / "t.csv").write_text(json.dumps(data))


def read_provenance(folder: Path) -> None:
    provenance.check(folder / "t.csv")
    for facts in provenance.read(folder / "t.csv")["inputs"].values():
        provenance.verdict(facts)


def make_energy(folder: Path) -> None:
    shutil.copy(sorted(energy_constants.CORES.glob("*.json"))[0], folder / "core.json")


def make_tile(folder: Path) -> None:
    Correction("gem5", 100, tuple(0.01 * n for n in range(10)), 0.9, 1.2).save(folder / "tile.json")


def make_space(folder: Path) -> None:
    shutil.copy(space_files.FOLDER / "mobilenetv2-cifar.toml", folder / "s.toml")


def read_space(folder: Path) -> None:
    """The file, and a few points of it."""
    space = space_files.load_space(folder / "s.toml")
    rng = random.Random(1)
    for _ in range(3):
        space.keeps_budgets(space.random(rng))


# --- training -----------------------------------------------------------------------------------------------------


def make_npz(folder: Path) -> None:
    rng = np.random.default_rng(1)
    data = {
        "train_images": rng.integers(0, 256, (12, 6, 6, 2), np.uint8), "train_labels": np.arange(12) % 3,
        "test_images": rng.integers(0, 256, (6, 6, 6, 2), np.uint8), "test_labels": np.arange(6) % 3,
        "classes": np.array(["a", "b", "c"]),
    }  # fmt: skip
    np.savez_compressed(folder / "d.npz", **data)


def whole_archive(content: bytes) -> bool:
    """Whether an archive passes the checksums of its members."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return archive.testzip() is None
    except Exception:  # zipfile raises many kinds
        return False


def make_mnist(folder: Path) -> None:
    """Two splits of three images, one of them packed."""
    rng = np.random.default_rng(1)
    for split in ("train", "t10k"):
        for kind, shape in (("images-idx3", (3, 28, 28)), ("labels-idx1", (3,))):
            head = b"\0\0\x08" + bytes([len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape)
            content = head + rng.integers(0, 10, shape, np.uint8).tobytes()
            name = folder / f"{split}-{kind}-ubyte"
            if split == "train":
                name.write_bytes(content)
            else:
                name.with_name(f"{name.name}.gz").write_bytes(gzip.compress(content))


def read_mnist(folder: Path) -> None:
    os.environ["SYSMOL_DATA"] = str(folder)
    load_mnist()


def make_weights(folder: Path) -> None:
    torch.save(module().state_dict(), folder / "w.pt")
    safetensors.torch.save_file(module().state_dict(), folder / "w.safetensors")


def read_weights(name: str) -> Callable[[Path], None]:
    return lambda folder: load_weights(module(), folder / name)


def module() -> torch.nn.Module:
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(72, 3))


PHASE = Phase("fp32", epochs=1, batch=4)


def fit(folder: Path) -> None:
    """One epoch, or what a checkpoint says."""
    data = load_npz(folder / "d.npz")
    Trainer(data, folder=folder, quiet=True, device="cpu").fit(module(), PHASE)


def make_checkpoint(folder: Path) -> None:
    make_npz(folder)
    fit(folder)


def make_phase(folder: Path) -> None:
    phase_file.write(folder / "fp32.phase.pt", "course", module(), [{"epoch": 1, "loss": 0.5}])


def read_phase(folder: Path) -> None:
    end = phase_file.read(folder / "fp32.phase.pt", "course", module())
    if end is not None:
        module().load_state_dict(end.state)


def damage_pickle(rng: random.Random, content: bytes) -> bytes:
    """A checkpoint whose values are others, under the right fingerprint; one that would run code; damaged bytes."""
    if rng.random() < 0.4:
        return damage_zip(rng, content)
    state = torch.load(io.BytesIO(content), weights_only=True)
    values = (None, -1, 10**20, "text", [], {}, [None], [{"a": "b"}], torch.zeros(3), torch.full((72,), torch.nan))
    key = rng.choice(list(state))
    if isinstance(state[key], dict) and rng.random() < 0.7 and state[key]:
        inner = rng.choice(list(state[key]))
        if rng.random() < 0.3:
            del state[key][inner]
        else:
            state[key][inner] = rng.choice(values)
    elif rng.random() < 0.3:
        state[key] = Runs()
    elif rng.random() < 0.3:
        del state[key]
    else:
        state[key] = rng.choice(values)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


class Runs:
    """Unpickled carelessly, it runs a command."""

    def __reduce__(self) -> tuple[object, ...]:
        import os

        return os.system, ("touch hostile-was-here",)


# --- results ------------------------------------------------------------------------------------------------------


def make_store(folder: Path) -> None:
    entry = folder / "store/train/0123"
    entry.mkdir(parents=True)
    (entry / "product.bin").write_bytes(b"1")
    record = {
        "format": "sysmol-result", "version": 1, "key": "0123", "step": "train", "seconds": 1.5, "host": "h",
        "pid": 1, "command": "sysmol", "commit": "c", "date": "d", "error": None, "given": {"seed": 1},
        "products": {"product.bin": sha256_file(entry / "product.bin")}, "inputs": {"code": {"a.py": "0"}},
    }  # fmt: skip
    (entry / "record.json").write_text(json.dumps(record))


class Task:
    """A task by its place in the store."""

    class step:
        name = "train"

    key = "0123"


def read_store(folder: Path) -> None:
    store = Store(folder / "store")
    entry = store.find(Task)  # type: ignore[arg-type]
    if entry is not None:
        str(entry.how)
    for record in records(folder / "store"):
        float(record["seconds"])


def make_ledger(folder: Path) -> None:
    figures = dict.fromkeys(ledger.FIGURES, 1.5)
    row = dict.fromkeys(ledger.COLUMNS, "x") | figures | {"cycles": 1.5, "images": 2, "seed": 0, "status": "ok"}
    ledger.Ledger(folder / "sweep").add("0123", {**row, "kind": "network", "run": "runs/x"})
    ledger.Ledger(folder / "sweep").add("4567", {**row, "kind": "network", "run": "runs/x"})


def read_ledger(folder: Path) -> None:
    ledger.load_layers(folder / "sweep")


NETWORK = "a.network.safetensors"
# --- networks of other tools --------------------------------------------------------------------------------------


def foreign() -> dict[str, Reader]:
    """Readers of other formats, where the extra for them is installed."""
    if importlib.util.find_spec("tflite") is None or importlib.util.find_spec("onnx") is None:
        return {}
    sys.path += [str(Path(__file__).parents[1] / folder) for folder in ("train", "interchange")]
    from onnx_files import small
    from qonnx_models import convolutions
    from tflite_files import eight_bits, everything

    from sysmol.interchange.qonnx_in import read_qonnx
    from sysmol.train.frontend.readers import read_model
    from sysmol.train.quantise.eight_bits import import_eight_bits

    def reader(name: str, content: bytes, read: Callable[[Path], object], share: float, damage: Damage) -> Reader:
        def make(folder: Path) -> None:
            (folder / name).write_bytes(content)

        return Reader(make, ((name, damage),), lambda folder: read(folder / name), share=share)

    def module_of(path: Path) -> None:
        read_model(path).table()

    models = {"ONNX": small(np.random.default_rng(1)), "QONNX": convolutions(1)}
    return {
        "TensorFlow Lite": reader("a.tflite", everything(1), module_of, 0.3, damage_bytes),
        "TensorFlow Lite, integers": reader("a.tflite", eight_bits(1), import_eight_bits, 0.3, damage_bytes),
        "ONNX": reader("a.onnx", models["ONNX"], module_of, 0.3, damage_protobuf),
        "QONNX": reader("a.onnx", models["QONNX"], read_qonnx, 0.3, damage_protobuf),
    }


RUN_JSON = "runs/mixed-arm-o3/run.json"
READERS = {
    "network": Reader(lambda folder: void((folder / NETWORK).write_bytes(networks()[0])), ((NETWORK, damage_one),),
                      lambda folder: load(folder / NETWORK), behind=passes, share=20),
    "manifest, verify": Reader(make_products, (("bin/mixed.host.json", damage_json),), read_host),
    "manifest, run": Reader(make_products, (("bin/mixed.arm.json", damage_json), ("bin/mixed.arm", damage_bytes)),
                            read_arm, seal_arm),
    "run folder": Reader(make_products, ((RUN_JSON, damage_json), ("runs/mixed-arm-o3/stats.txt", damage_lines)),
                         read_run),
    "products": Reader(make_products, tuple((name, damage_json) for name in (
        "bin/mixed.arm.json", RUN_JSON, "checks/mixed-host.json")), read_products),
    "page": Reader(make_products, tuple((name, damage_json) for name in (
        "bin/mixed.arm.json", RUN_JSON, "checks/mixed-host.json")), read_page, share=0.03),
    "machine": Reader(make_machine, (("m.json", damage_json),), read_machine),
    "machine of parts": Reader(make_parts, (("m.json", damage_json), ("core.json", damage_json)), read_machine),
    "sweep spec": Reader(make_sweep, (("s.toml", damage_lines), ("s.json", damage_json), ("m.json", damage_json)),
                         read_sweep),
    "experiment spec": Reader(lambda folder: void((folder / "e.toml").write_text(EXPERIMENT)),
                              (("e.toml", damage_lines),), lambda folder: experiment_spec.load_spec(folder / "e.toml")),
    "costs": Reader(make_costs, (("c.json", damage_json),), lambda folder: read_costs(folder / "c.json")),
    "schedules": Reader(make_schedules, (("s.json", damage_json),),  read_schedules),
    "summary": Reader(make_summary, (("summary.json", damage_json),), lambda folder: measured(
        {"variant": "v", "network_sha256": "0123"}, folder / "summary.json")),
    "cost of hardware": Reader(lambda folder: void(shutil.copy(hwcost.COMMITTED, folder / "h.json")),
                               (("h.json", damage_json),), read_hwcost, share=0.3),
    "provenance": Reader(make_provenance, (("t.source.json", damage_json),), read_provenance),
    "space": Reader(make_space, (("s.toml", damage_lines),), read_space, share=0.3),
    "constants of energy": Reader(make_energy, (("core.json", damage_json),),
                                  lambda folder: energy_constants.read_core(folder / "core.json"), share=0.3),
    "corrections of the tile": Reader(make_tile, (("tile.json", damage_json),),
                                      lambda folder: Correction.load(folder / "tile.json"), share=0.3),
    "npz": Reader(make_npz, (("d.npz", damage_zip),), lambda folder: load_npz(folder / "d.npz"), behind=whole_archive),
    "MNIST": Reader(make_mnist, tuple((name, damage_packed) for name in (
        "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte.gz")), read_mnist, share=0.3),
    "weights": Reader(make_weights, (("w.pt", damage_pickle),), read_weights("w.pt"), behind=whole_archive, share=0.3),
    "weights, safetensors": Reader(make_weights, (("w.safetensors", damage_tensors),),
                                   read_weights("w.safetensors"), share=0.3),
    "checkpoint": Reader(make_checkpoint, (("fp32.checkpoint.pt", damage_pickle),), fit, behind=whole_archive,
                         share=0.1),
    "phase file": Reader(make_phase, (("fp32.phase.pt", damage_pickle),), read_phase, behind=whole_archive),
    "store": Reader(make_store, (("store/train/0123/record.json", damage_json),), read_store),
    "ledger": Reader(make_ledger, (("sweep/records/0123.json", damage_json),), read_ledger),
    **foreign(),
}  # fmt: skip


def void(_: object) -> None:
    """Nothing, of anything."""
