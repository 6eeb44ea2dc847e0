// Weighted count of equal bits of two 2-bit elements: same00 + 2 (same01 + same10) + 4 same11, from 0 to 9.
module smol_pair (
  input  logic same00, same01, same10, same11,
  output logic [3:0] count
);
  wire both = same01 & same10;
  assign count = {same11 & both, same11 ^ both, same01 ^ same10, same00};
endmodule
