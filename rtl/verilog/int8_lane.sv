// An int32 lane of an int8 dot product: COUNT products of signed bytes, added to an accumulator.
//
// Written with the same care as the SMOL array, to compare it with: the products are added in one compressor tree,
// resolved, and added to the accumulator, which is needed in the last stage only.
module int8_lane #(
  parameter int COUNT = 4,
  parameter bit CUT_ROWS = 0,          // a pipeline register behind the compressor tree
  parameter bit CUT_SUM = 0            // and behind the products' sum
) (
  input  logic clk,
  input  logic [8*COUNT-1:0] a, b,
  input  logic [31:0] acc,
  output logic [31:0] result
);
  localparam int BITS = COUNT == 4 ? 18 : 19;
  wire [1:0][BITS-1:0] early, rows;
  if (COUNT == 4) begin : four
    int8_products_4 products (.a, .b, .rows(early));
  end else begin : eight
    int8_products_8 products (.a, .b, .rows(early));
  end
  pipe #(.WIDTH(2 * BITS), .STAGE(CUT_ROWS)) rows_cut (.clk, .d(early), .q(rows));
  wire [BITS-1:0] early_sum = rows[0] + rows[1];
  wire [BITS-1:0] sum;
  pipe #(.WIDTH(BITS), .STAGE(CUT_SUM)) sum_cut (.clk, .d(early_sum), .q(sum));
  assign result = acc + {{32-BITS{sum[BITS-1]}}, sum};
endmodule
