// vdw: three taps of a depthwise filter for eight channels: lane c of 16 bits of vd += products of code c of three words of
// vn and of vm, which are a part of each word.
module smol_taps (
  input  logic clk,
  input  logic [127:0] vn, vm, vd,
  input  logic [1:0] form,             // precision: 0 for 4 bits, 1 for 2, 2 for 1
  input  logic [3:0] choice,           // part [3:2], first word of the pixels [1:0]
  output logic [127:0] result
);
  wire [31:0] pixels0, pixels1, pixels2, weights0, weights1, weights2;
  wire [95:0] pixels = choice[0] ? vn[127:32] : vn[95:0];
  smol_octet of_vn0 (.word(pixels[31:0]), .form, .part(choice[3:2]), .codes(pixels0));
  smol_octet of_vn1 (.word(pixels[63:32]), .form, .part(choice[3:2]), .codes(pixels1));
  smol_octet of_vn2 (.word(pixels[95:64]), .form, .part(choice[3:2]), .codes(pixels2));
  smol_octet of_vm0 (.word(vm[31:0]), .form, .part(choice[3:2]), .codes(weights0));
  smol_octet of_vm1 (.word(vm[63:32]), .form, .part(choice[3:2]), .codes(weights1));
  smol_octet of_vm2 (.word(vm[95:64]), .form, .part(choice[3:2]), .codes(weights2));
  for (genvar c = 0; c < 8; c++) begin : channel
    smol_tap_lane lane (.clk, .a({pixels2[4*c +: 4], pixels1[4*c +: 4], pixels0[4*c +: 4]}),
      .b({weights2[4*c +: 4], weights1[4*c +: 4], weights0[4*c +: 4]}), .acc(vd[16*c +: 16]),
      .result(result[16*c +: 16]));
  end
  wire unused = ^{choice[1], vm[127:96]};
endmodule
