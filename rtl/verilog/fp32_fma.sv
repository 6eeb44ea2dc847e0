// fp32 fused multiply-add, a * b + c rounded once to nearest even, to compare the SMOL unit with.
//
// Subnormal operands count as zero and subnormal results become zero, as with AArch64's FPCR.FZ: less hardware than full
// IEEE 754, which favours this unit in a comparison. Every NaN is the canonical one.
//
// The product stands at bits 47:0 of a frame of 74 bits. c is shifted right from the frame's top, where two bits between
// it and the product are left for rounding; what falls out below is remembered in `sticky`. c enters the sum inverted for
// a subtraction, and a negative sum is inverted again, so that no third addition is needed for the sign.
module fp32_fma #(
  parameter bit CUT_PRODUCT = 0,       // a pipeline register behind the product's tree and the shift of c
  parameter bit CUT_SUM = 0            // and behind the sum
) (
  input  logic clk,
  input  logic [31:0] a, b, c,
  output logic [31:0] result
);
  wire a_zero = a[30:23] == '0, b_zero = b[30:23] == '0, c_zero = c[30:23] == '0;
  wire a_top = &a[30:23], b_top = &b[30:23], c_top = &c[30:23];
  wire a_nan = a_top & |a[22:0], b_nan = b_top & |b[22:0], c_nan = c_top & |c[22:0];
  wire a_inf = a_top & ~a_nan, b_inf = b_top & ~b_nan, c_inf = c_top & ~c_nan;
  wire p_sign = a[31] ^ b[31];
  wire p_zero = a_zero | b_zero;
  wire p_inf = a_inf | b_inf;
  wire nan = a_nan | b_nan | c_nan | a_inf & b_zero | b_inf & a_zero | p_inf & c_inf & (p_sign ^ c[31]);

  wire [1:0][47:0] rows;
  fp32_significands multiply (.a({~a_zero, a[22:0] & {23{~a_zero}}}), .b({~b_zero, b[22:0] & {23{~b_zero}}}), .rows);

  // Distance of c from the frame's top; where it is not positive, or the product is 0, the frame follows c.
  wire [9:0] p_exponent = {2'b0, a[30:23]} + {2'b0, b[30:23]} - 10'd100;
  wire [10:0] distance = {p_exponent[9], p_exponent} - {3'b0, c[30:23]};
  wire far = (distance[10] | p_zero) & ~c_zero;
  wire [6:0] shift = far ? 7'd0 : distance > 11'd75 ? 7'd75 : distance[6:0];
  wire [98:0] moved = {~c_zero, c[22:0] & {23{~c_zero}}, 75'b0} >> shift;
  wire subtract = p_sign ^ c[31];
  wire [74:0] addend = {1'b0, moved[98:25]} ^ {75{subtract}};
  wire [9:0] exponent = far ? {2'b0, c[30:23]} : p_exponent;
  wire both_zero = p_zero & c_zero;

  wire [1:0][47:0] rows1;
  wire [74:0] addend1;
  wire [9:0] exponent1;
  wire sticky1, subtract1, p_sign1, c_sign1, both_zero1, nan1, p_inf1, c_inf1;
  pipe #(.WIDTH(189), .STAGE(CUT_PRODUCT)) product_cut (.clk,
    .d({rows, addend, exponent, |moved[24:0], subtract, p_sign, c[31], both_zero, nan, p_inf, c_inf}),
    .q({rows1, addend1, exponent1, sticky1, subtract1, p_sign1, c_sign1, both_zero1, nan1, p_inf1, c_inf1}));

  wire [1:0][47:0] lower;
  wire [47:0] carries;
  for (genvar i = 0; i < 48; i++) begin : column
    full_adder add (.a(rows1[0][i]), .b(rows1[1][i]), .c(addend1[i]), .sum(lower[0][i]), .carry(carries[i]));
  end
  assign lower[1] = {carries[46:0], 1'b0};
  wire [74:0] raw = {addend1[74:48], lower[0]} + {26'b0, carries[47], lower[1]};
  wire negative = raw[74];
  wire [73:0] sum = (raw[73:0] ^ {74{negative}}) + {73'b0, subtract1 & ~negative & ~sticky1};
  wire sign = both_zero1 ? p_sign1 & c_sign1 : negative ? c_sign1 : p_sign1;

  wire [73:0] sum2;
  wire [9:0] exponent2;
  wire sticky2, sign2, both_zero2, nan2, inf2, inf_sign2;
  pipe #(.WIDTH(90), .STAGE(CUT_SUM)) sum_cut (.clk,
    .d({sum, exponent1, sticky1, sign, both_zero1, nan1, p_inf1 | c_inf1, p_inf1 ? p_sign1 : c_sign1}),
    .q({sum2, exponent2, sticky2, sign2, both_zero2, nan2, inf2, inf_sign2}));

  // Shifts by 64, 32, .. 1 where that many bits at the top are 0: count of leading zeros and shift in one.
  wire [6:0] zeros;
  wire [73:0] by64 = zeros[6] ? {sum2[9:0], 64'b0} : sum2;
  wire [73:0] by32 = zeros[5] ? {by64[41:0], 32'b0} : by64;
  wire [73:0] by16 = zeros[4] ? {by32[57:0], 16'b0} : by32;
  wire [73:0] by8  = zeros[3] ? {by16[65:0], 8'b0} : by16;
  wire [73:0] by4  = zeros[2] ? {by8[69:0], 4'b0} : by8;
  wire [73:0] by2  = zeros[1] ? {by4[71:0], 2'b0} : by4;
  wire [73:0] norm = zeros[0] ? {by2[72:0], 1'b0} : by2;
  assign zeros = {~|sum2[73:10], ~|by64[73:42], ~|by32[73:58], ~|by16[73:66], ~|by8[73:70], ~|by4[73:72], ~by2[73]};

  wire up = norm[49] & (norm[50] | |norm[48:0] | sticky2);
  wire [24:0] rounded = {1'b0, norm[73:50]} + {24'b0, up};
  wire [10:0] shifted = {exponent2[9], exponent2} - {4'b0, zeros};
  wire [10:0] biased = shifted + {10'b0, rounded[24]};
  wire tiny = shifted[10] | shifted == '0 | ~norm[73];
  wire huge = ~shifted[10] & biased >= 11'd255;
  wire cancelled = ~norm[73] & ~both_zero2;

  assign result = nan2 ? 32'h7fc00000 :
    inf2 ? {inf_sign2, 8'hff, 23'b0} :
    tiny ? {sign2 & ~cancelled, 31'b0} :
    huge ? {sign2, 8'hff, 23'b0} : {sign2, biased[7:0], rounded[22:0]};
endmodule
