// The SMOL unit: one instruction, its three registers in, the new vd out. Which instructions and patterns it has, and
// where its pipeline registers are, stands in smol_pkg.
//
// The three blocks share nothing but the operands: their pipelines may have different depths, as the core's scheduler
// knows. With a cut behind the decoder, which then works in the core's own decode stage, operands come one cycle after
// their instruction. `legal` is 0 for a word that the table does not list and for a pattern that this unit has not; the core raises
// the illegal-instruction fault.
module smol_unit (
  input  logic clk,
  input  logic [2:0] fn,
  input  logic [5:0] field6,
  input  logic [127:0] vd, vn, vm,
  output logic legal,
  output logic [127:0] result
);
  wire vmac_0, vmul_0, vmla_0, vqpk_0, vdot_0, vmac, vmul, vmla, vqpk, vdot;
  wire [7:0] is4_0, is1_0, is4, is1;
  wire [1:0] lane, form;
  wire [3:0] choice;                   // part, or half of the shift
  smol_decode decode (.fn, .field6, .vmac(vmac_0), .vmul(vmul_0), .vmla(vmla_0), .vqpk(vqpk_0), .vdot(vdot_0), .legal,
    .is4(is4_0), .is1(is1_0));
  pipe #(.WIDTH(29), .STAGE(smol_pkg::CUT_DECODE)) decoded (.clk,
    .d({vmac_0, vmul_0, vmla_0, vqpk_0, vdot_0, is4_0, is1_0, fn[1:0], field6}),
    .q({vmac, vmul, vmla, vqpk, vdot, is4, is1, lane, form, choice}));

  localparam bit ARRAY = smol_pkg::HAS_VMAC | smol_pkg::HAS_VDOT;
  localparam bit MUL = smol_pkg::HAS_VMUL | smol_pkg::HAS_VMLA;
  localparam bit PACK = smol_pkg::HAS_VQPK;

  wire [127:0] sums, products, packed_codes;
  if (ARRAY) begin : with_array
    smol_array block (.clk, .vn, .vm, .vd, .is4, .is1, .across(vdot), .lane, .result(sums));
  end else begin : no_array
    assign sums = '0;
    wire unused = ^{is4, is1, lane};
  end
  if (MUL) begin : with_mul
    smol_mul block (.clk, .vn, .vm, .vd, .form, .part(choice[2:0]), .accumulate(vmla),
      .result(products));
  end else begin : no_mul
    assign products = '0;
  end
  if (PACK) begin : with_pack
    smol_pack block (.clk, .vn, .vm, .vd, .form, .half_shift(choice), .result(packed_codes));
  end else begin : no_pack
    assign packed_codes = '0;
  end

  // Which block's result leaves in this cycle: the choice moves with the instruction through the block's own stages.
  wire from_array, from_mul, from_pack;
  wire array1, array2, array3;
  pipe #(.STAGE(smol_pkg::CUT_CHUNK & ARRAY)) array_1 (.clk, .d(vmac | vdot), .q(array1));
  pipe #(.STAGE(smol_pkg::CUT_ROWS & ARRAY)) array_2 (.clk, .d(array1), .q(array2));
  pipe #(.STAGE(smol_pkg::CUT_LANE & ARRAY)) array_3 (.clk, .d(array2), .q(array3));
  pipe #(.STAGE(smol_pkg::CUT_TOTAL & ARRAY)) array_4 (.clk, .d(array3), .q(from_array));
  pipe #(.STAGE(smol_pkg::CUT_PRODUCT & MUL)) mul_1 (.clk, .d(vmul | vmla), .q(from_mul));
  pipe #(.STAGE(smol_pkg::CUT_CODE & PACK)) pack_1 (.clk, .d(vqpk), .q(from_pack));
  if (int'(ARRAY) + int'(MUL) + int'(PACK) > 1) begin : choose
    assign result = sums & {128{from_array}} | products & {128{from_mul}} | packed_codes & {128{from_pack}};
  end else begin : single
    assign result = sums | products | packed_codes;
    wire unused = ^{from_array, from_mul, from_pack};
  end
endmodule
