"""Machines as data: what comes with the package is whole, and broken files are refused with one line."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest

from sysmol.cli import run_command_line
from sysmol.cli.machine_table import documents
from sysmol.errors import SysmolError
from sysmol.files import PACKAGE, atomic_write_json
from sysmol.isa import ALL_NAMES, EVERYTHING, STANDARD_NAMES, TABLE
from sysmol.machine import (
    CLASS_GROUPS,
    MACHINE_FOLDER,
    OP_CLASSES,
    PARTS_FOLDER,
    PATTERN_SETS,
    SMOL_FUNCTIONS,
    compose,
    list_machines,
    load_machine,
    parse_machine,
    pattern_set,
    pattern_set_name,
)
from sysmol.machine.op_classes import UNUSED
from sysmol.pattern import PATTERNS


@pytest.mark.parametrize("name", list_machines())
def test_machine_is_whole(name: str) -> None:
    machine = load_machine(name)
    assert machine.name == name
    smol = {function.op_class for function in machine.smol.functions.values()}
    for op_class in OP_CLASSES - smol:
        assert machine.unit_count(op_class) >= 1
        assert machine.latency(op_class) >= 1
    assert machine.smol_count >= 1 and all(machine.smol_latency(f) >= 1 for f in machine.smol.functions)
    assert set(machine.smol.functions) == set(machine.smol.instructions) & set(SMOL_FUNCTIONS)
    assert machine.smol.patterns == tuple(range(45))


@pytest.mark.parametrize("name", list_machines())
def test_smol_is_not_favoured(name: str) -> None:
    """SMOL starts no more operations per cycle than the 8-bit dot product, and is no faster."""
    machine = load_machine(name)
    assert machine.smol_count <= machine.unit_count("SimdAlu")
    assert machine.smol_latency("vmac") >= machine.latency("SimdAlu")
    assert machine.smol_latency("vdot") >= machine.smol_latency("vmac")


def test_pattern_sets() -> None:
    assert [len(PATTERN_SETS[name]) for name in ("P1", "P4", "P8", "P45")] == [1, 4, 8, 45]
    for name, ids in PATTERN_SETS.items():
        assert pattern_set(name.lower()) == ids and pattern_set_name(ids) == name
        # Patterns and ids are two spellings of one thing.
        assert pattern_set(" ".join(str(PATTERNS[i]).replace(" ", "") for i in ids)) == ids
        assert pattern_set(",".join(str(i) for i in reversed(ids))) == ids
    assert pattern_set(pattern_set_name((3, 7))) == (3, 7)
    for text in ("", "P5", "45", "-1", "(1,2,3)", "8,x", "()"):
        with pytest.raises(SysmolError) as caught:
            pattern_set(text)
        assert "\n" not in str(caught.value)


def test_with_patterns() -> None:
    machine = load_machine("o3-n1").with_patterns(pattern_set("P4"))
    assert machine.smol.patterns == pattern_set("P4")
    assert parse_machine(machine.to_json(), "again").smol.patterns == pattern_set("P4")


BROKEN = {
    "missing field": (lambda d: d.pop("core"), "'core' is missing"),
    "unknown field": (lambda d: d["core"].update(turbo=1), "unknown field 'turbo'"),
    "no positive number": (lambda d: d["core"].update(rob_entries=0), "rob_entries: 0 is not positive"),
    "text for a number": (lambda d: d["core"].update(rob_entries="128"), "'128' is no int"),
    "few vector registers": (lambda d: d["core"].update(vector_registers=48), "128 or more"),
    "unknown class": (lambda d: d["units"][0]["classes"].append("Magic"), "no operation class 'Magic'"),
    "class without unit": (lambda d: d["units"][0]["classes"].remove("IntAlu"), "no unit takes IntAlu"),
    "class without latency": (lambda d: d["latencies"].pop(0), "IntAlu has no latency"),
    "class twice": (lambda d: d["latencies"].append(d["latencies"][0]), "IntAlu stands twice"),
    "no source": (lambda d: d["latencies"][0].update(source="hearsay"), "source 'hearsay'"),
    "SMOL class in a unit": (lambda d: d["units"][0]["classes"].append("SimdAes"), "class of a SMOL function"),
    "share without unit": (lambda d: d["smol"].update(share=["v9"]), "which is no unit"),
    "share and count": (lambda d: d["smol"].update(count=1), "either"),
    "unknown patterns": (lambda d: d["smol"].update(patterns="P7"), "pattern set 'P7'"),
    "unknown instruction": (lambda d: d["smol"].update(instructions="vdot vfly"), "there is no instruction 'vfly'"),
    "an instruction that it lacks": (lambda d: d["smol"].update(instructions="vdot"), "unknown field 'vmac'"),
    "unknown piece": (lambda d: d["smol"].update(pieces="38"), "'38' is no list of numbers of a piece pattern"),
    "unknown form": (lambda d: d["smol"].update(forms="0,16"), "'0,16' is no list of numbers of a form selector"),
    "clock": (lambda d: d.update(clock_ghz=-1), "clock_ghz"),
    "two latencies of one class": (
        lambda d: d["smol"]["functions"]["vqpk"].update({"class": "SimdAes"}),
        "with two latencies",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_machine(what: str) -> None:
    change, message = BROKEN[what]
    data = copy.deepcopy(load_machine("o3-n1").to_json())
    change(data)
    with pytest.raises(SysmolError) as caught:
        parse_machine(data, "x.json")
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_machine_files(tmp_path) -> None:
    with pytest.raises(SysmolError, match=r"there is no machine 'cray': choose from o3-a72, .*o3-n1"):
        load_machine("cray")
    data = load_machine("o3-n1").to_json()
    assert load_machine(atomic_write_json(tmp_path / "mine.json", data)) == load_machine("o3-n1")
    with pytest.raises(SysmolError, match="newer than version 1"):
        load_machine(atomic_write_json(tmp_path / "new.json", {**data, "version": 2}))
    (tmp_path / "cut.json").write_text('{"format": "sysmol-mach')
    with pytest.raises(SysmolError, match="no JSON"):
        load_machine(tmp_path / "cut.json")


def test_functions_that_a_machine_does_not_name(tmp_path: Path) -> None:
    """They have the instruction table's class and latency, and the run folder says so; unknown ones are refused."""
    data = copy.deepcopy(load_machine("o3-n1").to_json())
    row = next(row for row in TABLE if row.name == "vqpk")
    del data["smol"]["functions"]["vqpk"]
    machine = load_machine(atomic_write_json(tmp_path / "mine.json", data))
    found = machine.smol.functions["vqpk"]
    assert (found.op_class, found.latency.cycles, found.latency.pipelined) == (row.op_class, row.timing.cycles, True)
    assert found.latency.note == row.timing.reason and "table.py" in machine.sources[found.latency.source]
    assert machine.to_json()["smol"]["functions"]["vqpk"]["cycles"] == row.timing.cycles
    assert parse_machine(machine.to_json(), "again") == machine
    data["smol"]["functions"]["vfly"] = data["smol"]["functions"]["vdot"]
    with pytest.raises(SysmolError, match="smol: functions: unknown field 'vfly'"):
        parse_machine(data, "x.json")


