"""From a machine's description to gem5 objects: core, functional units, caches, memory. Imports m5."""

import functools
import importlib
from pathlib import Path
from typing import Any

import m5.objects as sim
from m5.objects.FuncUnit import OpClass
from m5.proxy import Parent

from sysmol.errors import SysmolError
from sysmol.isa import ACCESSES, BY_NAME, OPTIONAL
from sysmol.machine import Cache, Latency, Machine

NO_CLASS = "No_OpClass"
"""gem5's class of what needs no unit."""


def build_system(machine: Machine, isa: str, cpu: str, program: list[str], outdir: Path, plugin: bool) -> Any:
    """Root of a system with one core that runs ``program`` (executable and arguments, absolute paths)."""
    check_classes(machine)
    system = sim.System()
    system.clk_domain = sim.SrcClockDomain(clock=f"{machine.clock_ghz}GHz", voltage_domain=sim.VoltageDomain())
    system.cache_line_size = machine.line_bytes
    system.mem_mode = "atomic" if cpu == "atomic" else "timing"
    system.mem_ranges = [sim.AddrRange(f"{machine.memory.size_mib}MiB")]
    system.membus = sim.SystemXBar()
    system.system_port = system.membus.cpu_side_ports
    add_memory(system, machine)

    system.workload = sim.SEWorkload.init_compatible(program[0])
    process = sim.Process(executable=program[0], cmd=program, cwd=str(outdir), output="simout", errout="simerr")
    system.cpu = build_cpu(machine, isa, cpu, plugin)
    system.cpu.workload = process
    system.cpu.createThreads()
    add_caches(system, machine)
    return sim.Root(full_system=False, system=system)


def add_memory(system: Any, machine: Machine) -> None:
    """The memory controller on the system's bus."""
    system.mem_ctrl = sim.MemCtrl(
        dram=named_object(machine, machine.memory.model, "memory model")(range=system.mem_ranges[0])
    )
    system.mem_ctrl.port = system.membus.mem_side_ports


def add_caches(system: Any, machine: Machine) -> None:
    """Two levels of caches between the core and the system's bus."""
    system.cpu.addTwoLevelCacheHierarchy(
        build_cache(machine, machine.l1i, is_read_only=True),
        build_cache(machine, machine.l1d),
        build_cache(machine, machine.l2),
    )
    system.cpu.createInterruptController()
    system.cpu.connectBus(system.membus)


def check_classes(machine: Machine) -> None:
    """Every operation class of THIS gem5 must have a unit: one without runs in one cycle, unlimited, silently."""
    smol = {function.op_class for function in machine.smol.functions.values()} | set(smol_classes(machine).values())
    covered = smol.union(*(unit.classes for unit in machine.units))
    if missing := set(OpClass.vals) - covered - {NO_CLASS}:
        raise SysmolError(f"machine {machine.name}: no unit takes this gem5's operation class {sorted(missing)[0]}")
    if unknown := covered - set(OpClass.vals):
        raise SysmolError(f"machine {machine.name}: this gem5 has no operation class {sorted(unknown)[0]}")


def named_object(machine: Machine, name: str, what: str) -> Any:
    """gem5's class of that name."""
    found = getattr(sim, name, None)
    if found is None:
        raise SysmolError(f"machine {machine.name}: gem5 has no {what} {name!r}")
    return found


def build_cache(machine: Machine, cache: Cache, is_read_only: bool = False) -> Any:
    made = sim.Cache(
        size=f"{cache.size_kib}KiB",
        assoc=cache.ways,
        tag_latency=cache.latency,
        data_latency=cache.latency,
        response_latency=1,
        mshrs=cache.mshrs,
        tgts_per_mshr=16,
        is_read_only=is_read_only,
    )
    if cache.prefetcher:
        made.prefetcher = named_object(machine, cache.prefetcher, "prefetcher")()
    return made


def build_cpu(machine: Machine, isa: str, cpu: str, plugin: bool) -> Any:
    """One core, its decoder attached: the SMOL one with the machine's patterns and classes and with statistics of what
    it commits, or gem5's own."""
    prefix = {"arm": "Arm", "riscv": "Riscv"}[isa]
    model = {"o3": "O3CPU", "minor": "MinorCPU", "timing": "TimingSimpleCPU", "atomic": "AtomicSimpleCPU"}[cpu]
    # createThreads() calls the class attribute ArchDecoder of the ISA's mixin, whatever the model.
    mixin = getattr(importlib.import_module(f"m5.objects.{prefix}CPU"), f"{prefix}CPU")
    mixin.ArchDecoder = smol_decoder(machine, prefix) if plugin else getattr(sim, f"{prefix}Decoder")
    core = getattr(sim, prefix + model)()
    if plugin and hasattr(sim, "SmolStats"):  # a plug-in from before the statistics simulates all the same
        count_smol(core, machine, cpu)
    if isa == "riscv":
        core.isa = [sim.RiscvISA(vlen=machine.core.vector_bits, elen=64)]
    if cpu == "o3":
        configure_o3(core, machine)
    elif cpu == "minor":
        core.executeFuncUnits = minor_units(machine)
    return core


