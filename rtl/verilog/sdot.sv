// int8 dot product: each int32 lane of vd += the products of its four signed bytes (AArch64's SDOT). 16 products.
module sdot #(
  parameter bit CUT_ROWS = 0,
  parameter bit CUT_SUM = 0
) (
  input  logic clk,
  input  logic [127:0] vd, vn, vm,
  output logic [127:0] result
);
  for (genvar i = 0; i < 4; i++) begin : lane
    int8_lane #(.COUNT(4), .CUT_ROWS(CUT_ROWS), .CUT_SUM(CUT_SUM)) dot (.clk, .a(vn[32*i +: 32]), .b(vm[32*i +: 32]),
      .acc(vd[32*i +: 32]), .result(result[32*i +: 32]));
  end
endmodule
