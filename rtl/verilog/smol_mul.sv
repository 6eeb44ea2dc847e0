// vmul and vmla: products of the elements of part k of two registers, one per lane, alone or added to the lanes of vd.
//
// A part is two chunks of 4- or 2-bit elements, thus eight nibbles and 8 lanes of 16 or 16 lanes of 8 bits, or one chunk
// of 1-bit elements, whose 16 bits are spread over the same eight nibbles. So there are eight products of nibbles behind
// one choice of the part; lanes of 8 bits are lanes of 16 whose carry stops in the middle.
module smol_mul (
  input  logic clk,
  input  logic [127:0] vn, vm, vd,
  input  logic [1:0] form,             // precision: 0 for 4 bits, 1 for 2, 2 for 1
  input  logic [2:0] part,
  input  logic accumulate,             // vmla
  output logic [127:0] result
);
  wire is4 = form == 2'd0;
  wire is1 = form[1];

  wire [31:0] a, b;
  smol_part of_vn (.register(vn), .is1, .part, .nibbles(a));
  smol_part of_vm (.register(vm), .is1, .part, .nibbles(b));

  wire [127:0] early, products;
  for (genvar n = 0; n < 8; n++) begin : nibble
    smol_product multiply (.a(a[4*n +: 4]), .b(b[4*n +: 4]), .is4, .is1, .product(early[16*n +: 16]));
  end
  wire accumulate1, is4_1;
  pipe #(.WIDTH(130), .STAGE(smol_pkg::CUT_PRODUCT)) cut (.clk, .d({accumulate, is4, early}),
    .q({accumulate1, is4_1, products}));

  if (smol_pkg::HAS_VMLA) begin : adders
    wire [127:0] addend = smol_pkg::HAS_VMUL ? vd & {128{accumulate1}} : vd;
    for (genvar n = 0; n < 8; n++) begin : lane
      wire [8:0] lower = addend[16*n +: 8] + products[16*n +: 8];
      wire [7:0] upper = addend[16*n+8 +: 8] + products[16*n+8 +: 8] + {7'd0, lower[8] & is4_1};
      assign result[16*n +: 16] = {upper, lower[7:0]};
    end
  end else begin : plain
    assign result = products;
    wire unused = ^{vd, accumulate1, is4_1};
  end
endmodule
