// vmac and vdot: products of two registers of one pattern, added to int32 lanes.
//
// vmac adds the sum of chunks 2i and 2i+1 to lane i. vdot adds the sum of all chunks to one lane, so its total is made of
// the lanes' sums, and both share the four final adders: a lane adds its own sum, or the total, or nothing. Sums are in
// units of two, since the number of products of a chunk is even and every product odd. The accumulator vd is needed in
// the last stage only, where a core can forward the result of the instruction before.
module smol_array (
  input  logic clk,
  input  logic [127:0] vn, vm, vd,
  input  logic [7:0] is4, is1,         // precision of each chunk; 2 bits where neither is set
  input  logic across,                 // vdot: the total enters one lane
  input  logic [1:0] lane,             // which one
  output logic [127:0] result
);
  localparam int BITS = smol_pkg::LANE_BITS;

  wire [3:0][BITS-1:0] early, lanes;
  smol_lanes #(.CUT_CHUNK(smol_pkg::CUT_CHUNK), .CUT_ROWS(smol_pkg::CUT_ROWS)) sums (.clk, .vn, .vm, .is4, .is1,
    .lanes(early));
  pipe #(.WIDTH(4 * BITS), .STAGE(smol_pkg::CUT_LANE)) lane_cut (.clk, .d(early), .q(lanes));

  wire across1, across2, across3;
  wire [1:0] lane1, lane2, lane3;
  pipe #(.WIDTH(3), .STAGE(smol_pkg::CUT_CHUNK)) control1 (.clk, .d({across, lane}), .q({across1, lane1}));
  pipe #(.WIDTH(3), .STAGE(smol_pkg::CUT_ROWS)) control2 (.clk, .d({across1, lane1}), .q({across2, lane2}));
  pipe #(.WIDTH(3), .STAGE(smol_pkg::CUT_LANE)) control3 (.clk, .d({across2, lane2}), .q({across3, lane3}));

  // The addend of each lane, two bits wider than a lane's sum for the total of four.
  wire [3:0][BITS+1:0] wide, addend, addend_cut;
  for (genvar i = 0; i < 4; i++) begin : extend
    assign wide[i] = {{2{lanes[i][BITS-1]}}, lanes[i]};
  end
  wire [1:0][BITS+1:0] three, four;
  carry_save #(.WIDTH(BITS + 2)) add_three (.a(wide[0]), .b(wide[1]), .c(wide[2]), .rows(three));
  carry_save #(.WIDTH(BITS + 2)) add_four (.a(three[0]), .b(three[1]), .c(wide[3]), .rows(four));
  wire [BITS+1:0] total = four[0] + four[1];
  for (genvar i = 0; i < 4; i++) begin : choose
    if (smol_pkg::HAS_VDOT & smol_pkg::HAS_VMAC) begin : both
      assign addend[i] = across3 ? total & {BITS + 2{lane3 == 2'(i)}} : wide[i];
    end else if (smol_pkg::HAS_VDOT) begin : vdot_only
      assign addend[i] = total & {BITS + 2{lane3 == 2'(i)}};
    end else begin : vmac_only
      assign addend[i] = wide[i];
    end
  end
  pipe #(.WIDTH(4 * (BITS + 2)), .STAGE(smol_pkg::CUT_TOTAL)) total_cut (.clk, .d(addend), .q(addend_cut));

  for (genvar i = 0; i < 4; i++) begin : accumulate
    wire [30:0] half = vd[32*i+1 +: 31] + {{29-BITS{addend_cut[i][BITS+1]}}, addend_cut[i]};
    assign result[32*i +: 32] = {half, vd[32*i]};
  end
endmodule
