// In how many of a chunk's four nibbles bits i of `a` and j of `b` are equal: ones[i][j] + 2 twos[i][j] + last[i][j].
//
// All nibbles of a chunk have one precision, so what is selected by precision are these counts, not single products.
// Three of four bits are added here: three bits per count are fewer to select than four, and adding the fourth would
// cost two half adders and select no fewer.
module smol_count (
  input  logic [15:0] a, b,
  output logic [3:0][3:0] ones, last, twos
);
  wire [3:0][3:0] same0, same1, same2;
  smol_nibble nibble0 (.a(a[3:0]), .b(b[3:0]), .same(same0));
  smol_nibble nibble1 (.a(a[7:4]), .b(b[7:4]), .same(same1));
  smol_nibble nibble2 (.a(a[11:8]), .b(b[11:8]), .same(same2));
  smol_nibble nibble3 (.a(a[15:12]), .b(b[15:12]), .same(last));
  for (genvar i = 0; i < 4; i++) begin : row
    for (genvar j = 0; j < 4; j++) begin : column
      full_adder add (.a(same0[i][j]), .b(same1[i][j]), .c(same2[i][j]), .sum(ones[i][j]), .carry(twos[i][j]));
    end
  end
endmodule
