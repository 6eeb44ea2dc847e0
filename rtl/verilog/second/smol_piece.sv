// Codes side by side: 8 codes of 8, 4, 2 or 1 bits, or 4 codes of 4, 2 or 1 bits.
module smol_piece (
  input  logic [7:0][7:0] eight,
  input  logic [3:0][3:0] four,
  input  logic [3:0] eight_of,         // one bit for 8, 4, 2, 1 bits; none where there are four codes
  input  logic [2:0] four_of,          // one bit for 4, 2, 1 bits
  output logic [63:0] piece
);
  wire [31:0] nibbles;
  wire [15:0] pairs;
  wire [7:0] bits, four_pairs;
  wire [3:0] four_bits;
  for (genvar i = 0; i < 8; i++) begin : narrow
    assign nibbles[4*i +: 4] = eight[i][3:0];
    assign pairs[2*i +: 2] = eight[i][1:0];
    assign bits[i] = eight[i][0];
  end
  for (genvar i = 0; i < 4; i++) begin : few
    assign four_pairs[2*i +: 2] = four[i][1:0];
    assign four_bits[i] = four[i][0];
  end
  assign piece = {64{eight_of[3]}} & eight
    | {32'b0, {32{eight_of[2]}} & nibbles}
    | {48'b0, {16{eight_of[1]}} & pairs | {16{four_of[2]}} & four}
    | {56'b0, {8{eight_of[0]}} & bits | {8{four_of[1]}} & four_pairs}
    | {60'b0, {4{four_of[0]}} & four_bits};
endmodule
