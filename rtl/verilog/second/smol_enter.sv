// Half a register moves down by 64, 32, 16, 8 or 4 bits, and the lowest bits of `entering` take the place above.
module smol_enter (
  input  logic [63:0] old, entering,
  input  logic [4:0] width,            // one bit for 64, 32, 16, 8, 4
  output logic [63:0] result
);
  assign result = {64{width[4]}} & entering
    | {64{width[3]}} & {entering[31:0], old[63:32]}
    | {64{width[2]}} & {entering[15:0], old[63:16]}
    | {64{width[1]}} & {entering[7:0], old[63:8]}
    | {64{width[0]}} & {entering[3:0], old[63:4]};
  wire unused = ^old[3:0];
endmodule
