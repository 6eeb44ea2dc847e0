// The codes of 32 bits of a register: of one lane of 32 bits, or of two lanes of 16 bits, shifted right and clamped.
//
// Both kinds share the shifters: a lane of 32 bits takes its code from the shifted lower half, or, where it moves by 16
// or more, from the shifted upper half. Instead of clamping a shifted number, the bits that would lie above the code are
// tested where they stand: `above` has a 1 for every bit from S + p on, within each half.
module smol_code (
  input  logic [31:0] lanes,
  input  logic wide,                   // one lane of 32 bits
  input  logic [3:0] half_shift,       // S / 2
  input  logic [15:0] above_lower,
  input  logic [14:0] above_upper,
  input  logic [7:0] ones,             // 2^p - 1
  output logic [7:0] lower, upper      // the code of a lane of 32 bits is `lower`
);
  // What moves in from above matters to codes of a lane of 32 bits alone, which have 4 bits at most.
  wire [21:0] from_lower = {4'b0, lanes[17:16] & {2{wide}}, lanes[15:0]} >> {half_shift[2:0], 1'b0};
  wire [15:0] from_upper = lanes[31:16] >> {half_shift[2:0], 1'b0};
  wire upper_over = |(lanes[30:16] & above_upper);
  wire lower_over = |(lanes[14:0] & above_lower[14:0]) | wide & (lanes[15] & above_lower[15] | upper_over);
  wire [7:0] moved = wide & half_shift[3] ? from_upper[7:0] : from_lower[7:0];
  assign lower = (moved | {8{lower_over}}) & ones & {8{~(wide ? lanes[31] : lanes[15])}};
  assign upper = (from_upper[7:0] | {8{upper_over}}) & ones & {8{~lanes[31]}};
  wire unused = ^{from_lower[21:8], from_upper[15:8]};
endmodule
