// One lane of vdw: three products of 4-bit codes, added to 16 bits.
//
// The products are counted together: in how many of the three bits i and j are equal takes a full adder, and one
// compressor tree weighs the 16 counts. The sum of three odd products is odd, 2 t + 1: the tree has t, and the lowest bit
// that is added is a 1.
module smol_tap_lane (
  input  logic clk,
  input  logic [2:0][3:0] a, b,
  input  logic [15:0] acc,
  output logic [15:0] result
);
  localparam int BITS = smol_pkg::TAP_BITS;
  wire [3:0][3:0] same0, same1, same2, ones, twos;
  smol_nibble first (.a(a[0]), .b(b[0]), .same(same0));
  smol_nibble second (.a(a[1]), .b(b[1]), .same(same1));
  smol_nibble third (.a(a[2]), .b(b[2]), .same(same2));
  for (genvar i = 0; i < 4; i++) begin : row
    for (genvar j = 0; j < 4; j++) begin : column
      full_adder add (.a(same0[i][j]), .b(same1[i][j]), .c(same2[i][j]), .sum(ones[i][j]), .carry(twos[i][j]));
    end
  end
  wire [1:0][BITS-1:0] early, rows;
  tap_products products (.ones, .twos, .rows(early));
  pipe #(.WIDTH(2 * BITS), .STAGE(smol_pkg::CUT_TAPS)) rows_cut (.clk, .d(early), .q(rows));
  wire [BITS-1:0] early_sum = rows[0] + rows[1];
  wire [BITS-1:0] sum;
  pipe #(.WIDTH(BITS), .STAGE(smol_pkg::CUT_TAP_SUM)) sum_cut (.clk, .d(early_sum), .q(sum));
  assign result = acc + {{15-BITS{sum[BITS-1]}}, sum, 1'b1};
endmodule
