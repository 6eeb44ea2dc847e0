// Part k of a register as eight nibbles: two chunks as they stand, or one chunk of 1-bit elements, elements 2n and 2n + 1
// in bits 0 and 2 of nibble n.
module smol_part (
  input  logic [127:0] register,
  input  logic is1,
  input  logic [2:0] part,
  output logic [31:0] nibbles
);
  // A chunk is chosen within its pair first, so that the choice of the pair serves both kinds of parts.
  wire [1:0] pair = is1 ? part[2:1] : part[1:0];
  wire [31:0] word = register[32*pair +: 32];
  wire [15:0] chunk = part[0] ? word[31:16] : word[15:0];
  for (genvar n = 0; n < 8; n++) begin : nibble
    assign nibbles[4*n +: 4] = is1 ? {1'b0, chunk[2*n+1], 1'b0, chunk[2*n]} : word[4*n +: 4];
  end
endmodule
