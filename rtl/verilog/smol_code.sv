// One lane of vqpk: the int32 lane shifted right, clamped to 0 .. 2^p - 1.
//
// Instead of clamping a shifted number, the bits that would lie above the code are tested where they stand: `above` has a
// 1 for every bit from S + p on. It is the same for all lanes and made once.
module smol_code (
  input  logic [31:0] lane,
  input  logic [3:0] half_shift,       // S / 2
  input  logic [30:0] above,
  input  logic [3:0] ones,             // 2^p - 1
  output logic [3:0] code
);
  wire [31:0] moved = lane >> {half_shift, 1'b0};
  wire over = |(lane[30:0] & above);
  assign code = (moved[3:0] | {4{over}}) & ones & {4{~lane[31]}};
  wire unused = ^moved[31:4];
endmodule
