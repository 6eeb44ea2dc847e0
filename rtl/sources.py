"""SystemVerilog of a unit: the hand-written modules of ``verilog/`` and those that are generated from tables.

Generated are the decoder, the parameters that follow from the pattern set, and every compressor tree; each file names
the fingerprint of the instruction table that it was made from.
"""

from pathlib import Path

from sysmol import isa
from sysmol.files import atomic_write_text
from sysmol.grid import PRECISIONS
from sysmol.pattern import CHUNKS, chunk_precisions, pattern_name
from sysmol.rtl import array, int8, product, second
from sysmol.rtl.chunk import chunk_module, chunk_name
from sysmol.rtl.hardware import FINGERPRINT, FIRST_CUTS, INSTRUCTIONS, Hardware
from sysmol.rtl.systemverilog import head, module, tree_body

VERILOG = Path(__file__).resolve().parent / "verilog"


def lane_module(hardware: Hardware, lane: int) -> str:
    """``smol_lane_0`` ..: the sum of a lane's two chunks and of the constant of their precisions."""
    pair = hardware.chunk_precisions()[2 * lane : 2 * lane + 2]
    widths = [array.chunk_bits(precisions) for precisions in pair]
    width = array.lane_bits(hardware.chunk_precisions())
    tree = array.lane_tree(pair, width)
    text = f"""
Sum of the products of chunks {2 * lane} and {2 * lane + 1}, in units of two: their weighted counts, less the constant
that makes counts of equal bits into sums of +1 and -1. is4, is2 and is1 are the precisions of the two chunks."""
    ports = [f"input logic [1:0][{chunk - 1}:0] {name}" for name, chunk in zip("ab", widths, strict=True)]
    ports += [f"input logic [1:0] is{p}" for p in PRECISIONS]
    ports += [f"output logic [1:0][{tree.width - 1}:0] rows"]
    pairs = sorted({(c[2 * lane], c[2 * lane + 1]) for c in map(chunk_precisions, hardware.patterns)}, reverse=True)
    constants = [(x, y, f"{width}'h{array.lane_offset((x, y), width):x}") for x, y in pairs]
    if len(pairs) == 1:
        offset = constants[0][2]
    else:
        offset = "\n    | ".join(f"{{{width}{{is{x}[0] & is{y}[1]}}}} & {constant}" for x, y, constant in constants)
    lines = [f"  wire [{width - 1}:0] offset = {offset};", "  wire unused = ^{is4, is2, is1};"]
    return module(f"smol_lane_{lane}", text, ports, lines + tree_body(tree))


