"""Generated SystemVerilog of units with instructions of the second page: parameters, decoder, and the array's trees."""

from sysmol import isa
from sysmol.grid import PRECISIONS
from sysmol.isa.selectors import known
from sysmol.rtl import array, quads, taps
from sysmol.rtl.chunk import chunk_module, chunk_name
from sysmol.rtl.hardware import (
    ARRAY_INSTRUCTIONS,
    CUTS,
    INSTRUCTIONS,
    MATRIX_INSTRUCTIONS,
    PACK_INSTRUCTIONS,
    SECOND_PAGE,
    Hardware,
)
from sysmol.rtl.systemverilog import head, module, tree_body

BLOCKS = {
    "ARRAY": (*ARRAY_INSTRUCTIONS, *MATRIX_INSTRUCTIONS),
    "MUL": ("vmul", "vmla"),
    "PACK": PACK_INSTRUCTIONS,
    "VUNP_H": ("vunp.h",),
    "VDW": ("vdw",),
}
"""Instructions of each block of the hardware, by its parameter."""


def pair_module(hardware: Hardware, quad: int, half: int) -> str:
    """``smol_pair_00`` ..: the sum of two chunks of a quad and of the constant of their precisions."""
    chunks = [each.precisions for each in quads.pair(hardware, quad, half)]
    width = quads.sum_bits(hardware)
    tree = array.lane_tree(tuple(chunks), width)
    text = f"""
Sum of the products of chunks {2 * half} and {2 * half + 1} of quad {quad}, in units of two: their weighted counts, less
the constant that makes counts of equal bits into sums of +1 and -1. is4, is2 and is1 are the precisions of the two
chunks; an empty one has none."""
    ports = [
        f"input logic [1:0][{array.chunk_bits(precisions) - 1}:0] {name}"
        for name, precisions in zip("ab", chunks, strict=True)
    ]
    ports += [f"input logic [1:0] is{p}" for p in PRECISIONS]
    ports.append(f"output logic [1:0][{width - 1}:0] rows")
    lines = [f"  wire [1:0] empty = ~({' | '.join(f'is{p}' for p in PRECISIONS)});"]
    terms = []
    for x, y in quads.pair_settings(hardware, quad, half):
        if x or y:
            here = " & ".join(f"is{p}[{at}]" if p else f"empty[{at}]" for at, p in enumerate((x, y)))
            terms.append(f"{{{width}{{{here}}}}} & {width}'h{array.lane_offset((x, y), width):x}")
    lines.append(f"  wire [{width - 1}:0] offset = " + ("\n    | ".join(terms) or "'0") + ";")
    lines.append("  wire unused = ^{empty, is4, is2, is1};")
    return module(f"smol_pair_{quad}{half}", text, ports, lines + tree_body(tree))


