// int8 matrix multiplication: vn is 2x8 and vm 8x2 signed bytes, lane 2i + j of vd += row i of vn times column j of vm,
// which stands as a row (AArch64's SMMLA). 32 products.
module smmla #(
  parameter bit CUT_ROWS = 0,
  parameter bit CUT_SUM = 0
) (
  input  logic clk,
  input  logic [127:0] vd, vn, vm,
  output logic [127:0] result
);
  for (genvar i = 0; i < 2; i++) begin : row
    for (genvar j = 0; j < 2; j++) begin : column
      localparam int LANE = 2 * i + j;
      int8_lane #(.COUNT(8), .CUT_ROWS(CUT_ROWS), .CUT_SUM(CUT_SUM)) dot (.clk, .a(vn[64*i +: 64]),
        .b(vm[64*j +: 64]), .acc(vd[32*LANE +: 32]), .result(result[32*LANE +: 32]));
    end
  end
endmodule
