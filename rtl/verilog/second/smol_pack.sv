// vqpk, vqpk.h and vqpk.s: codes of the lanes of vn and vm enter vd from above, or each half of vd.
//
// Codes are made of 32 bits each (smol_code), whatever their lanes, and then put in order. Of lanes of 32 bits vqpk takes
// all codes of vn, then of vm, and vd moves as a whole; vqpk.s takes those of half a register, and each half moves. Of lanes
// of 16 bits vqpk.h does either, `joint` or not. Where vd moves as a whole, its upper half enters the lower one.
module smol_pack (
  input  logic clk,
  input  logic [127:0] vn, vm, vd,
  input  logic vqpk, vqpk_h, vqpk_s,
  input  logic [1:0] form,             // field6[5:4]
  input  logic [3:0] choice,           // field6[3:0]
  output logic [127:0] result
);
  wire wide  = vqpk | vqpk_s;                        // lanes of 32 bits
  wire last  = form == 2'd3;
  wire joint = vqpk_h & choice[3] & ~last;
  wire few   = last & (vqpk | choice[3]);            // codes of 4 bits, of vn alone
  wire is8   = last & ~few;
  wire is4   = form == 2'd0 | few;
  wire is2   = form == 2'd1;
  wire is1   = form == 2'd2;
  wire [3:0] half_shift = {choice[3] & wide, choice[2:0]};
  wire [7:0] ones = {{4{is8}}, {2{is8 | is4}}, ~is1, 1'b1};

  // from[b]: b >= S; a code of p bits leaves room for bits below S + p.
  wire [31:0] from = 32'hffffffff << {half_shift, 1'b0};
  wire [31:0] above = is8 ? {from[23:0], 8'b0} : is4 ? {from[27:0], 4'b0} : is2 ? {from[29:0], 2'b0} : {from[30:0], 1'b0};
  wire [14:0] above_upper = wide ? above[30:16] : above[14:0];

  wire [7:0][7:0] n_early, m_early, n, m;
  for (genvar i = 0; i < 4; i++) begin : lane
    smol_code of_vn (.lanes(vn[32*i +: 32]), .wide, .half_shift, .above_lower(above[15:0]), .above_upper, .ones,
      .lower(n_early[2*i]), .upper(n_early[2*i+1]));
    smol_code of_vm (.lanes(vm[32*i +: 32]), .wide, .half_shift, .above_lower(above[15:0]), .above_upper, .ones,
      .lower(m_early[2*i]), .upper(m_early[2*i+1]));
  end

  wire pair_early = vqpk_s | few;                    // four codes enter
  wire whole_early = vqpk | joint;
  wire wide1, split_s, whole, joint1, four, by8, by4, by2, by1;
  pipe #(.WIDTH(137), .STAGE(smol_pkg::CUT_CODE)) cut (.clk,
    .d({wide, vqpk_s, whole_early, joint, pair_early, is8, is4, is2, is1, n_early, m_early}),
    .q({wide1, split_s, whole, joint1, four, by8, by4, by2, by1, n, m}));

  // Lanes of 32 bits have their codes in the even places.
  wire [7:0][7:0] eight_upper = wide1 ? {m[6], m[4], m[2], m[0], n[6], n[4], n[2], n[0]}
    : {m[7], m[6], m[5], m[4], n[7], n[6], n[5], n[4]};
  wire [7:0][7:0] eight_lower = {m[3], m[2], m[1], m[0], n[3], n[2], n[1], n[0]};
  wire [3:0][3:0] four_upper = split_s ? {m[6][3:0], m[4][3:0], n[6][3:0], n[4][3:0]}
    : wide1 ? {n[6][3:0], n[4][3:0], n[2][3:0], n[0][3:0]} : {n[7][3:0], n[6][3:0], n[5][3:0], n[4][3:0]};
  wire [3:0][3:0] four_lower = split_s ? {m[2][3:0], m[0][3:0], n[2][3:0], n[0][3:0]}
    : {n[3][3:0], n[2][3:0], n[1][3:0], n[0][3:0]};

  wire [3:0] eight_of = {by8, by4, by2, by1} & {4{~four & ~joint1}};
  wire [2:0] four_of = {by4, by2, by1} & {3{four}};
  wire [2:0] joint_of = {by4, by2, by1} & {3{joint1}};
  wire [63:0] upper_piece, lower_piece;
  smol_piece of_upper (.eight(eight_upper), .four(four_upper), .eight_of, .four_of, .piece(upper_piece));
  smol_piece of_lower (.eight(eight_lower), .four(four_lower), .eight_of, .four_of, .piece(lower_piece));

  wire [63:0] all4;
  wire [31:0] all2;
  wire [15:0] all1;
  for (genvar i = 0; i < 8; i++) begin : all
    assign {all4[4*i+32 +: 4], all4[4*i +: 4]} = {m[i][3:0], n[i][3:0]};
    assign {all2[2*i+16 +: 2], all2[2*i +: 2]} = {m[i][1:0], n[i][1:0]};
    assign {all1[i+8], all1[i]} = {m[i][0], n[i][0]};
  end
  wire [63:0] joint_piece = {64{joint_of[2]}} & all4 | {32'b0, {32{joint_of[1]}} & all2}
    | {48'b0, {16{joint_of[0]}} & all1};

  wire [4:0] width = {eight_of[3] | joint_of[2], eight_of[2] | joint_of[1], eight_of[1] | four_of[2] | joint_of[0],
    eight_of[0] | four_of[1], four_of[0]};
  smol_enter into_upper (.old(vd[127:64]), .entering(upper_piece | joint_piece), .width, .result(result[127:64]));
  smol_enter into_lower (.old(vd[63:0]), .entering(whole ? vd[127:64] : lower_piece), .width, .result(result[63:0]));
  wire unused = ^{above[31], from[31]};
endmodule
