// Adds three numbers to two: `rows[0] + rows[1]` is `a + b + c` modulo 2^WIDTH, without carries from bit to bit.
module carry_save #(
  parameter int WIDTH = 8
) (
  input  logic [WIDTH-1:0] a, b, c,
  output logic [1:0][WIDTH-1:0] rows
);
  wire [WIDTH-1:0] carries;
  for (genvar i = 0; i < WIDTH; i++) begin : column
    full_adder add (.a(a[i]), .b(b[i]), .c(c[i]), .sum(rows[0][i]), .carry(carries[i]));
  end
  assign rows[1] = {carries[WIDTH-2:0], 1'b0};
  wire unused = carries[WIDTH-1];
endmodule
