"""The SMOL unit as a list of gates, for any set of patterns, without any tool.

Built from the same tables and compressor trees as the SystemVerilog of :mod:`sysmol.rtl.sources`, block by block like
its modules, so that the trees, selections and constants can be checked against the instruction table where no simulator
is installed. Pipeline registers do not change what is computed and are left out."""

from sysmol import isa
from sysmol.grid import PRECISIONS
from sysmol.pattern import CHUNKS, chunk_precisions
from sysmol.rtl import array, gate_parts, second_gates
from sysmol.rtl.circuit import ONE, ZERO, Circuit
from sysmol.rtl.hardware import Hardware

Bus = list[int]


def unit(hardware: Hardware) -> Circuit:
    """Circuit with the inputs fn, field6, vd, vn, vm and the outputs result, legal."""
    if hardware.is_second:
        return second_gates.unit(hardware)
    c = Circuit()
    fn, field6 = c.input("fn", 3), c.input("field6", 6)
    vd, vn, vm = (c.input(name, 128) for name in ("vd", "vn", "vm"))
    chosen = {row.name: c.decode(fn, row.fns) for row in isa.TABLE if hardware.has(row.name)}
    parts = []
    legal = []
    for name, is_it in chosen.items():
        kind = next(row.field6 for row in isa.TABLE if row.name == name)
        known = {
            "pattern": lambda: c.decode(field6, hardware.patterns),
            "part": lambda: c.decode(field6, [f for f in range(64) if isa.part(f) is not None]),
            "pack": lambda: ONE,
        }[kind]()
        legal.append(c.and_(is_it, known))
    blocks = ((_array, ("vmac", "vdot")), (_mul, ("vmul", "vmla")), (_pack, ("vqpk",)))
    for build, names in blocks:
        if any(hardware.has(name) for name in names):
            selected = c.any(chosen.get(name, ZERO) for name in names)
            parts.append((selected, build(c, hardware, chosen, fn, field6, vd, vn, vm)))
    c.outputs = {"result": c.select(*parts), "legal": [c.any(legal)]}
    return c


def _array(
    c: Circuit, hardware: Hardware, chosen: dict[str, int], fn: Bus, field6: Bus, vd: Bus, vn: Bus, vm: Bus
) -> Bus:
    """vmac and vdot (smol_array, smol_lanes, smol_chunk_*)."""
    sets = hardware.chunk_precisions()
    width = array.lane_bits(sets)
    precise = [
        {p: c.decode(field6, [n for n in hardware.patterns if chunk_precisions(n)[k] == p]) for p in PRECISIONS}
        for k in range(CHUNKS)
    ]
    rows = []
    for k, precisions in enumerate(sets):
        found = gate_parts.counts(c, vn[16 * k : 16 * k + 16], vm[16 * k : 16 * k + 16])
        count = gate_parts.chunk(c, found, precisions, precise[k])
        rows.append(count + [ZERO] * (width - len(count)))
    lanes = []
    for i in range(CHUNKS // 2):
        constants: Bus = [ZERO] * width
        for n in hardware.patterns:
            pair = chunk_precisions(n)[2 * i], chunk_precisions(n)[2 * i + 1]
            value, chosen_here = array.lane_offset(pair, width), c.decode(field6, [n])
            constants = [c.or_(bit, chosen_here) if value >> b & 1 else bit for b, bit in enumerate(constants)]
        lane = c.add(c.add(rows[2 * i], rows[2 * i + 1]), constants)
        lanes.append([*lane, lane[-1], lane[-1]])
    total = c.add(c.add(lanes[0], lanes[1]), c.add(lanes[2], lanes[3]))
    across, into = chosen.get("vdot", ZERO), [c.decode(fn[:2], [i]) for i in range(4)]
    result: Bus = []
    for i in range(4):
        addend = c.select((c.inv(across), lanes[i]), (c.and_(across, into[i]), total))
        addend += [addend[-1]] * (31 - len(addend))
        result += [vd[32 * i], *c.add(vd[32 * i + 1 : 32 * i + 32], addend)]
    return result


def _mul(
    c: Circuit, hardware: Hardware, chosen: dict[str, int], fn: Bus, field6: Bus, vd: Bus, vn: Bus, vm: Bus
) -> Bus:
    """vmul and vmla."""
    return gate_parts.multiplier(c, chosen, field6, vd, vn, vm)


def _pack(
    c: Circuit, hardware: Hardware, chosen: dict[str, int], fn: Bus, field6: Bus, vd: Bus, vn: Bus, vm: Bus
) -> Bus:
    """vqpk (smol_pack, smol_code)."""
    shifts = [(c.decode(field6[:4], [half]), 2 * half) for half in range(16)]
    forms = [(c.decode(field6[4:], [form]), *shape) for form, shape in enumerate(isa.PACK_FORMS)]
    codes = []
    for i in range(8):
        lane = (vn if i < 4 else vm)[32 * (i % 4) :][:32]
        moved = c.select(*((chosen_shift, (lane + [lane[31]] * 32)[s : s + 4]) for chosen_shift, s in shifts))
        over = c.any(
            c.all((chosen_shift, here, c.any(lane[min(s + p, 31) : 31])))
            for chosen_shift, s in shifts
            for here, p, count in forms
            if i < count
        )
        codes.append([c.and_(c.or_(bit, over), c.inv(lane[31])) for bit in moved])
    pieces = []
    for here, p, count in forms:
        piece = [bit for code in codes[:count] for bit in code[:p]]
        pieces.append((here, [*vd[len(piece) :], *piece]))
    return c.select(*pieces)
