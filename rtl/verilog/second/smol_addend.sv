// What is added to one lane of 32 bits, or to its two lanes of 16 bits, in units of two.
//
// The sum of 31 bits is cut in two: `low` goes to bits 1 .. 15 of the lane, `high`, extended by its sign, to bits 16 .. 31.
// Lanes of 16 bits take a sum each; a unit of 2^-2 or 1 divides by 16 or 64, and nothing is lost, since all products of
// such a form were moved left by as much.
module smol_addend #(
  parameter int BITS = 12
) (
  input  logic [5:0] kind,             // pairs in units of 1, 2^-2, 2^-6; quad times 16; quad; pair of vmac
  input  logic dot,                    // the total
  input  logic [BITS-1:0] pair,        // vmac's
  input  logic [BITS-1:0] lower, upper,
  input  logic [BITS:0] quad,
  input  logic [BITS+1:0] total,
  output logic [14:0] low,
  output logic [BITS+1:0] high,
  output logic is_short
);
  wire [16:0] wide = {17{kind[0]}} & {{17-BITS{pair[BITS-1]}}, pair}
    | {17{kind[1]}} & {{16-BITS{quad[BITS]}}, quad}
    | {17{kind[2]}} & {{12-BITS{quad[BITS]}}, quad, 4'b0}
    | {17{dot}} & {{15-BITS{total[BITS+1]}}, total};
  wire [14:0] first = {15{kind[3]}} & {{15-BITS{lower[BITS-1]}}, lower}
    | {15{kind[4]}} & {{19-BITS{lower[BITS-1]}}, lower[BITS-1:4]}
    | {15{kind[5]}} & {{21-BITS{lower[BITS-1]}}, lower[BITS-1:6]};
  wire [BITS:0] second = {BITS+1{kind[3]}} & {upper[BITS-1], upper}
    | {BITS+1{kind[4]}} & {{5{upper[BITS-1]}}, upper[BITS-1:4]}
    | {BITS+1{kind[5]}} & {{7{upper[BITS-1]}}, upper[BITS-1:6]};
  assign low = wide[14:0] | first;
  assign high = {{BITS{wide[16]}}, wide[16:15]} | {second, 1'b0};
  assign is_short = |kind[5:3];
endmodule