def smol_classes(machine: Machine) -> dict[str, str]:
    """Operation class of a function: its own where this gem5 has one (patch op-classes), else the machine's."""
    return {
        name: named if (named := BY_NAME[name].named_class) in OpClass.vals else function.op_class
        for name, function in machine.smol.functions.items()
    }


def smol_decoder(machine: Machine, prefix: str) -> Any:
    """The decoder class with the machine's SMOL unit filled in; gem5 calls it with the core's ``isa``."""
    kind = getattr(sim, f"Smol{prefix}Decoder")
    settings: dict[str, Any] = {
        BY_NAME[name].class_parameter: op_class for name, op_class in smol_classes(machine).items()
    }
    has = machine.smol.capabilities
    settings |= {OPTIONAL[name].plural: list(values) for name, values in has.chosen.items()}
    return functools.partial(kind, functions=list(has.codes()), **settings)


def count_smol(core: Any, machine: Machine, cpu: str) -> None:
    """Statistics ``cpu.smol``: committed SMOL instructions by function and pattern, and their share of issue slots."""
    classes = sorted({*smol_classes(machine).values(), *(access.op_class for access in ACCESSES)})
    core.smol = sim.SmolStats(manager=Parent.any, core=Parent.any, classes=classes, units=machine.smol_count)
    if cpu == "minor":  # no probe of this model names the instruction
        core.tracer = sim.SmolTracer()
        core.smol.tracer = core.tracer


def unit_table(machine: Machine) -> list[tuple[int, dict[str, Latency]]]:
    """Count and classes with latencies of every functional unit, the SMOL functions among them.

    A class of a SMOL function that this gem5 names otherwise keeps its place: nothing uses it then.
    """
    names = smol_classes(machine)
    smol = {
        op_class: function.latency
        for name, function in machine.smol.functions.items()
        for op_class in (function.op_class, names[name])
    }
    rows = []
    for unit in machine.units:
        classes = {name: machine.latencies[name] for name in unit.classes}
        rows.append((unit.count, classes | smol if unit.name in machine.smol.share else classes))
    if not machine.smol.share:
        rows.append((machine.smol.count, smol))
    return rows


def configure_o3(core: Any, machine: Machine) -> None:
    c = machine.core
    core.fetchWidth, core.decodeWidth, core.renameWidth = c.fetch_width, c.decode_width, c.rename_width
    core.fetchBufferSize = c.fetch_buffer_bytes
    core.dispatchWidth, core.issueWidth, core.wbWidth = c.dispatch_width, c.issue_width, c.writeback_width
    core.commitWidth = core.squashWidth = c.commit_width
    core.numROBEntries, core.numIQEntries = c.rob_entries, c.iq_entries
    core.LQEntries, core.SQEntries = c.load_queue, c.store_queue
    core.numPhysIntRegs, core.numPhysFloatRegs = c.int_registers, c.float_registers
    core.numPhysVecRegs, core.numPhysVecPredRegs = c.vector_registers, c.predicate_registers
    core.branchPred = named_object(machine, c.branch_predictor, "branch predictor")(numThreads=1)
    core.fuPool = sim.FUPool(
        FUList=[
            sim.FUDesc(
                count=count,
                opList=[
                    sim.OpDesc(opClass=name, opLat=latency.cycles, pipelined=latency.pipelined)
                    for name, latency in classes.items()
                ],
            )
            for count, classes in unit_table(machine)
        ]
    )


def minor_units(machine: Machine) -> Any:
    """The in-order core's pool. Its units have one latency each, so a unit becomes one per latency of its classes."""
    units = []
    for count, classes in unit_table(machine):
        by_latency: dict[tuple[int, bool], list[str]] = {}
        for name, latency in classes.items():
            by_latency.setdefault((latency.cycles, latency.pipelined), []).append(name)
        for (cycles, pipelined), names in by_latency.items():
            for _ in range(count):
                members = [sim.MinorOpClass(opClass=name) for name in names]
                units.append(
                    sim.MinorFU(
                        opClasses=sim.MinorOpClassSet(opClasses=members),
                        opLat=cycles,
                        issueLat=1 if pipelined else cycles,
                    )
                )
    return sim.MinorFUPool(funcUnits=units)
