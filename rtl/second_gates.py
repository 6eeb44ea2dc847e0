"""The unit with instructions of both pages as a list of gates, block by block like the modules of verilog/second."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sysmol import isa
from sysmol.grid import PRECISIONS
from sysmol.isa.selectors import HalfPack, known
from sysmol.rtl import array, gate_parts, quads, taps
from sysmol.rtl.circuit import ONE, ZERO, Circuit
from sysmol.rtl.hardware import PACK_INSTRUCTIONS, Hardware
from sysmol.rtl.second import BLOCKS

Bus = list[int]


@dataclass(frozen=True)
class Inputs:
    """Of the unit: selectors, registers, and by instruction the bit that says it is the one."""

    fn: Bus
    field6: Bus
    vd: Bus
    vn: Bus
    vm: Bus
    chosen: dict[str, int]

    def is_any(self, c: Circuit, names: Sequence[str]) -> int:
        """Whether it is one of some instructions."""
        return c.any(self.chosen.get(name, ZERO) for name in names)


def unit(hardware: Hardware) -> Circuit:
    """Circuit with the inputs fn, field6, vd, vn, vm and the outputs result, legal."""
    c = Circuit()
    fn, field6 = c.input("fn", 4), c.input("field6", 6)
    vd, vn, vm = (c.input(name, 128) for name in ("vd", "vn", "vm"))
    chosen = {row.name: c.decode(fn, row.fns) for row in isa.TABLE if hardware.has(row.name)}
    given = Inputs(fn, field6, vd, vn, vm, chosen)
    kinds = {isa.BY_NAME[name].field6 for name in chosen}
    legal = {kind: c.decode(field6, values) if len(values) < 64 else ONE
             for kind in kinds for values in (hardware.values(kind),)}  # fmt: skip
    parts = [
        (given.is_any(c, names), BUILDERS[block](c, hardware, given))
        for block, names in BLOCKS.items()
        if hardware.has_any(names)
    ]
    is_legal = c.any(c.and_(it, legal[isa.BY_NAME[name].field6]) for name, it in chosen.items())
    c.outputs = {"result": c.select(*parts), "legal": [is_legal]}
    return c


def _words(c: Circuit, hardware: Hardware, given: Inputs) -> list[tuple[int, quads.Setting]]:
    """Every setting of the quads with the bit that chooses it."""
    return [
        (c.and_(given.chosen[setting.instruction], c.decode(given.field6, [setting.field6])), setting)
        for setting in quads.settings(hardware)
    ]


def _pairs(c: Circuit, hardware: Hardware, given: Inputs, pixels: Bus) -> list[Bus]:
    """smol_quads: the sums of the eight pairs of chunks."""
    words, width = _words(c, hardware, given), quads.sum_bits(hardware)
    matrix = given.is_any(c, BLOCKS["ARRAY"][2:])
    sums = []
    for quad in range(quads.QUAD):
        held = [ONE if quad in (0, 3) else matrix] * 128
        n, m = ([c.and_(bit, on) for bit, on in zip(bus, held, strict=True)] for bus in (pixels, given.vm))
        precise = [
            {p: c.any(bit for bit, setting in words if setting.quad(quad)[k] == p) for p in PRECISIONS}
            for k in range(quads.QUAD)
        ]
        rows = []
        for k in range(quads.QUAD):
            each = quads.chunk(hardware, quad, k)
            of_n, of_m = quads.chunks_of_vn(quad)[k], quads.chunks_of_vm(quad)[k]
            counts = gate_parts.counts(c, n[16 * of_n : 16 * of_n + 16], m[16 * of_m : 16 * of_m + 16])
            count = gate_parts.chunk(c, counts, each.precisions, precise[k], each.empty)
            rows.append(count + [ZERO] * (width - len(count)))
        for half in range(2):
            constants: Bus = [ZERO] * width
            for x, y in quads.pair_settings(hardware, quad, half):
                here = c.all(
                    precise[2 * half + at][p] if p else c.inv(c.any(precise[2 * half + at].values()))
                    for at, p in enumerate((x, y))
                )
                value = array.lane_offset((x, y), width)
                constants = [c.or_(bit, here) if value >> b & 1 else bit for b, bit in enumerate(constants)]
            sums.append(c.add(c.add(rows[2 * half], rows[2 * half + 1]), constants))
    return sums


def _extended(bus: Bus, width: int) -> Bus:
    """A signed number, wider."""
    return bus + [bus[-1]] * (width - len(bus))


def _array(c: Circuit, hardware: Hardware, given: Inputs) -> Bus:
    """vmac, vdot, vmm.w and vmm.h (smol_array, smol_addend)."""
    is_h = given.chosen.get("vmm.h", ZERO)
    second = c.and_(is_h, given.field6[4])
    first = c.and_(is_h, c.inv(given.field6[4]))
    pixels: Bus = []
    for i in range(2):
        low, high = given.vn[64 * i : 64 * i + 32], given.vn[64 * i + 32 : 64 * i + 64]
        pixels += c.select((second, high), (c.inv(second), low)) + c.select((first, low), (c.inv(first), high))
    pairs = _pairs(c, hardware, given, pixels)
    wide = [_extended(bus, 31) for bus in pairs]
    whole = [c.add(wide[2 * q], wide[2 * q + 1]) for q in range(quads.QUAD)]
    total = c.add(whole[0], whole[3])
    shifted = c.decode(given.field6, [n for n in hardware.values("piece") if isa.PIECES[n].shift])
    is_w = given.chosen.get("vmm.w", ZERO)
    by_unit = [
        (c.and_(is_h, c.decode(given.field6, [n for n in hardware.values("form") if known(isa.form(n))[0].unit == p])),
         isa.ALIGN[p])
        for p in PRECISIONS
    ]  # fmt: skip
    goes_on = hardware.has_any(("vmac", "vdot", "vmm.w"))
    result: Bus = []
    for i in range(quads.QUAD):
        vmac = wide[(0 if i < 2 else 6) + i % 2]
        vdot = c.and_(given.chosen.get("vdot", ZERO), c.decode(given.fn[:2], [i]))
        choices = [(given.chosen.get("vmac", ZERO), vmac), (vdot, total), (c.and_(is_w, c.inv(shifted)), whole[i])]
        choices.append((c.and_(is_w, shifted), ([ZERO] * 4 + whole[i])[:31]))
        for bit, down in by_unit:
            lower, upper = (_extended(bus[down:], 15) for bus in (pairs[2 * i], pairs[2 * i + 1]))
            choices.append((bit, [*lower, ZERO, *upper]))
        addend = c.select(*choices)
        old = given.vd[32 * i : 32 * i + 32]
        lower_sum = c.add([*old[1:16], ZERO], [*addend[:15], ZERO])
        carry = c.and_(lower_sum[15], c.inv(is_h)) if goes_on else ZERO
        result += [old[0], *lower_sum[:15], *c.add(old[16:], addend[15:], carry)]
    return result


def _mul(c: Circuit, hardware: Hardware, given: Inputs) -> Bus:
    """vmul and vmla: the block of the first page."""
    return gate_parts.multiplier(c, given.chosen, given.field6, given.vd, given.vn, given.vm)


def _code(c: Circuit, lane: Bus, shifts: list[tuple[int, int]], widths: list[tuple[int, int]]) -> Bus:
    """Codes of up to 8 bits of a lane, whatever their width, by the shift and the width that are chosen."""
    sign, size = lane[-1], len(lane)
    moved = c.select(*((bit, _extended(lane, size + 8)[s : s + 8]) for bit, s in shifts if s < size))
    over = c.any(
        c.all((bit, here, c.any(lane[min(s + p, size - 1) : size - 1])))
        for bit, s in shifts
        if s < size
        for here, p in widths
    )
    return [c.and_(c.or_(bit, over), c.inv(sign)) for bit in moved]


def _entered(c: Circuit, old: Bus, codes: list[Bus], p: int) -> Bus:
    """A register, or half of it, with codes of p bits that enter from above."""
    piece = [bit for code in codes for bit in code[:p]]
    return (old + piece)[len(piece) :]


def _pack(c: Circuit, hardware: Hardware, given: Inputs) -> Bus:
    """vqpk, vqpk.h and vqpk.s (smol_pack, smol_code, smol_piece, smol_enter), form by form."""
    shifts = {16: [(c.decode(given.field6[:3], [half]), 2 * half) for half in range(8)]}
    shifts[32] = [(c.decode(given.field6[:4], [half]), 2 * half) for half in range(16)]
    widths = [(c.decode(given.field6[4:], [0]), 4), (c.decode(given.field6[4:], [1]), 2)]
    widths.append((c.decode(given.field6[4:], [2]), 1))
    last = c.decode(given.field6[4:], [3])
    four = {16: c.and_(last, given.field6[3]), 32: last}
    codes = {}
    for size, names in ((16, ("vqpk.h",)), (32, ("vqpk", "vqpk.s"))):
        if not hardware.has_any(names):
            continue
        chosen = [*widths]
        if hardware.has_any(("vqpk.h" if size == 16 else "vqpk",)):
            chosen.append((four[size], 4))
        if size == 16:
            chosen.append((c.and_(last, c.inv(given.field6[3])), 8))
        for name in ("vn", "vm"):
            bus = getattr(given, name)
            mine = [each for each in chosen if name == "vn" or each[0] != four[size]]  # four codes are vn's alone
            codes[size, name] = [_code(c, bus[at : at + size], shifts[size], mine) for at in range(0, 128, size)]
    forms = []
    for name in PACK_INSTRUCTIONS:
        if name in given.chosen:
            shapes = {_shape(name, value): value for value in hardware.values(isa.BY_NAME[name].field6)}
            for shape in shapes:
                same = [v for v in hardware.values(isa.BY_NAME[name].field6) if _shape(name, v) == shape]
                here = c.and_(given.chosen[name], c.decode(given.field6, same))
                forms.append((here, _merged(c, given.vd, codes, name, shape)))
    return c.select(*forms)


def _shape(name: str, value: int) -> HalfPack:
    """What a pack selector says beside the shift."""
    if name == "vqpk":
        chosen = isa.pack(value)
        return HalfPack(chosen.precision, chosen.codes, 0, True)
    half = known((isa.pack16 if name == "vqpk.h" else isa.pack32)(value))
    return HalfPack(half.precision, half.codes, 0, half.joint)


def _merged(c: Circuit, vd: Bus, codes: dict[tuple[int, str], list[Bus]], name: str, shape: HalfPack) -> Bus:
    """vd after one form of packing."""
    n, m = (codes[16 if name == "vqpk.h" else 32, register] for register in ("vn", "vm"))
    if shape.joint:
        return _entered(c, vd, (n + m)[: shape.codes], shape.precision)
    half, size = len(n) // 2, 64
    result: Bus = []
    for at in range(2):
        mine = n[half * at : half * at + half]
        if shape.codes > len(n):
            mine = mine + m[half * at : half * at + half]
        result += _entered(c, vd[size * at : size * at + size], mine, shape.precision)
    return result


def _unpack(c: Circuit, hardware: Hardware, given: Inputs) -> Bus:
    """vunp.h (smol_unpack)."""
    choices = []
    for value in hardware.values("group"):
        p, number = known(isa.group(value))
        lanes: Bus = []
        for half in range(2):
            for j in range(4):
                code = given.vn[64 * half + p * (4 * number + j) :][:p]
                lanes += _extended([ONE, *code[:-1], c.inv(code[-1])], 16)
        choices.append((c.decode(given.field6, [value]), lanes))
    return c.select(*choices)


def _octet(c: Circuit, word: Bus, field6: Bus) -> Bus:
    """smol_octet: eight codes of a part of a word as codes of 4 bits of the same odd integers."""
    choices = []
    for form, p in enumerate(PRECISIONS):
        for part in range(4 // p):
            codes: Bus = []
            for at in range(8 * part, 8 * part + 8):
                code = word[p * at : p * at + p]
                codes += [*code[:-1], *[c.inv(code[-1])] * (4 - p), code[-1]]
            choices.append((c.and_(c.decode(field6[4:], [form]), c.decode(field6[2:4], [part])), codes))
    return c.select(*choices)


def _taps(c: Circuit, hardware: Hardware, given: Inputs) -> Bus:
    """vdw (smol_taps)."""
    later = given.field6[0]
    pixels, weights = [], []
    for t in range(taps.TAPS):
        word = c.select((later, given.vn[32 * t + 32 :][:32]), (c.inv(later), given.vn[32 * t :][:32]))
        pixels.append(_octet(c, word, given.field6))
        weights.append(_octet(c, given.vm[32 * t :][:32], given.field6))
    result: Bus = []
    for channel in range(8):
        at = slice(4 * channel, 4 * channel + 4)
        same = [gate_parts.equal(c, n[at], m[at]) for n, m in zip(pixels, weights, strict=True)]
        named = {"1'b1": ONE}
        for i in range(4):
            for j in range(4):
                x, y, z = (each[i][j] for each in same)
                named[f"ones[{i}][{j}]"], named[f"twos[{i}][{j}]"] = c.xor(c.xor(x, y), z), c.maj(x, y, z)
        total = c.tree(taps.tree(), named)
        result += c.add(given.vd[16 * channel : 16 * channel + 16], _extended([ONE, *total], 16))
    return result


BUILDERS: dict[str, Callable[[Circuit, Hardware, Inputs], Bus]] = {
    "ARRAY": _array,
    "MUL": _mul,
    "PACK": _pack,
    "VUNP_H": _unpack,
    "VDW": _taps,
}
"""By block of the hardware."""