def quads_module(hardware: Hardware) -> str:
    """``smol_quads``: sixteen chunks and eight pairs, joined."""
    width = quads.sum_bits(hardware)
    lines = []
    for kind, size in (("d", 8), ("o", 4)):
        names = [f"{kind}{p}" for p in PRECISIONS]
        held = [f"held_{name}" for name in names]
        lines.append(f"  wire [{size - 1}:0] {', '.join(held)};")
        lines.append(
            f"  pipe #(.WIDTH({3 * size}), .STAGE(smol_pkg::CUT_CHUNK)) late_{kind} (.clk, .d({{{', '.join(names)}}}), "
            f".q({{{', '.join(held)}}}));"
        )
    for quad in range(quads.QUAD):
        kind, first = ("d", quads.chunks_of_vm(quad).start) if quad in (0, 3) else ("o", 0)
        suffix = "" if kind == "d" else "_off"
        for k in range(quads.QUAD):
            each = quads.chunk(hardware, quad, k)
            top, name, at = array.chunk_bits(each.precisions) - 1, f"{quad}{k}", first + k
            n, m = 16 * quads.chunks_of_vn(quad)[k], 16 * quads.chunks_of_vm(quad)[k]
            lines += [
                f"  wire [3:0][3:0] ones{name}, last{name}, twos{name};",
                f"  wire [1:0][{top}:0] early{name}, rows{name};",
                f"  smol_count count{name} (.a(vn{suffix}[{n} +: 16]), .b(vm{suffix}[{m} +: 16]),",
                f"    .ones(ones{name}), .last(last{name}), .twos(twos{name}));",
                f"  {chunk_name(each.precisions, each.empty)} chunk{name} (.ones(ones{name}), .last(last{name}),",
                f"    .twos(twos{name}), .is4({kind}4[{at}]), .is2({kind}2[{at}]), .is1({kind}1[{at}]),",
                f"    .rows(early{name}));",
                f"  pipe #(.WIDTH({2 * top + 2}), .STAGE(smol_pkg::CUT_CHUNK)) after{name} (.clk, .d(early{name}),",
                f"    .q(rows{name}));",
            ]
        for half in range(2):
            name, low = f"{quad}{half}", first + 2 * half
            chosen = ", ".join(f".is{p}(held_{kind}{p}[{low + 1}:{low}])" for p in PRECISIONS)
            lines += [
                f"  wire [1:0][{width - 1}:0] tree{name}, sum{name};",
                f"  smol_pair_{name} pair{name} (.a(rows{quad}{2 * half}), .b(rows{quad}{2 * half + 1}),",
                f"    {chosen}, .rows(tree{name}));",
                f"  pipe #(.WIDTH({2 * width}), .STAGE(smol_pkg::CUT_ROWS)) cut{name} (.clk, .d(tree{name}),",
                f"    .q(sum{name}));",
                f"  assign pairs[{2 * quad + half}] = sum{name}[0] + sum{name}[1];",
            ]
    text = """
Sums of the products of pairs of chunks, in units of two, signed: pairs 2q and 2q + 1 are those of quad q = 2i + j,
which has half i of vn and half j of vm. The diagonal, i = j, has precisions and operands of its own.

Which precisions a chunk can have follows from the patterns, pieces and forms of this unit."""
    ports = [
        "input logic clk",
        "input logic [127:0] vn, vm, vn_off, vm_off",
        f"input logic [7:0] {', '.join(f'd{p}' for p in PRECISIONS)}",
        f"input logic [3:0] {', '.join(f'o{p}' for p in PRECISIONS)}",
        f"output logic [7:0][{width - 1}:0] pairs",
    ]
    lines.append("  wire unused = ^{vn_off, vm_off};")
    return module("smol_quads", text, ports, lines)


def package(hardware: Hardware) -> str:
    """``smol_pkg``: what this unit has, as parameters."""
    lines = [
        head("Parameters of this unit: its instructions and blocks, pipeline registers, and the widths of sums.")
        + "package smol_pkg;",
        f"  localparam int TAP_BITS = {taps.TAP_BITS};  // half the sum of three products of 4-bit elements",
    ]
    if hardware.has_any(BLOCKS["ARRAY"]):
        lines.append(f"  localparam int LANE_BITS = {quads.sum_bits(hardware)};  // sum of two chunks, in units of two")
    else:
        lines.append("  localparam int LANE_BITS = 12;  // of no meaning: there is no array")
    lines += [f"  localparam bit HAS_{name.upper()} = {int(hardware.has(name))};" for name in ("vmul", "vmla")]
    lines += [f"  localparam bit HAS_{name} = {int(hardware.has_any(names))};" for name, names in BLOCKS.items()]
    lines.append(f"  localparam int BLOCKS = {sum(hardware.has_any(names) for names in BLOCKS.values())};")
    both = hardware.has_any(ARRAY_INSTRUCTIONS) and hardware.has_any(MATRIX_INSTRUCTIONS)
    lines.append(f"  localparam bit HOLD = {int(both)};  // quads off the diagonal are idle now and then")
    lines += [f"  localparam bit CUT_{name.upper()} = {int(name in hardware.cuts)};" for name in CUTS]
    return "\n".join(lines) + "\nendpackage\n"


def _bits(chunks: tuple[int, ...], p: int) -> str:
    """Which chunks have a precision, as a constant, chunk 0 lowest."""
    return f"{len(chunks)}'b" + "".join(str(int(each == p)) for each in reversed(chunks))


