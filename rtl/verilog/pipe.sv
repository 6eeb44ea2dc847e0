// A pipeline register where STAGE is 1, else a wire.
//
// Units place it wherever a stage may end; which of these places hold registers is a parameter of the unit.
module pipe #(
  parameter int WIDTH = 1,
  parameter bit STAGE = 0
) (
  input  logic clk,
  input  logic [WIDTH-1:0] d,
  output logic [WIDTH-1:0] q
);
  if (STAGE) begin : stage
    always_ff @(posedge clk) q <= d;
  end else begin : wires
    assign q = d;
    wire unused = clk;
  end
endmodule
