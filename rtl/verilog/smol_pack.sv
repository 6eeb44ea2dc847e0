// vqpk: codes of the lanes of vn, then of vm, enter vd from above; vd moves down by their width.
//
// The form is 8 codes of 4, 2 or 1 bits, or 4 of 4 bits.
module smol_pack (
  input  logic clk,
  input  logic [127:0] vn, vm, vd,
  input  logic [1:0] form,
  input  logic [3:0] half_shift,       // S / 2
  output logic [127:0] result
);
  wire four = form == 2'd3;                       // 4 codes of 4 bits, of vn alone
  wire two  = form == 2'd1;
  wire one  = form == 2'd2;
  wire [3:0] ones = {{2{~(one | two)}}, ~one, 1'b1};

  // from[b]: b >= S; a code of p bits leaves room for bits below S + p.
  wire [31:0] from = 32'hffffffff << {half_shift, 1'b0};
  wire [30:0] above = one ? {from[29:0], 1'b0} : two ? {from[28:0], 2'b0} : {from[26:0], 4'b0};

  wire [7:0][3:0] early, codes;
  for (genvar i = 0; i < 4; i++) begin : lane
    smol_code of_vn (.lane(vn[32*i +: 32]), .half_shift, .above, .ones, .code(early[i]));
    smol_code of_vm (.lane(vm[32*i +: 32]), .half_shift, .above, .ones, .code(early[i + 4]));
  end
  wire four1, two1, one1;
  pipe #(.WIDTH(35), .STAGE(smol_pkg::CUT_CODE)) cut (.clk, .d({four, two, one, early}), .q({four1, two1, one1, codes}));

  wire [15:0] twos;
  wire [7:0] bits;
  for (genvar i = 0; i < 8; i++) begin : narrow
    assign twos[2*i +: 2] = codes[i][1:0];
    assign bits[i] = codes[i][0];
  end
  assign result = one1 ? {bits, vd[127:8]} : two1 ? {twos, vd[127:16]} :
    four1 ? {codes[3], codes[2], codes[1], codes[0], vd[127:16]} : {codes, vd[127:32]};
  wire unused = ^{from[31:30], vd[7:0]};
endmodule
