// The SMOL unit with instructions of both pages: one instruction, its three registers in, the new vd out. Which
// instructions, patterns, pieces and forms it has, and where its pipeline registers are, stands in smol_pkg and in
// smol_decode.
//
// The blocks share nothing but the operands: their pipelines may have different depths, as the core's scheduler knows.
// With a cut behind the decoder, which then works in the core's own decode stage, operands come one cycle after their
// instruction. `legal` is 0 for a word that the table does not list and for a value of field6 that this unit has not; the
// core raises the illegal-instruction fault.
module smol_unit (
  input  logic clk,
  input  logic [3:0] fn,               // 8 and above: the second page
  input  logic [5:0] field6,
  input  logic [127:0] vd, vn, vm,
  output logic legal,
  output logic [127:0] result
);
  wire vmac_0, vmul_0, vmla_0, vqpk_0, vmm_w_0, vmm_h_0, vqpk_h_0, vqpk_s_0, vunp_h_0, vdw_0;
  wire [3:0] vdot_0;
  wire [7:0] d4_0, d2_0, d1_0;
  wire [3:0] o4_0, o2_0, o1_0;
  wire x16_0;
  wire [2:0] unit_0;
  smol_decode decode (.fn, .field6, .vmac(vmac_0), .vmul(vmul_0), .vmla(vmla_0), .vqpk(vqpk_0), .vdot(vdot_0),
    .vmm_w(vmm_w_0), .vmm_h(vmm_h_0), .vqpk_h(vqpk_h_0), .vqpk_s(vqpk_s_0), .vunp_h(vunp_h_0), .vdw(vdw_0), .legal,
    .d4(d4_0), .d2(d2_0), .d1(d1_0), .o4(o4_0), .o2(o2_0), .o1(o1_0), .x16(x16_0), .unit(unit_0));

  wire vmac, vmul, vmla, vqpk, vmm_w, vmm_x16, vqpk_h, vqpk_s, vunp_h, vdw, matrix;
  wire [3:0] vdot, o4, o2, o1;
  wire [7:0] d4, d2, d1;
  wire [2:0] vmm_h;
  wire [1:0] word, form;
  wire [3:0] choice;
  pipe #(.WIDTH(62), .STAGE(smol_pkg::CUT_DECODE)) decoded (.clk,
    .d({vmac_0, vmul_0, vmla_0, vqpk_0, vdot_0, vmm_w_0 & ~x16_0, vmm_w_0 & x16_0, {3{vmm_h_0}} & unit_0, vqpk_h_0,
      vqpk_s_0, vunp_h_0, vdw_0, vmm_w_0 | vmm_h_0, d4_0, d2_0, d1_0, o4_0, o2_0, o1_0,
      {2{vmm_h_0}} & {field6[4], ~field6[4]}, field6}),
    .q({vmac, vmul, vmla, vqpk, vdot, vmm_w, vmm_x16, vmm_h, vqpk_h, vqpk_s, vunp_h, vdw, matrix, d4, d2, d1, o4, o2, o1,
      word, form, choice}));
  wire unused_controls = ^{vmm_h, form, choice};  // by some choices of instructions

  wire [127:0] sums, products, packed_codes, numbers, tap_sums;
  if (smol_pkg::HAS_ARRAY) begin : with_array
    smol_array block (.clk, .vn, .vm, .vd, .d4, .d2, .d1, .o4, .o2, .o1, .word, .matrix, .vmac, .vmm_w, .vmm_x16, .vmm_h,
      .vdot, .result(sums));
  end else begin : no_array
    assign sums = '0;
    wire unused = ^{d4, d2, d1, o4, o2, o1, word, matrix, vmm_x16, vmm_w};
  end
  if (smol_pkg::HAS_MUL) begin : with_mul
    smol_mul block (.clk, .vn, .vm, .vd, .form, .part(choice[2:0]), .accumulate(vmla), .result(products));
  end else begin : no_mul
    assign products = '0;
  end
  if (smol_pkg::HAS_PACK) begin : with_pack
    smol_pack block (.clk, .vn, .vm, .vd, .vqpk, .vqpk_h, .vqpk_s, .form, .choice, .result(packed_codes));
  end else begin : no_pack
    assign packed_codes = '0;
  end
  if (smol_pkg::HAS_VUNP_H) begin : with_unpack
    smol_unpack block (.vn, .form, .group(choice), .result(numbers));
  end else begin : no_unpack
    assign numbers = '0;
  end
  if (smol_pkg::HAS_VDW) begin : with_taps
    smol_taps block (.clk, .vn, .vm, .vd, .form, .choice, .result(tap_sums));
  end else begin : no_taps
    assign tap_sums = '0;
  end

  // Which block's result leaves in this cycle: the choice moves with the instruction through the block's own stages.
  wire from_array, from_mul, from_pack, from_taps;
  wire array1, array2, array3, taps1;
  pipe #(.STAGE(smol_pkg::CUT_CHUNK & smol_pkg::HAS_ARRAY)) array_1 (.clk, .d(vmac | (|vdot) | matrix), .q(array1));
  pipe #(.STAGE(smol_pkg::CUT_ROWS & smol_pkg::HAS_ARRAY)) array_2 (.clk, .d(array1), .q(array2));
  pipe #(.STAGE(smol_pkg::CUT_LANE & smol_pkg::HAS_ARRAY)) array_3 (.clk, .d(array2), .q(array3));
  pipe #(.STAGE(smol_pkg::CUT_TOTAL & smol_pkg::HAS_ARRAY)) array_4 (.clk, .d(array3), .q(from_array));
  pipe #(.STAGE(smol_pkg::CUT_PRODUCT & smol_pkg::HAS_MUL)) mul_1 (.clk, .d(vmul | vmla), .q(from_mul));
  pipe #(.STAGE(smol_pkg::CUT_CODE & smol_pkg::HAS_PACK)) pack_1 (.clk, .d(vqpk | vqpk_h | vqpk_s), .q(from_pack));
  pipe #(.STAGE(smol_pkg::CUT_TAPS & smol_pkg::HAS_VDW)) taps_1 (.clk, .d(vdw), .q(taps1));
  pipe #(.STAGE(smol_pkg::CUT_TAP_SUM & smol_pkg::HAS_VDW)) taps_2 (.clk, .d(taps1), .q(from_taps));
  if (smol_pkg::BLOCKS > 1) begin : choose
    assign result = sums & {128{from_array}} | products & {128{from_mul}} | packed_codes & {128{from_pack}}
      | numbers & {128{vunp_h}} | tap_sums & {128{from_taps}};
  end else begin : single
    assign result = sums | products | packed_codes | numbers | tap_sums;
    wire unused = ^{from_array, from_mul, from_pack, vunp_h, from_taps};
  end
endmodule
