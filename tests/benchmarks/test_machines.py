"""Machines that differ from a described one in one thing, and programs that leave instructions out."""

import json

import pytest

from sysmol.benchmarks import machines
from sysmol.benchmarks.measure import Job, Variant
from sysmol.benchmarks.plan import LEVERS, WITHOUT, lever_jobs, matrix_jobs
from sysmol.benchmarks.shapes import load_shapes
from sysmol.kernels_c.program import generate
from sysmol.kernels_c.targets import TARGETS
from sysmol.machine import load_machine
from sysmol.machine.parts import compose
from sysmol.network import builder


def differences(a, b, at=""):
    """Paths of what differs between two descriptions."""
    if isinstance(a, dict) and isinstance(b, dict):
        return [d for key in {*a, *b} for d in differences(a.get(key), b.get(key), f"{at}/{key}")]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return [d for n, (x, y) in enumerate(zip(a, b, strict=True)) for d in differences(x, y, f"{at}/{n}")]
    return [] if a == b else [at]


@pytest.mark.parametrize("name", machines.DERIVED)
def test_derived_machines_differ_in_one_thing(name, tmp_path, monkeypatch):
    monkeypatch.setattr(machines, "FOLDER", tmp_path)
    path = machines.machine_file(name)
    base = machines.machine_path(machines.DERIVED[name][0])
    found = differences(compose(json.loads(base.read_text()), "base", base.parent), json.loads(path.read_text()))
    changed = [at for at in found if at not in ("/name", "/description")]
    assert len(changed) == 1 and load_machine(path).name == name
    assert load_machine(path).unit_count("SimdMult") == (1 if name == machines.ONE_MULTIPLIER else 2)


def test_other_names_are_as_they_are():
    assert machines.machine_file("o3-n1") == "o3-n1"


def test_what_is_left_out_is_in_no_program():
    net = builder.any_network(3)
    for name, left in WITHOUT.items():
        job = Job(load_shapes(LEVERS[0][0])[0], Variant("w2", "w2", without=left), "riscv", "o3-n1-matrix")
        assert not set(left) & set(job.options().has.instructions)
        text = generate(net, TARGETS["riscv"], "net", "a test", job.options()).source
        assert name != "vmm" or not ("v_mmw(" in text or "v_mmh(" in text)


def test_every_lever_is_measured_with_the_rest():
    titles = [job.title for job in matrix_jobs()]
    assert len(titles) == len(set(titles)) and {job.title for job in lever_jobs()} <= set(titles)