def test_instructions_of_a_machine(tmp_path: Path) -> None:
    """Named alone or in sets; the classes of those that it lacks are in a unit, those of those that it has in none."""
    assert load_machine("o3-n1").smol.instructions == STANDARD_NAMES
    both = load_machine("o3-n1-matrix")
    assert both.smol.instructions == ALL_NAMES and both.smol.capabilities == EVERYTHING
    for text, names in {
        "instructions=vdot+vqpk": ("vqpk", "vdot"),
        "instructions=matrix+accesses": ALL_NAMES[5:],
        "instructions=all": ALL_NAMES,
    }.items():
        for name in ("o3-n1", "o3-n1-matrix"):
            machine = load_machine(name).with_smol(text)
            assert machine.smol.instructions == names
            assert parse_machine(machine.to_json(), "again") == machine
            taken = {function.op_class for function in machine.smol.functions.values()}
            assert all((machine.unit_count(c) == 0) == (c in taken) for c in CLASS_GROUPS[UNUSED])
    few = load_machine("o3-n1-matrix").with_smol("pieces=0+10+14,forms=0,vmm.h=3")
    assert few.smol.lists == {"piece": (0, 10, 14), "form": (0, 16)} and few.smol_latency("vmm.h") == 3
    has = few.smol.capabilities
    assert [has.executes(8, piece) for piece in (0, 1, 10)] == [True, False, True]
    assert [has.executes(9, form) for form in (0, 1, 16, 32)] == [True, False, True, False]
    with pytest.raises(SysmolError, match=r"the machine has no vmm\.h: add it as in instructions="):
        load_machine("o3-n1").with_smol("vmm.h=3")
    data = copy.deepcopy(load_machine("o3-n1").to_json())
    data["smol"]["instructions"] = "standard vunp.h"
    with pytest.raises(SysmolError, match="SimdShaSigma3 is the class of a SMOL function"):
        load_machine(atomic_write_json(tmp_path / "mine.json", data))


