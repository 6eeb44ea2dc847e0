"""Run batches of random programs on gem5's core models, compare whole states, and locate a difference.

A batch is one executable with several programs, drawn from one seed: the same seed, ISA and settings give the same
batch. Each program's state is compared byte for byte with the interpreter's.
"""

import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from sysmol import isa as table
from sysmol.configs_gem5.launch import find_gem5, run_gem5, why_no_gem5
from sysmol.configs_gem5.request import CPUS, Simulation
from sysmol.errors import CheckFailed, SysmolError
from sysmol.files import atomic_write_json, make_folder, sha256_file
from sysmol.isas import ISAS
from sysmol.machine import Machine, load_machine
from sysmol.manifest import HEADER as MANIFEST_HEADER
from sysmol.verify.assembly import assemble, source
from sysmol.verify.operations import Step
from sysmol.verify.program import Generator, Guard, Node, Program, Smol, Vill, run_program
from sysmol.verify.state import State, first_difference

PROGRAMS, NODES, PASSES = 40, 80, 10
"""Programs in a batch, nodes in a program's body (about), passes through it."""
TIMEOUT = 900.0


@dataclass
class Batch:
    """Programs with their states before and after, as the interpreter has them, and their executable."""

    isa: str
    seed: int
    programs: list[Program]
    before: list[State]
    after: list[bytes]
    smol: list[int]
    elf: Path


@dataclass(frozen=True)
class Difference:
    """What a core model got wrong: the first differing program of a batch, and the place, as far as it was found."""

    isa: str
    cpu: str
    seed: int
    program: int
    place: str
    located: str = ""

    def text(self) -> str:
        where = f"{self.isa} {self.cpu}: seed {self.seed}, program {self.program}: {self.place}"
        return f"{where}; {self.located}" if self.located else where


@dataclass
class Row:
    """Sums of one ISA on one core model."""

    isa: str
    cpu: str
    programs: int = 0
    smol: int = 0
    instructions: int = 0
    seconds: float = 0.0
    differences: list[Difference] = field(default_factory=list)


def make_batch(isa: str, seed: int, machine: Machine, folder: Path, programs: int = PROGRAMS) -> Batch:
    """Draw a batch, interpret it and assemble it to ``folder/<isa>-<seed>``."""
    size = register_bytes(isa, machine)
    drawn, before = [], []
    for index in range(programs):
        # A generator of its own for each program: program k is the same in batches of any length.
        rng = random.Random(f"{isa} {seed} {index}")
        generator = Generator(rng, isa, machine.smol.patterns)
        drawn.append(generator.program(NODES, PASSES))
        before.append(State.random(rng, isa, size))
    return interpret_and_assemble(isa, seed, drawn, before, folder / f"{isa}-{seed}")


def register_bytes(isa: str, machine: Machine) -> int:
    """Bytes of a vector register."""
    return 16 if isa == "arm" else machine.core.vector_bits // 8


def interpret_and_assemble(
    isa: str, seed: int, programs: Sequence[Program], before: Sequence[State], target: Path
) -> Batch:
    after, smol = [], []
    for program, state in zip(programs, before, strict=True):
        final = state.copy()
        smol.append(run_program(program, final).smol)
        after.append(final.block())
    elf = assemble(isa, source(isa, programs, before), target)
    return Batch(isa, seed, list(programs), list(before), after, smol, elf)


@dataclass(frozen=True)
class Outcome:
    """``found``: the states that gem5 wrote, perhaps fewer than there are programs; ``trouble``: why it stopped."""

    found: bytes
    instructions: int
    seconds: float
    trouble: str


def simulate(batch: Batch, cpu: str, machine: str, gem5: Path, folder: Path) -> Outcome:
    """Run a batch in gem5; the run folder is ``folder``."""
    return run_program_file(batch.isa, batch.elf, sum(map(len, batch.after)), cpu, machine, gem5, folder)


