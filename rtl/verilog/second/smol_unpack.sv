// vunp.h: the odd integers of four codes of each half of vn, in lanes of 16 bits.
//
// A group of four codes is a chunk, a byte or a nibble of its half; it is chosen in that order, so that narrow codes share
// the choice of wide ones. The odd integer 2c - (2^p - 1) of a code c is c with its highest bit inverted, which is then the
// sign, and a 1 behind it.
module smol_unpack (
  input  logic [127:0] vn,
  input  logic [1:0] form,             // precision: 0 for 4 bits, 1 for 2, 2 for 1
  input  logic [3:0] group,
  output logic [127:0] result
);
  wire is2 = form[0], is1 = form[1];
  wire [1:0] chunk = is1 ? group[3:2] : is2 ? group[2:1] : group[1:0];
  wire upper_byte = is1 ? group[1] : group[0];
  for (genvar i = 0; i < 2; i++) begin : half
    wire [15:0] four = vn[64*i + 16*chunk +: 16];
    wire [7:0] two = upper_byte ? four[15:8] : four[7:0];
    wire [3:0] one = group[0] ? two[7:4] : two[3:0];
    for (genvar j = 0; j < 4; j++) begin : lane
      wire sign = ~(is1 ? one[j] : is2 ? two[2*j+1] : four[4*j+3]);
      wire [2:0] rest = is1 ? {{2{sign}}, sign} : is2 ? {{2{sign}}, two[2*j]} : four[4*j +: 3];
      assign result[64*i+16*j +: 16] = {{12{sign}}, rest, 1'b1};
    end
  end
endmodule