def test_machines_of_the_page(tmp_path: Path) -> None:
    """The parts that docs/machines.md shows: vdot alone, the matrix form alone."""
    page = (PACKAGE.parent / "docs" / "machines.md").read_text()
    blocks = dict(re.findall(r'```json title="([^"]+)"\n(.*?)```', page, re.DOTALL))
    found = {}
    for title, text in blocks.items():
        (tmp_path / title).write_text(text)
        uses = ["core-neoverse-n1", title, "caches-neoverse-n1", "memory-ddr4-2400"]
        data = json.loads((MACHINE_FOLDER / "o3-n1.json").read_text()) | {"uses": uses}
        found[title] = load_machine(atomic_write_json(tmp_path / f"machine-{title}", data)).smol
    assert found["smol-dot.json"].instructions == ("vqpk", "vdot")
    matrix = found["smol-matrix.json"]
    assert matrix.instructions == ("vmm.w", "vmm.h", "vqpk.h", "vqpk.s", "vunp.h", "lq", "sq")
    assert matrix.lists == {"piece": (0, 3, 10, 14), "form": (0, 4, 9, 16, 20, 25)}
    assert not matrix.capabilities.executes(0, 0) and matrix.capabilities.executes(9, 20)


def test_own_units() -> None:
    """A SMOL unit of its own: no shared issue slots."""
    data = copy.deepcopy(load_machine("o3-n1").to_json())
    del data["smol"]["share"]
    data["smol"]["count"] = 3
    machine = parse_machine(data, "own")
    assert machine.smol_count == 3 and machine.smol.share == ()


# --- composition ---


