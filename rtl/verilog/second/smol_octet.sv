// Eight codes of part k of a 32-bit word as codes of 4 bits: narrower ones become the code of the same odd integer.
//
// The odd integers of 2 and 1 bits are among those of 4 bits: 2c - 3 is that of code c + 6, and 2c - 1 that of c + 7. So
// the products behind need no other precision.
module smol_octet (
  input  logic [31:0] word,
  input  logic [1:0] form,             // precision: 0 for 4 bits, 1 for 2, 2 for 1
  input  logic [1:0] part,
  output logic [31:0] codes
);
  wire is2 = form[0], is1 = form[1];
  wire [15:0] half = part[0] ? word[31:16] : word[15:0];
  wire [7:0] octet = word[8*part +: 8];
  for (genvar n = 0; n < 8; n++) begin : code
    wire [3:0] of2 = {half[2*n+1], {2{~half[2*n+1]}}, half[2*n]};
    wire [3:0] of1 = {octet[n], {3{~octet[n]}}};
    assign codes[4*n +: 4] = is1 ? of1 : is2 ? of2 : word[4*n +: 4];
  end
endmodule
