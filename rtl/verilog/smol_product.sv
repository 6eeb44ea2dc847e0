// Products of one nibble pair for vmul and vmla: one of 4-bit elements as an int16, or two of 2- or 1-bit elements as int8.
//
// Every product is odd. With the weighted count n of equal bits it is 2n - (2^p - 1)^2, so (product - 1) / 2 is n less a
// constant, and the lowest bit of every lane is 1 without an adder. The count of two 2-bit elements is also part of that
// of the 4-bit elements which hold them. A 1-bit element stands in bit 0 or bit 2 of its nibble.
module smol_product (
  input  logic [3:0] a, b,
  input  logic is4, is1,
  output logic [15:0] product
);
  wire [3:0][3:0] same;
  smol_nibble bits (.a, .b, .same);

  wire [3:0] low, high;
  smol_pair lower (.same00(same[0][0]), .same01(same[0][1]), .same10(same[1][0]), .same11(same[1][1]), .count(low));
  smol_pair upper (.same00(same[2][2]), .same01(same[2][3]), .same10(same[3][2]), .same11(same[3][3]), .count(high));

  wire [1:0][7:0] rows;
  nibble_product whole (.low, .high, .same, .rows);
  wire [7:0] four = rows[0] + rows[1];

  wire [3:0] first  = is1 ? {4{~same[0][0]}} : low - 4'd5;
  wire [3:0] second = is1 ? {4{~same[2][2]}} : high - 4'd5;
  assign product = is4 ? {{7{four[7]}}, four, 1'b1} : {{3{second[3]}}, second, 1'b1, {3{first[3]}}, first, 1'b1};
endmodule