def decoder(hardware: Hardware) -> str:
    """``smol_decode``: function and field6 to what the blocks need, and whether the unit has this instruction."""
    lines = []
    for kind, names in (
        ("pattern", ARRAY_INSTRUCTIONS),
        ("piece", ("vmm.w",)),
        ("form", ("vmm.h",)),
    ):
        chosen = next((name for name in names if hardware.has(name)), None)
        lines += [f"  logic [7:0] {kind}_d4, {kind}_d2, {kind}_d1;", "  always_comb begin"]
        lines += [f"    {{{kind}_d4, {kind}_d2, {kind}_d1}} = '0;", "    case (field6)"]
        for setting in quads.settings(hardware) if chosen else ():
            if setting.instruction == chosen:
                value = ", ".join(_bits(setting.diagonal, p) for p in PRECISIONS)
                what = isa.BY_NAME[chosen].selector.label(setting.field6)
                lines.append(
                    f"      6'd{setting.field6}: {{{kind}_d4, {kind}_d2, {kind}_d1}} = {{{value}}};  // {what}"
                )
        lines += ["      default: ;", "    endcase", "  end"]
    for p in PRECISIONS:
        matrix = f"piece_d{p} & {{8{{vmm_w}}}} | form_d{p} & {{8{{vmm_h}}}}"
        lines.append(f"  assign d{p} = pattern_d{p} & {{8{{vmac | (|vdot)}}}} | {matrix};")
        lines.append(f"  assign o{p} = {matrix.replace('_d' + str(p), f'_d{p}[3:0]').replace('{8{', '{4{')};")
    shifted = [n for n in hardware.values("piece") if isa.PIECES[n].shift]
    lines.append(f"  assign x16 = {_any(shifted)};")
    units = {p: [n for n in hardware.values("form") if known(isa.form(n))[0].unit == p] for p in PRECISIONS}
    lines.append(f"  assign unit = {{{', '.join(_any(units[p]) for p in reversed(PRECISIONS))}}};")
    legal = []
    for name in (*INSTRUCTIONS, *SECOND_PAGE):
        row = isa.BY_NAME[name]
        chosen_fns = [f"fn == 4'd{fn}" for fn in row.fns] if hardware.has(name) else ["1'b0"] * len(row.fns)
        lines.append(f"  assign {row.symbol} = {{{', '.join(reversed(chosen_fns))}}};")
        if hardware.has(name):
            this = f"(|{row.symbol})" if len(row.fns) > 1 else row.symbol
            values = hardware.values(row.field6)
            legal.append(this if len(values) == 64 else f"{this} & legal_{row.field6}")
    for kind in dict.fromkeys(isa.BY_NAME[name].field6 for name in hardware.instructions):
        if len(hardware.values(kind)) < 64:
            lines += [f"  logic legal_{kind};", "  always_comb begin", "    case (field6)"]
            lines.append(f"      {', '.join(f'6{chr(39)}d{n}' for n in hardware.values(kind))}: legal_{kind} = 1'b1;")
            lines += [f"      default: legal_{kind} = 1'b0;", "    endcase", "  end"]
    lines.append(f"  assign legal = {' | '.join(legal)};")
    text = """
Which instruction function and field6 name, and what the array's chunks hold.

d4, d2 and d1 have a bit for each of the diagonal's chunks, o4, o2 and o1 for each chunk off it; one that is empty has
none. x16: vmm.w's products count 16 times; unit: vmm.h's sums are in units of 2^-6, 2^-2 or 1. Patterns, pieces and
forms that this unit has not are illegal, and so is every word that the table does not list."""
    ports = ["input logic [3:0] fn", "input logic [5:0] field6"]
    for name in (*INSTRUCTIONS, *SECOND_PAGE):
        row = isa.BY_NAME[name]
        width = f"[{len(row.fns) - 1}:0] " if len(row.fns) > 1 else ""
        ports.append(f"output logic {width}{row.symbol}")
    ports += ["output logic legal", "output logic [7:0] d4, d2, d1", "output logic [3:0] o4, o2, o1"]
    ports += ["output logic x16", "output logic [2:0] unit"]
    return module("smol_decode", text, ports, lines)


def _any(values: list[int]) -> str:
    """Whether field6 is one of some values."""
    return " | ".join(f"field6 == 6'd{value}" for value in values) or "1'b0"


def modules(hardware: Hardware) -> dict[str, str]:
    """Generated modules by name, the package first."""
    files = {"smol_pkg": package(hardware), "smol_decode": decoder(hardware)}
    if hardware.has_any(BLOCKS["ARRAY"]):
        for quad in range(quads.QUAD):
            for k in range(quads.QUAD):
                each = quads.chunk(hardware, quad, k)
                files[chunk_name(each.precisions, each.empty)] = chunk_module(each.precisions, each.empty)
            for half in range(2):
                files[f"smol_pair_{quad}{half}"] = pair_module(hardware, quad, half)
        files["smol_quads"] = quads_module(hardware)
    files["tap_products"] = taps.module()
    return files
