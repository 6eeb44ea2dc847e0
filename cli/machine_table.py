"""Machines as rows of tables, for the command line and the documentation."""

from typing import Any

from sysmol.machine import Cache, Latency, Machine, pattern_set_name

Table = tuple[str, list[str], list[list[Any]]]
"""Title, column names, rows."""

PLAIN_SOURCES = ("choice", "unused", "option")
"""Sources that are no documents."""


def smol_words(machine: Machine) -> str:
    """The SMOL unit in a few words: whose issue slots, how many per cycle, latencies by function, patterns."""
    smol = machine.smol
    place = f"in {', '.join(smol.share)}" if smol.share else "own"
    cycles = ", ".join(latency_words(name, function.latency) for name, function in smol.functions.items())
    return f"{machine.smol_count} per cycle ({place}): {cycles}; {pattern_set_name(smol.patterns)}"


def latency_words(name: str, latency: Latency) -> str:
    return f"{name} {latency.cycles}" + ("" if latency.pipelined else " (not pipelined)")


def yes_no(latency: Latency) -> str:
    return "yes" if latency.pipelined else "no"


def cache_words(cache: Cache) -> str:
    return f"{cache.size_kib} KiB, {cache.ways}-way" + (f", {cache.prefetcher}" if cache.prefetcher else "")


def documents(machine: Machine) -> list[str]:
    """Short names of the documents that the machine's figures come from, the core's first."""
    used = [machine.core.source, *(latency.source for latency in machine.latencies.values())]
    used += [machine.cache_source, machine.memory.source]
    used += [function.latency.source for function in machine.smol.functions.values()]
    names = dict.fromkeys(source.split(":")[0] for source in used)
    return [name for name in names if name not in PLAIN_SOURCES]


def overview(machines: list[Machine]) -> list[Table]:
    """Two tables: a row per machine; a row per document."""
    columns = ["machine", "hardware of", "decode", "issue", "ROB", "vector pipes", "int8 MAC pipes", "SMOL unit"]
    columns += ["L1D / L2 KiB", "GHz", "sources"]
    rows: list[list[Any]] = []
    texts: dict[str, str] = {}
    for machine in machines:
        core = machine.core
        pipes = machine.unit_count("SimdFloatMultAcc")
        multipliers = f"{machine.unit_count('SimdMultAcc')}"
        if "arm" in machine.isas:
            multipliers += f" (dot product {machine.unit_count('SimdAlu')})"
        rows.append(
            [
                machine.name, "+".join(machine.isas), core.decode_width, core.issue_width, core.rob_entries,
                f"{pipes} x 128 bits", multipliers, smol_words(machine),
                f"{machine.l1d.size_kib} / {machine.l2.size_kib}", machine.clock_ghz, ", ".join(documents(machine)),
            ]
        )  # fmt: skip
        for name in documents(machine):
            texts.setdefault(name, machine.sources[name])
    return [
        ("machines (sysmol machines NAME shows one with the source of every latency)", columns, rows),
        ("sources", ["source", "document"], [[name, text] for name, text in texts.items()]),
    ]


def details(machine: Machine) -> list[Table]:
    """Tables that show a machine whole: core, units, latencies with their sources, the SMOL unit, memory, sources."""
    core = machine.core
    sizes = [[f.replace("_", " "), value] for f, value in vars(core).items() if f not in ("source", "note")]
    rows: dict[tuple[Latency, tuple[str, ...]], list[str]] = {}
    for name, latency in machine.latencies.items():
        units = tuple(f"{u.count} {u.name}" if u.count > 1 else u.name for u in machine.units if name in u.classes)
        rows.setdefault((latency, units), []).append(name)
    smol = [
        [name, f.op_class, f.latency.cycles, yes_no(f.latency), f.latency.source, f.latency.note]
        for name, f in machine.smol.functions.items()
    ]
    caches = (("L1I", machine.l1i), ("L1D", machine.l1d), ("L2", machine.l2))
    return [
        (f"{machine.name}: {machine.description}", ["core", "value"], [*sizes, ["clock GHz", machine.clock_ghz]]),
        (
            "latencies in cycles from issue to result; loads: plus the cache's",
            ["operation classes", "units", "cycles", "pipelined", "source", "note"],
            [
                [" ".join(names), ", ".join(units), latency.cycles, yes_no(latency), latency.source, latency.note]
                for (latency, units), names in rows.items()
            ],
        ),
        (
            f"SMOL unit: {smol_words(machine)}",
            ["function", "operation class", "cycles", "pipelined", "source", "note"],
            smol,
        ),
        (
            f"caches ({machine.cache_source}); memory {machine.memory.model}, {machine.memory.size_mib} MiB",
            ["level", "size", "latency", "misses in flight"],
            [[level, cache_words(c), c.latency, c.mshrs] for level, c in caches],
        ),
        ("sources", ["source", "document"], [["core", core.source], *([k, v] for k, v in machine.sources.items())]),
    ]
