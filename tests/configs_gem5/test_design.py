"""Machines as data: what comes with the package is whole, and broken files are refused with one line."""

import copy

import pytest

from sysmol.design import (
    OP_CLASSES,
    PATTERN_SETS,
    SMOL_FUNCTIONS,
    list_machines,
    load_machine,
    parse_machine,
    pattern_set,
    pattern_set_name,
)
from sysmol.errors import SysmolError
from sysmol.files import atomic_write_json
from sysmol.patterns import PATTERNS


@pytest.mark.parametrize("name", list_machines())
def test_machine_is_whole(name: str) -> None:
    machine = load_machine(name)
    assert machine.name == name
    smol = {machine.smol.functions[f].op_class for f in SMOL_FUNCTIONS}
    for op_class in OP_CLASSES - smol:
        assert machine.unit_count(op_class) >= 1
        assert machine.latency(op_class) >= 1
    assert machine.smol_count >= 1 and all(machine.smol_latency(f) >= 1 for f in SMOL_FUNCTIONS)
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
    "clock": (lambda d: d.update(clock_ghz=-1), "clock_ghz"),
    "two latencies of one class": (
        lambda d: d["smol"]["functions"]["vdot"].update({"class": "SimdAes"}),
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
    with pytest.raises(SysmolError, match="there is no machine 'cray': choose from o3-n1"):
        load_machine("cray")
    data = load_machine("o3-n1").to_json()
    assert load_machine(atomic_write_json(tmp_path / "mine.json", data)) == load_machine("o3-n1")
    with pytest.raises(SysmolError, match="newer than version 1"):
        load_machine(atomic_write_json(tmp_path / "new.json", {**data, "version": 2}))
    (tmp_path / "cut.json").write_text('{"format": "sysmol-mach')
    with pytest.raises(SysmolError, match="no JSON"):
        load_machine(tmp_path / "cut.json")


def test_own_units() -> None:
    """A SMOL unit of its own: no shared issue slots."""
    data = copy.deepcopy(load_machine("o3-n1").to_json())
    del data["smol"]["share"]
    data["smol"]["count"] = 3
    machine = parse_machine(data, "own")
    assert machine.smol_count == 3 and machine.smol.share == ()