def array_module(hardware: Hardware) -> str:
    """``smol_lanes``: eight chunks and four lanes, joined."""
    chunks = hardware.chunk_precisions()
    width = array.lane_bits(chunks)
    lines = ["  wire [7:0] is2 = ~(is4 | is1);", "  wire [7:0] held4, held1;", "  wire [7:0] held2 = ~(held4 | held1);"]
    lines.append("  pipe #(.WIDTH(16), .STAGE(CUT_CHUNK)) late (.clk, .d({is4, is1}), .q({held4, held1}));")
    for chunk, precisions in enumerate(chunks):
        top = array.chunk_bits(precisions) - 1
        width_of_rows = 2 * top + 2
        lines += [
            f"  wire [3:0][3:0] ones{chunk}, last{chunk}, twos{chunk};",
            f"  wire [1:0][{top}:0] early{chunk}, rows{chunk};",
            f"  smol_count count{chunk} (.a(vn[{16 * chunk} +: 16]), .b(vm[{16 * chunk} +: 16]),",
            f"    .ones(ones{chunk}), .last(last{chunk}), .twos(twos{chunk}));",
            f"  smol_chunk_{array.names(precisions)} chunk{chunk} (.ones(ones{chunk}), .last(last{chunk}),",
            f"    .twos(twos{chunk}), .is4(is4[{chunk}]), .is2(is2[{chunk}]), .is1(is1[{chunk}]),",
            f"    .rows(early{chunk}));",
            f"  pipe #(.WIDTH({width_of_rows}), .STAGE(CUT_CHUNK)) after{chunk} (.clk, .d(early{chunk}),",
            f"    .q(rows{chunk}));",
        ]
    for lane in range(CHUNKS // 2):
        a, b = 2 * lane, 2 * lane + 1
        lines += [
            f"  wire [1:0][{width - 1}:0] tree{lane}, sum{lane};",
            f"  smol_lane_{lane} lane{lane} (.a(rows{a}), .b(rows{b}), .is4(held4[{b}:{a}]), .is2(held2[{b}:{a}]),",
            f"    .is1(held1[{b}:{a}]), .rows(tree{lane}));",
            f"  pipe #(.WIDTH({2 * width}), .STAGE(CUT_ROWS)) cut{lane} (.clk, .d(tree{lane}), .q(sum{lane}));",
            f"  assign lanes[{lane}] = sum{lane}[0] + sum{lane}[1];",
        ]
    text = """
Sums of the products of chunks 2i and 2i+1, i = 0 .. 3, in units of two, signed.

Which precisions a chunk can have follows from the patterns of this unit, and is all of them that the area depends on.
A chunk of one precision needs no selection."""
    ports = [
        "input logic clk",
        *(f"input logic [127:0] {name}" for name in ("vn", "vm")),
        *(f"input logic [{CHUNKS - 1}:0] is{p}" for p in (4, 1)),
        f"output logic [3:0][{width - 1}:0] lanes",
    ]
    return module("smol_lanes", text, ports, lines, parameters="parameter bit CUT_CHUNK = 0, CUT_ROWS = 0")


def package(hardware: Hardware) -> str:
    """``smol_pkg``: what this unit has, as parameters."""
    width = array.lane_bits(hardware.chunk_precisions())
    lines = [
        head("Parameters of this unit: its instructions, pipeline registers, and the width of a lane's sum.")
        + "package smol_pkg;",
        f"  localparam int LANE_BITS = {width};  // sum of the products of two chunks, in units of two",
    ]
    lines += [f"  localparam bit HAS_{name.upper()} = {int(hardware.has(name))};" for name in INSTRUCTIONS]
    lines += [f"  localparam bit CUT_{name.upper()} = {int(name in hardware.cuts)};" for name in FIRST_CUTS]
    return "\n".join(lines) + "\nendpackage\n"


def decoder(hardware: Hardware) -> str:
    """``smol_decode``: function and field6 to what the blocks need, and whether the unit has this instruction."""
    lines = ["  always_comb begin", "    {is4, is1, pattern} = '0;", "    case (field6)"]
    for number in hardware.patterns:
        chunks = chunk_precisions(number)
        is4, is1 = (sum((chunks[c] == p) << c for c in range(CHUNKS)) for p in (4, 1))
        value = f"{{8'b{is4:08b}, 8'b{is1:08b}, 1'b1}}"
        lines.append(f"      6'd{number}: {{is4, is1, pattern}} = {value};  // {pattern_name(number)}")
    lines += ["      default: ;", "    endcase", "  end"]
    selectors = [f for f in range(64) if isa.part(f) is not None]
    lines += ["  always_comb begin", "    case (field6)"]
    lines.append(f"      {', '.join(f'6{chr(39)}h{f:02x}' for f in selectors)}: part = 1'b1;")
    lines += ["      default: part = 1'b0;", "    endcase", "  end"]
    legal = []
    for row in isa.TABLE:
        if not hardware.has(row.name):
            continue
        chosen = " | ".join(f"fn == 3'd{fn}" for fn in row.fns)
        lines.append(f"  assign {row.name} = {chosen};")
        need = {"pattern": " & pattern", "part": " & part", "pack": ""}[row.field6]
        legal.append(f"{row.name}{need}")
    lines += [f"  assign {name} = 1'b0;" for name in INSTRUCTIONS if not hardware.has(name)]
    lines.append(f"  assign legal = {' | '.join(legal)};")
    text = """
Which instruction function and field6 name, and what the array's chunks hold.

A pattern gives each chunk one precision: is4 and is1 have one bit per chunk, and a chunk with neither has 2-bit
elements. Patterns that this unit has not are illegal, and so is every word that the table does not list."""
    ports = ["input logic [2:0] fn", "input logic [5:0] field6"]
    ports += [f"output logic {name}" for name in (*INSTRUCTIONS, "legal")]
    ports += [f"output logic [{CHUNKS - 1}:0] is{p}" for p in (4, 1)]
    return module("smol_decode", text, ports, ["  logic pattern, part;", *lines])


def generated(hardware: Hardware) -> dict[str, str]:
    """Generated files by name, in an order in which tools can read them."""
    files = second.modules(hardware) if hardware.is_second else _first(hardware)
    files["nibble_product"] = product.module()
    for count in int8.COUNTS:
        files[f"int8_products_{count}"] = int8.module(count)
    files["fp32_significands"] = product.significand_module()
    return {f"{name}.sv": text.replace(FINGERPRINT, hardware.fingerprint) for name, text in files.items()}


def _first(hardware: Hardware) -> dict[str, str]:
    """Generated modules of a unit with the first page alone."""
    chunks = hardware.chunk_precisions()
    files = {"smol_pkg": package(hardware), "smol_decode": decoder(hardware)}
    for precisions in dict.fromkeys(chunks):
        files[chunk_name(precisions)] = chunk_module(precisions)
    for lane in range(CHUNKS // 2):
        files[f"smol_lane_{lane}"] = lane_module(hardware, lane)
    files["smol_lanes"] = array_module(hardware)
    return files


def sources(hardware: Hardware) -> dict[str, str]:
    """All files of a unit by name: the package first, then the rest."""
    files = generated(hardware)
    folders = (VERILOG, VERILOG / "second") if hardware.is_second else (VERILOG,)
    for folder in folders:  # modules of the second page stand in for those of the first with their names
        files.update({path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.sv"))})
    return files


def write(hardware: Hardware, folder: Path) -> list[Path]:
    """Write a unit's files into ``folder``; returns their paths in the order in which tools read them."""
    return [atomic_write_text(folder / name, text) for name, text in sources(hardware).items()]
