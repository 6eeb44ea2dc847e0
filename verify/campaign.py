"""Run batches of random programs on gem5's core models, compare whole states, and locate a difference.

A batch is one executable with several programs, drawn from one seed: the same seed, ISA and settings give the same
batch. Each program's state is compared byte for byte with the interpreter's.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from sysmol import isa as table
from sysmol.configs_gem5.launch import find_gem5, why_no_gem5
from sysmol.configs_gem5.request import CPUS
from sysmol.errors import SysmolError
from sysmol.files import atomic_write_json, sha256_file
from sysmol.isas import ISAS
from sysmol.machine import Machine, load_machine
from sysmol.verify.batch import PROGRAMS, make_batch
from sysmol.verify.location import locate
from sysmol.verify.simulation import compare, simulate


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
    """Sums of one ISA on one core model. ``words``: the functions with field6 that were executed, ``legal`` of them
    there are on the machine."""

    isa: str
    cpu: str
    legal: int = 0
    programs: int = 0
    smol: int = 0
    words: set[tuple[int, int]] = field(default_factory=set)
    instructions: int = 0
    seconds: float = 0.0
    differences: list[Difference] = field(default_factory=list)


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
    legal = {isa: len(legal_words(isa, machine.smol.capabilities)) for isa in settings.isas}
    rows = {(isa, cpu): Row(isa, cpu, legal[isa]) for isa in settings.isas for cpu in settings.cpus}
    with ThreadPoolExecutor(max_workers=settings.jobs) as pool:
        list(pool.map(lambda isa: _one_isa(isa, settings, machine, binaries[isa], folder, rows, say), settings.isas))
    _record(settings, binaries, rows, folder)
    return list(rows.values())


def legal_words(isa: str, has: table.Capabilities) -> set[tuple[int, int]]:
    """Functions with field6 that hardware executes on an ISA; field6 of loads and stores is 0."""
    accesses = [(access.fn, 0) for access in table.ACCESSES if isa in table.ACCESS_FORMATS[access.format].on]
    return {word for word in (*table.words(), *accesses) if has.executes(*word)}


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
            row.words |= batch.words
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
            "version": 2,
            "isa_fingerprint": table.FINGERPRINT,
            "machine": settings.machine,
            "seed": settings.seed,
            "gem5": {isa: {"path": str(path), "sha256": sha256_file(path)} for isa, path in binaries.items()},
            "rows": [
                {**vars(row), "words": len(row.words), "differences": [d.text() for d in row.differences]}
                for row in rows.values()
            ],
        },
    )


def summary(rows: Sequence[Row]) -> list[list[object]]:
    """Table rows: ISA, core model, programs, instructions, SMOL instructions, words of how many, differences, host
    seconds."""
    return [
        [r.isa, r.cpu, r.programs, r.instructions, r.smol, f"{len(r.words)} of {r.legal}", len(r.differences),
         round(r.seconds, 1)]
        for r in rows
    ]  # fmt: skip


def totals(rows: Sequence[Row]) -> dict[str, int]:
    """SMOL instructions of each ISA over all core models."""
    result: dict[str, int] = {}
    for row in rows:
        result[row.isa] = result.get(row.isa, 0) + row.smol
    return result
