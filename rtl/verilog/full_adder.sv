// Adds three bits of one weight: `sum` has their weight, `carry` twice their weight.
//
// All compressor trees are made of this module alone, so that a tool can recognise it, or a library's full adder cell
// can take its place.
module full_adder (
  input  logic a, b, c,
  output logic sum, carry
);
  wire either = a ^ b;
  assign sum   = either ^ c;
  assign carry = a & b | either & c;
endmodule