def composed(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    """The N1's file with changes, as load_machine() sees it."""
    data = json.loads((MACHINE_FOLDER / "o3-n1.json").read_text()) | changes
    return load_machine(atomic_write_json(tmp_path / "mine.json", data)).to_json()


def test_parts(tmp_path: Path) -> None:
    """Parts by name and by path; a machine file by itself equals the one put together."""
    whole = composed(tmp_path)
    assert "uses" not in whole and whole == load_machine("o3-n1").to_json()
    assert not [c for row in whole["units"] + whole["latencies"] for c in row["classes"] if c.startswith("@")]
    assert composed(tmp_path, uses=[], **{k: v for k, v in whole.items() if k != "name"}) == whole
    cache = json.loads((PARTS_FOLDER / "caches-neoverse-n1.json").read_text())
    cache["caches"]["l2"]["size_kib"] = 512
    atomic_write_json(tmp_path / "small.json", cache)
    uses = ["core-neoverse-n1", "smol-n1", "small.json", "memory-ddr4-2400"]
    assert composed(tmp_path, uses=uses)["caches"]["l2"]["size_kib"] == 512


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"uses": ["core-cray"]}, "there is no part 'core-cray': choose from caches-"),
        ({"uses": ["absent.json"]}, "cannot read"),
        ({"uses": "core-neoverse-n1"}, "uses must be a list"),
        ({"uses": ["memory-ddr4-2400", "memory-ddr4-2400"]}, "describes 'memory', which stands elsewhere already"),
        ({"uses": ["core-neoverse-n1", "smol-n1", "memory-ddr4-2400"]}, "'caches' is missing"),
        ({"sources": {"choice": "a guess"}}, "has another source 'choice'"),
        ({"isas": ["x86"]}, "isas ['x86'] must be some of arm, riscv"),
        ({"uses": ["new.json"]}, "newer than version 1"),
        ({"uses": ["odd.json"]}, "part odd.json has an unknown field 'colour'"),
    ],
)
def test_broken_composition(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    part = {"format": "sysmol-machine-part", "version": 1, "sources": {}}
    atomic_write_json(tmp_path / "new.json", {**part, "version": 2})
    atomic_write_json(tmp_path / "odd.json", {**part, "colour": "blue"})
    with pytest.raises(SysmolError) as caught:
        composed(tmp_path, **changes)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_groups_cover_classes_once() -> None:
    members = [name for group in CLASS_GROUPS.values() for name in group]
    assert len(set(members)) == len(members) and set(members) <= OP_CLASSES
    data = copy.deepcopy(load_machine("o3-n1").to_json())
    data["units"][0]["classes"].append("@everything")
    with pytest.raises(SysmolError, match="there is no group '@everything'"):
        compose(data, "x", Path())


@pytest.mark.parametrize("name", list_machines())
def test_sources_say_where(name: str) -> None:
    """A latency that is not a decision names a document and a place in it; a decision has its reason in a note."""
    machine = load_machine(name)
    for what, latency in [*machine.latencies.items(), *((f, x.latency) for f, x in machine.smol.functions.items())]:
        source = latency.source.split(":")[0]
        assert len(machine.sources[source]) > 20
        if source == "choice":
            assert latency.note, f"{what}: a choice without its reason"
        elif source not in ("unused", "gem5"):
            assert ":" in latency.source, f"{what}: no place in {source}"


def test_isas_compare_fairly() -> None:
    """The RISC-V core of the N1's size has vector pipes and caches like the N1's."""
    n1, p670 = load_machine("o3-n1"), load_machine("o3-p670")
    for op_class in ("SimdAlu", "SimdMultAcc", "SimdFloatMultAcc"):
        assert n1.unit_count(op_class) == p670.unit_count(op_class) == 2
    assert (n1.l1d, n1.l2, n1.memory, n1.clock_ghz) == (p670.l1d, p670.l2, p670.memory, p670.clock_ghz)
    assert n1.core.decode_width == p670.core.decode_width and n1.smol_count == p670.smol_count
    assert {load_machine(m).core.vector_bits for m in list_machines()} == {128}


# --- the SMOL unit as an option ---


@pytest.mark.parametrize(
    ("text", "share", "count", "vmac", "vdot"),
    [
        ("shared", ("v0", "v1"), 2, (3, True), (3, True)),
        ("separate", (), 2, (3, True), (3, True)),
        ("units=2,vdot=4,patterns=P4,share=no", (), 2, (3, True), (4, True)),
        ("units=5", (), 5, (3, True), (3, True)),
        ("share=v1", ("v1",), 1, (3, True), (3, True)),
        ("vdot=9, latency=2", ("v0", "v1"), 2, (2, True), (9, True)),
        ("vdot.pipelined=yes,pipelined=no,vmac=7", ("v0", "v1"), 2, (7, False), (3, True)),
    ],
)
def test_smol_option(text: str, share: tuple[str, ...], count: int, vmac: Any, vdot: Any) -> None:
    n1 = load_machine("o3-n1")
    machine = n1.with_smol(text)
    assert (machine.smol.share, machine.smol_count) == (share, count)
    found = {name: (f.latency.cycles, f.latency.pipelined) for name, f in machine.smol.functions.items()}
    assert (found["vmac"], found["vdot"]) == (vmac, vdot)
    assert machine.name != n1.name and machine.latencies == n1.latencies and machine.units == n1.units
    assert parse_machine(machine.to_json(), "again") == machine
    assert load_machine("o3-n1") == n1, "the original changed"


def test_smol_option_patterns() -> None:
    assert load_machine("o3-n1").with_smol("patterns=P4").smol.patterns == PATTERN_SETS["P4"]
    assert load_machine("o3-n1").with_smol("patterns=0+36+44").smol.patterns == (0, 36, 44)
    own = load_machine("o3-n1").with_smol("units=3")
    assert own.with_smol("vdot=2").smol_count == 3 and own.with_smol("share=v0").smol.share == ("v0",)
    with pytest.raises(SysmolError, match="name the pipes to share"):
        own.with_smol("shared")


SMOL_TEXTS = ("", "units=0", "units=2,shared", "share=v9", "share=", "vdot=x", "vdot=-1", "vdot=1e3", "speed=3")
SMOL_TEXTS += ("vdot.class=SimdAlu", "patterns=P7", "units=2,units=3", "pipelined=maybe", "units", "vdot=٣", "\n")


@pytest.mark.parametrize("text", SMOL_TEXTS)
def test_broken_smol_option(text: str) -> None:
    with pytest.raises(SysmolError) as caught:
        load_machine("o3-n1").with_smol(text)
    assert "\n" not in str(caught.value)


# --- the command line ---


def test_machines_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run_command_line(["machines"]) == 0
    said = capsys.readouterr().out
    for name in list_machines():
        assert name in said
        for source in documents(load_machine(name)):
            assert source in said
    assert run_command_line(["machines", "o3-a72"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "OSACA: fdiv v" in said and "SimdSha256Hash2" in said
    assert run_command_line(["machines", "o3-a72", "--smol", "units=7,vdot=3", "--json"]) == 0
    path = tmp_path / "mine.json"
    path.write_text(capsys.readouterr().out)
    assert load_machine(path) == load_machine("o3-a72").with_smol("units=7,vdot=3")
    assert run_command_line(["machines", "--json"]) == 0
    assert {row[0] for row in json.loads(capsys.readouterr().out)["tables"][0]["rows"]} == set(list_machines())
    for arguments in (["--smol", "units=2"], ["o3-n1", "--smol", "fast"], ["cray"]):
        assert run_command_line(["machines", *arguments]) == 2
        assert capsys.readouterr().err.count("\n") == 1
