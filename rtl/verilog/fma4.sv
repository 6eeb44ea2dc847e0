// fp32 fused multiply-add on four lanes: vd += vn * vm (AArch64's FMLA .4S). 4 products.
module fma4 #(
  parameter bit CUT_PRODUCT = 0,
  parameter bit CUT_SUM = 0
) (
  input  logic clk,
  input  logic [127:0] vd, vn, vm,
  output logic [127:0] result
);
  for (genvar i = 0; i < 4; i++) begin : lane
    fp32_fma #(.CUT_PRODUCT(CUT_PRODUCT), .CUT_SUM(CUT_SUM)) fma (.clk, .a(vn[32*i +: 32]), .b(vm[32*i +: 32]),
      .c(vd[32*i +: 32]), .result(result[32*i +: 32]));
  end
endmodule
