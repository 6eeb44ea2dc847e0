// Which bits of two nibbles are equal: same[i][j] = (a[i] == b[j]).
//
// A code's odd integer is the sum of 2^i s_i, where s_i is +1 for a bit of 1 and -1 for a bit of 0, and the product of two
// such signs is +1 exactly where the bits are equal. So these 16 XNORs hold what one product of 4-bit elements needs, or
// two of 2-bit elements (i/2 == j/2), or four of 1-bit elements (i == j): no precision has multipliers of its own.
module smol_nibble (
  input  logic [3:0] a, b,
  output logic [3:0][3:0] same
);
  for (genvar i = 0; i < 4; i++) begin : row
    assign same[i] = ~({4{a[i]}} ^ b);
  end
endmodule