def run_program_file(
    isa: str,
    elf: Path,
    size: int,
    cpu: str,
    machine: str,
    gem5: Path,
    folder: Path,
    *,
    mode: str = "se",
    patterns: str | None = None,
) -> Outcome:
    """Run an executable that leaves ``size`` bytes in its results file; the run folder is ``folder``."""
    make_folder(folder)
    nothing = folder / "nothing.bin"
    nothing.write_bytes(b"\0")
    results = folder / "logits.bin"
    results.unlink(missing_ok=True)
    manifest = {
        **MANIFEST_HEADER,
        "name": elf.name,
        "variant": "verify",
        "isa": isa,
        "mode": mode,
        "network": {"path": "", "sha256": ""},
        "elf": {"path": str(elf.resolve()), "sha256": sha256_file(elf)},
        "patterns": [],
        "input": {"shape": [1, 1, 1], "bytes": 1},
        "output": {"classes": size // 4, "dtype": "int32"},
        "regions": [],
    }
    path = atomic_write_json(folder / "manifest.json", manifest)
    started = time.monotonic()
    trouble, instructions = "", 0
    simulation = Simulation(isa, cpu, machine, patterns, images_file=nothing, roi=False)
    try:
        run = run_gem5(path, folder, simulation, gem5=gem5, timeout=TIMEOUT)
        instructions = int(run["sim_insts"])
    except CheckFailed as error:
        trouble = str(error)
    found = results.read_bytes() if results.exists() else b""
    return Outcome(found, instructions, time.monotonic() - started, trouble)


def compare(batch: Batch, outcome: Outcome) -> tuple[int, str] | None:
    """First program whose state differs, and the first place in it; ``None`` where all agree."""
    at = 0
    for index, expected in enumerate(batch.after):
        found = outcome.found[at : at + len(expected)]
        at += len(expected)
        if found == expected:
            continue
        if not found:
            return index, f"no state ({outcome.trouble or 'gem5 wrote none'})"
        return index, first_difference(expected, found, batch.before[index].size)
    if outcome.trouble:
        return len(batch.after) - 1, outcome.trouble
    return None


def locate(batch: Batch, index: int, cpu: str, machine: str, gem5: Path, folder: Path) -> str:
    """The first pass and node of a program after which the state differs.

    Two more runs: the program cut after every pass; then, in the first pass that differs, cut after every node.
    """
    program, before = batch.programs[index], batch.before[index]

    def first_wrong(cuts: Sequence[Program], name: str) -> tuple[int, str] | None:
        states = [before] * len(cuts)
        cut = interpret_and_assemble(batch.isa, batch.seed, cuts, states, folder / name)
        return compare(cut, simulate(cut, cpu, machine, gem5, folder / f"{name}-run"))

    passes = [Program(program.body, n) for n in range(1, program.iterations + 1)]
    wrong = first_wrong(passes, "passes")
    if wrong is None:
        return "not seen again when the program runs alone"
    last = wrong[0] + 1
    nodes = [Program(program.body, last, n) for n in range(1, len(program.body) + 1)]
    wrong = first_wrong(nodes, "nodes")
    if wrong is None:
        return f"in pass {last}; not seen again with an exit inside the body"
    node, place = wrong
    shown = "; ".join(describe(n, batch.isa) for n in program.body[max(0, node - 3) : node + 1])
    return f"first after pass {last}, node {node}: {place}; the last nodes: {shown}"


def describe(node: Node, isa: str) -> str:
    """A node on one line."""
    if isinstance(node, Smol):
        if not table.is_legal(node.fn, node.field6):
            return f"illegal {node.fn}/{node.field6}"
        return f"{table.mnemonic(node.fn, node.field6)} v{node.vd}, v{node.vn}, v{node.vm}"
    if isinstance(node, Step):
        return node.text(isa, 16).replace("\n", " | ")
    if isinstance(node, Vill):
        return "vill { " + " | ".join(describe(word, isa) for word in node.words) + " }"
    name = f"if {node.condition} s{node.a}, {node.b}" if isinstance(node, Guard) else f"repeat s{node.scalar}"
    return f"{name} {{ " + " | ".join(describe(inner, isa) for inner in node.body) + " }"


@dataclass(frozen=True)
class Settings:
    """What a campaign runs. ``instructions``: SMOL instructions per ISA, over all core models, to reach at least;
    ``batches`` instead of it gives that many. ``seed`` is the first batch's; the next ones count up."""

    isas: tuple[str, ...] = ISAS
    cpus: tuple[str, ...] = CPUS
    seed: int = 1
    instructions: int = 100_000
    batches: int | None = None
    programs: int = PROGRAMS
    machine: str = "o3-n1"
    jobs: int = 2
    gem5: Path | None = None


def check_settings(settings: Settings) -> None:
    for name, given, known in (("ISA", settings.isas, ISAS), ("CPU", settings.cpus, CPUS)):
        for each in given:
            if each not in known:
                raise SysmolError(f"there is no {name} {each!r}: choose from {', '.join(known)}")


def run_campaign(settings: Settings, folder: Path, say: Callable[[str], None]) -> list[Row]:
    """Run a campaign; products and ``verify.json`` go to ``folder``. Raises :class:`SysmolError` without gem5."""
    check_settings(settings)
    machine = load_machine(settings.machine)
    binaries: dict[str, Path] = {}
    for isa in settings.isas:
        binary = settings.gem5 or find_gem5(isa)
        if binary is None:
            raise SysmolError(why_no_gem5(isa))
        binaries[isa] = binary
    rows = {(isa, cpu): Row(isa, cpu) for isa in settings.isas for cpu in settings.cpus}
    with ThreadPoolExecutor(max_workers=settings.jobs) as pool:
        list(pool.map(lambda isa: _one_isa(isa, settings, machine, binaries[isa], folder, rows, say), settings.isas))
    _record(settings, binaries, rows, folder)
    return list(rows.values())


def _one_isa(
    isa: str,
    settings: Settings,
    machine: Machine,
    gem5: Path,
    folder: Path,
    rows: dict[tuple[str, str], Row],
    say: Callable[[str], None],
) -> None:
    number = reached = 0
    while number < settings.batches if settings.batches is not None else reached < settings.instructions:
        seed = settings.seed + number
        batch = make_batch(isa, seed, machine, folder, settings.programs)
        for cpu in settings.cpus:
            run_folder = folder / f"{isa}-{seed}-{cpu}"
            outcome = simulate(batch, cpu, settings.machine, gem5, run_folder)
            row = rows[isa, cpu]
            row.programs += len(batch.programs)
            row.smol += sum(batch.smol)
            row.instructions += outcome.instructions
            row.seconds += outcome.seconds
            reached += sum(batch.smol)
            wrong = compare(batch, outcome)
            if wrong is None:
                what = f"{len(batch.programs)} programs, {sum(batch.smol)} SMOL instructions"
                say(f"{isa} seed {seed} {cpu}: {what} agree")
                continue
            index, place = wrong
            say(Difference(isa, cpu, seed, index, place).text())
            located = locate(batch, index, cpu, settings.machine, gem5, run_folder)
            found = Difference(isa, cpu, seed, index, place, located)
            row.differences.append(found)
            say(f"{isa} {cpu}: seed {seed}, program {index}: {located}")
            say(f"again: {again(settings, isa, cpu, seed)}")
        number += 1


def again(settings: Settings, isa: str, cpu: str, seed: int) -> str:
    """The command that repeats one batch on one core model."""
    command = f"sysmol verify-gem5 --isa {isa} --cpu {cpu} --seed {seed} --batches 1"
    command += f" --machine {settings.machine}" if settings.machine != "o3-n1" else ""
    return command + (f" --programs {settings.programs}" if settings.programs != PROGRAMS else "")


def _record(settings: Settings, binaries: dict[str, Path], rows: dict[tuple[str, str], Row], folder: Path) -> None:
    atomic_write_json(
        folder / "verify.json",
        {
            "format": "sysmol-verification",
            "version": 1,
            "isa_fingerprint": table.FINGERPRINT,
            "machine": settings.machine,
            "seed": settings.seed,
            "gem5": {isa: {"path": str(path), "sha256": sha256_file(path)} for isa, path in binaries.items()},
            "rows": [{**vars(row), "differences": [d.text() for d in row.differences]} for row in rows.values()],
        },
    )


def summary(rows: Sequence[Row]) -> list[list[object]]:
    """Table rows: ISA, core model, programs, instructions, SMOL instructions, differences, host seconds."""
    return [[r.isa, r.cpu, r.programs, r.instructions, r.smol, len(r.differences), round(r.seconds, 1)] for r in rows]


def totals(rows: Sequence[Row]) -> dict[str, int]:
    """SMOL instructions of each ISA over all core models."""
    result: dict[str, int] = {}
    for row in rows:
        result[row.isa] = result.get(row.isa, 0) + row.smol
    return result
