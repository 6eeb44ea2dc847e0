// vmac, vdot, vmm.w and vmm.h: sums of products of two registers, added to lanes of 32 or 16 bits.
//
// vmm.w multiplies each half of vn with each half of vm: quad 2i + j has chunks 4i .. 4i+3 of vn and 4j .. 4j+3 of vm, and
// adds to lane 2i + j. Quads 0 and 3, the diagonal, are what vmac and vdot need. A quad is two pairs of chunks; vmm.h adds
// each pair's sum to a lane of 16 bits of its own, the two that stand where the quad's lane of 32 bits is. So all four
// instructions share all products without a choice of operands, but for one: vmm.h takes one word of each half of vn
// for both pairs. Quads off the diagonal hold still under vmac and vdot: their operands are zero, and so are their sums.
//
// Sums are in units of two, since the number of products of a chunk is even and every product odd; the lowest bit of a
// lane never changes. vd is needed in the last stage only.
module smol_array (
  input  logic clk,
  input  logic [127:0] vn, vm, vd,
  input  logic [7:0] d4, d2, d1,       // precision of the diagonal's chunks, none where a chunk is empty
  input  logic [3:0] o4, o2, o1,       // and of those off the diagonal
  input  logic [1:0] word,             // vmm.h: one bit for either word that takes both places of its half
  input  logic matrix,                 // vmm.w, vmm.h
  input  logic vmac, vmm_w, vmm_x16,   // what is added to the lanes: pairs, quads, quads times 16,
  input  logic [2:0] vmm_h,            // pairs in units of 2^-6, 2^-2 or 1 to lanes of 16 bits,
  input  logic [3:0] vdot,             // the total, to one lane
  output logic [127:0] result
);
  localparam int BITS = smol_pkg::LANE_BITS;

  wire [127:0] pixels;
  for (genvar i = 0; i < 2; i++) begin : half
    wire [31:0] lower = vn[64*i +: 32], upper = vn[64*i+32 +: 32];
    assign pixels[64*i +: 32] = word[1] ? upper : lower;
    assign pixels[64*i+32 +: 32] = word[0] ? lower : upper;
  end
  wire [127:0] still = smol_pkg::HOLD ? {128{matrix}} : '1;

  wire [7:0][BITS-1:0] early, pairs;
  smol_quads sums (.clk, .vn(pixels), .vm, .vn_off(pixels & still), .vm_off(vm & still), .d4, .d2, .d1, .o4, .o2, .o1,
    .pairs(early));
  pipe #(.WIDTH(8 * BITS), .STAGE(smol_pkg::CUT_LANE)) lane_cut (.clk, .d(early), .q(pairs));

  wire [9:0] kind1, kind2, kind3;
  pipe #(.WIDTH(10), .STAGE(smol_pkg::CUT_CHUNK)) control1 (.clk, .d({vdot, vmm_h, vmm_x16, vmm_w, vmac}), .q(kind1));
  pipe #(.WIDTH(10), .STAGE(smol_pkg::CUT_ROWS)) control2 (.clk, .d(kind1), .q(kind2));
  pipe #(.WIDTH(10), .STAGE(smol_pkg::CUT_LANE)) control3 (.clk, .d(kind2), .q(kind3));

  wire [3:0][BITS:0] quads;
  for (genvar q = 0; q < 4; q++) begin : quad
    assign quads[q] = {pairs[2*q][BITS-1], pairs[2*q]} + {pairs[2*q+1][BITS-1], pairs[2*q+1]};
  end
  wire [BITS+1:0] total = {quads[0][BITS], quads[0]} + {quads[3][BITS], quads[3]};

  for (genvar i = 0; i < 4; i++) begin : lane
    wire low_is_short, low_is_short_now;
    wire [14:0] low, low_now;
    wire [BITS+1:0] high, high_now;
    smol_addend #(.BITS(BITS)) choose (.kind(kind3[5:0]), .dot(kind3[6+i]), .pair(pairs[(i < 2 ? 0 : 6) + i % 2]),
      .lower(pairs[2*i]), .upper(pairs[2*i+1]), .quad(quads[i]), .total, .low, .high, .is_short(low_is_short));
    pipe #(.WIDTH(BITS + 18), .STAGE(smol_pkg::CUT_TOTAL)) total_cut (.clk, .d({low_is_short, high, low}),
      .q({low_is_short_now, high_now, low_now}));

    // A lane of 32 bits is two of 16 whose carry goes on.
    wire [15:0] lower_sum = {1'b0, vd[32*i+1 +: 15]} + {1'b0, low_now};
    wire [15:0] upper_sum = vd[32*i+16 +: 16] + {{14-BITS{high_now[BITS+1]}}, high_now}
      + {15'd0, lower_sum[15] & ~low_is_short_now};
    assign result[32*i +: 32] = {upper_sum, lower_sum[14:0], vd[32*i]};
  end
endmodule
