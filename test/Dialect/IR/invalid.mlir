// RUN: quant-opt %s -split-input-file -verify-diagnostics

// expected-error@+1 {{expected 1 to 8 bits but got 9}}
func.func private @bits(tensor<4x4xf32, #quanta.uniform<bits = 9>>)

// -----

// expected-error@+1 {{expected a group of columns, 0 (row) or -1 (tensor) but got -2}}
func.func private @group(tensor<4x4xf32, #quanta.uniform<bits = 4, group = -2>>)

// -----

// expected-error@+1 {{expected a scale type of f16 or f32 but got 'i8'}}
func.func private @scale(tensor<4x4xf32, #quanta.uniform<bits = 4, scale = i8>>)

// -----

// expected-error@+1 {{expected levels of 0, or of 3 with bits = 2 and a zero that is symmetric or offset, but got 3 with bits = 4}}
func.func private @levels(tensor<4x4xf32, #quanta.uniform<bits = 4, levels = 3>>)

// -----

// expected-error@+1 {{expected multiples of groups of columns, with a zero that is symmetric or a point, but got group = 0 and zero = symmetric}}
func.func private @multiples(tensor<4x4xf32, #quanta.uniform<bits = 4, multiples = 4>>)

// -----

// expected-error@+1 {{expected multiples of groups of columns, with a zero that is symmetric or a point, but got group = 2 and zero = offset}}
func.func private @multiples(tensor<4x4xf32, #quanta.uniform<bits = 4, group = 2, zero = offset, multiples = 4>>)

// -----

// 8 · 31 does not fit.
// expected-error@+1 {{expected multiples of at most 4 bits, which leave a signed byte for multiple · (q - zero), but got 5}}
func.func private @multiples(tensor<4x4xf32, #quanta.uniform<bits = 4, group = 2, multiples = 5>>)

// -----

// expected-error@+1 {{expected multiples of at most 3 bits, which leave a signed byte for multiple · (q - zero), but got 4}}
func.func private @multiples(tensor<4x4xf32, #quanta.uniform<bits = 4, group = 2, zero = point, multiples = 4>>)

// -----

// expected-error@+1 {{expected multiples of at most 0 bits}}
func.func private @multiples(tensor<4x4xf32, #quanta.uniform<bits = 8, group = 2, multiples = 1>>)

// -----

// expected-error@+1 {{expected 1 to 8 planes but got 0}}
func.func private @planes(tensor<4x4xf32, #quanta.planes<count = 0>>)

// -----

// expected-error@+1 {{expected uniform or planes encodings on both sides of a split by mask but got #quanta.sum}}
func.func private @mask_of_sum(tensor<4x4xf32, #quanta.split<mask, count = 1, high = #quanta.uniform<bits = 8>,
  low = #quanta.sum<#quanta.uniform<bits = 8>, #quanta.uniform<bits = 8>>>>)

// -----

// expected-error@+1 {{expected tile and kept only in a split by mask}}
func.func private @columns_tile(tensor<4x4xf32, #quanta.split<columns, count = 1, tile = 2, kept = 1,
  high = #quanta.uniform<bits = 8>, low = #quanta.uniform<bits = 1>>>)

// -----

// expected-error@+1 {{expected 0 <= kept <= tile but got kept = 3 and tile = 2}}
func.func private @kept(tensor<4x4xf32, #quanta.split<mask, count = 1, tile = 2, kept = 3,
  high = #quanta.uniform<bits = 8>, low = #quanta.uniform<bits = 1>>>)

// -----

// expected-error@+2 {{expected a count of at most the 4 columns but got 5}}
func.func private @columns_count(tensor<4x4xf32, #quanta.split<columns, count = 5,
  high = #quanta.uniform<bits = 8>, low = #quanta.uniform<bits = 1>>>)

// -----

// expected-error@+2 {{expected a count of 8 for 1 of each 2 columns but got 9}}
func.func private @tile_count(tensor<4x4xf32, #quanta.split<mask, count = 9, tile = 2, kept = 1,
  high = #quanta.uniform<bits = 8>, low = #quanta.uniform<bits = 1>>>)

// -----

// expected-error@+2 {{expected a static shape for a split encoding}}
func.func private @split_dynamic(tensor<?x4xf32, #quanta.split<columns, count = 1,
  high = #quanta.uniform<bits = 8>, low = #quanta.uniform<bits = 1>>>)

// -----

// expected-error@+1 {{expected encodings that keep the order of columns in a sum but got #quanta.split}}
func.func private @sum_of_columns(tensor<4x4xf32, #quanta.sum<#quanta.uniform<bits = 8>,
  #quanta.split<columns, count = 1, high = #quanta.uniform<bits = 8>, low = #quanta.uniform<bits = 1>>>>)

// -----

// expected-error@+1 {{expected a floating-point element type for a uniform encoding but got 'i32'}}
func.func private @element(tensor<4x4xi32, #quanta.uniform<bits = 4>>)

// -----

// expected-error@+1 {{expected a tensor of rank 1 or more for a uniform encoding}}
func.func private @rank(tensor<f32, #quanta.uniform<bits = 4>>)

// -----

// expected-error@+1 {{expected tiles of 16 rows but got 8}}
func.func private @tile(tensor<4x4xf32, #quanta.packed<base = #quanta.uniform<bits = 4>, rows = 8>>)

// -----

// expected-error@+1 {{expected a logical encoding to pack but got}}
func.func private @packed_twice(tensor<4x4xf32, #quanta.packed<base = #quanta.packed<>>>)

// -----

func.func @linear_contraction(%x: tensor<2x3xf32>, %w: tensor<4x5xf32>) {
  // expected-error@+1 {{expected dimension 1 of 'weight' to be 3 but got 5}}
  %0 = quanta.linear %x, %w : (tensor<2x3xf32>, tensor<4x5xf32>) -> tensor<2x4xf32>
  return
}

// -----

func.func @linear_weight_rank(%x: tensor<2x3xf32>, %w: tensor<4x3x1xf32>) {
  // expected-error@+1 {{expected operand 'weight' of rank 2 but got}}
  %0 = quanta.linear %x, %w : (tensor<2x3xf32>, tensor<4x3x1xf32>) -> tensor<2x4xf32>
  return
}

// -----

func.func @linear_result(%x: tensor<2x3xf32>, %w: tensor<4x3xf32>) {
  // expected-error@+1 {{expected a result of shape [2, 4] but got 'tensor<2x5xf32>'}}
  %0 = quanta.linear %x, %w : (tensor<2x3xf32>, tensor<4x3xf32>) -> tensor<2x5xf32>
  return
}

// -----

func.func @linear_types(%x: tensor<2x3xf32>, %w: tensor<4x3xf16>) {
  // expected-error@+1 {{expected operands of element type 'f32' but got 'tensor<4x3xf16>'}}
  %0 = quanta.linear %x, %w : (tensor<2x3xf32>, tensor<4x3xf16>) -> tensor<2x4xf32>
  return
}

// -----

func.func @matmul_rank(%x: tensor<2x3xf32>, %w: tensor<1x3x4xf32>) {
  // expected-error@+1 {{expected operands of one rank of 2 or more}}
  %0 = quanta.matmul %x, %w : (tensor<2x3xf32>, tensor<1x3x4xf32>) -> tensor<2x4xf32>
  return
}

// -----

func.func @matmul_batch(%x: tensor<2x2x3xf32>, %w: tensor<3x3x4xf32>) {
  // expected-error@+1 {{expected batch dimension 0 to be equal or 1}}
  %0 = quanta.matmul %x, %w : (tensor<2x2x3xf32>, tensor<3x3x4xf32>) -> tensor<2x2x4xf32>
  return
}

// -----

func.func @conv_attributes(%x: tensor<1x3x8x8xf32>, %w: tensor<4x3x3x3xf32>) {
  // expected-error@+1 {{expected 2 strides, 2 dilations and 4 pads but got 1, 2 and 4}}
  %0 = quanta.conv2d %x, %w {strides = array<i64: 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>} : (tensor<1x3x8x8xf32>, tensor<4x3x3x3xf32>) -> tensor<1x4x6x6xf32>
  return
}

// -----

func.func @conv_stride(%x: tensor<1x3x8x8xf32>, %w: tensor<4x3x3x3xf32>) {
  // expected-error@+1 {{expected positive strides and dilations but got 0}}
  %0 = quanta.conv2d %x, %w {strides = array<i64: 1, 0>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>} : (tensor<1x3x8x8xf32>, tensor<4x3x3x3xf32>) -> tensor<1x4x6x6xf32>
  return
}

// -----

func.func @conv_groups(%x: tensor<1x3x8x8xf32>, %w: tensor<4x1x3x3xf32>) {
  // expected-error@+1 {{expected groups to divide the 4 output channels but got 3}}
  %0 = quanta.conv2d %x, %w {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 3 : i64} : (tensor<1x3x8x8xf32>, tensor<4x1x3x3xf32>) -> tensor<1x4x6x6xf32>
  return
}

// -----

func.func @conv_kernel(%x: tensor<1x3x2x2xf32>, %w: tensor<4x3x3x3xf32>) {
  // expected-error@+1 {{expected a kernel no larger than the padded input in dimension 2}}
  %0 = quanta.conv2d %x, %w {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>} : (tensor<1x3x2x2xf32>, tensor<4x3x3x3xf32>) -> tensor<1x4x?x?xf32>
  return
}

// -----

func.func @norm_scale(%x: tensor<2x3xf32>, %s: tensor<4xf32>) {
  // expected-error@+1 {{expected dimension 0 of 'scale' to be 3 but got 4}}
  %0 = quanta.rms_norm %x, %s {epsilon = 1.0e-5 : f32} : (tensor<2x3xf32>, tensor<4xf32>) -> tensor<2x3xf32>
  return
}

// -----

func.func @rotary_channels(%x: tensor<1x2x3x5xf32>) {
  // expected-error@+1 {{expected a static even number of channels}}
  %0 = quanta.rotary %x, %x, %x : (tensor<1x2x3x5xf32>, tensor<1x2x3x5xf32>, tensor<1x2x3x5xf32>) -> tensor<1x2x3x5xf32>
  return
}

// -----

func.func @rotary_table(%x: tensor<1x2x3x4xf32>, %c: tensor<1x1x2x4xf32>) {
  // expected-error@+1 {{expected 'cos' to match dimension 2}}
  %0 = quanta.rotary %x, %c, %c : (tensor<1x2x3x4xf32>, tensor<1x1x2x4xf32>, tensor<1x1x2x4xf32>) -> tensor<1x2x3x4xf32>
  return
}

// -----

func.func @attention_heads(%q: tensor<1x6x3x4xf32>, %k: tensor<1x4x3x4xf32>) {
  // expected-error@+1 {{expected key heads to divide the 6 query heads but got 4}}
  %0 = quanta.attention %q, %k, %k {scale = 1.0 : f32} : (tensor<1x6x3x4xf32>, tensor<1x4x3x4xf32>, tensor<1x4x3x4xf32>) -> tensor<1x6x3x4xf32>
  return
}

// -----

func.func @attention_mask(%q: tensor<1x6x3x4xf32>, %m: tensor<1x2x3x3xf32>) {
  // expected-error@+1 {{expected 'mask' dimension 1 to be 1 or 6}}
  %0 = quanta.attention %q, %q, %q mask %m {scale = 1.0 : f32} : (tensor<1x6x3x4xf32>, tensor<1x6x3x4xf32>, tensor<1x6x3x4xf32>, tensor<1x2x3x3xf32>) -> tensor<1x6x3x4xf32>
  return
}

// -----

func.func @embedding_indices(%t: tensor<4x4xf32>, %i: tensor<2xf32>) {
  // expected-error@+1 {{expected integer indices but got 'tensor<2xf32>'}}
  %0 = quanta.embedding %t, %i : (tensor<4x4xf32>, tensor<2xf32>) -> tensor<2x4xf32>
  return
}

// -----

func.func @activation_type(%x: tensor<4xi32>) {
  // expected-error@+1 {{expected a floating-point tensor but got 'tensor<4xi32>'}}
  %0 = quanta.activation relu %x : tensor<4xi32>
  return
}

// -----

func.func @activation_kind(%x: tensor<4xf32>) {
  // expected-error@+1 {{unknown activation 'rely'}}
  %0 = quanta.activation rely %x : tensor<4xf32>
  return
}

// -----

func.func @constant_plain() {
  // expected-error@+1 {{expected a result with an encoding but got 'tensor<4xf32>'}}
  %0 = quanta.constant {codes = dense<0> : tensor<4xi8>} : tensor<4xf32>
  return
}

// -----

func.func @constant_dynamic() {
  // expected-error@+1 {{expected a static shape}}
  %0 = quanta.constant {} : tensor<?x4xf32, #quanta.uniform<bits = 4>>
  return
}

// -----

func.func @constant_count() {
  // expected-error@+1 {{expected 2 components but got 1}}
  %0 = quanta.constant {codes = dense<0> : tensor<4x4xi8>} : tensor<4x4xf32, #quanta.uniform<bits = 4>>
  return
}

// -----

func.func @constant_name() {
  // expected-error@+1 {{expected a component 'scales' of type 'tensor<4x1xf16>'}}
  %0 = quanta.constant {codes = dense<0> : tensor<4x4xi8>, scale = dense<0.0> : tensor<4x1xf16>} : tensor<4x4xf32, #quanta.uniform<bits = 4>>
  return
}

// -----

func.func @constant_type() {
  // expected-error@+1 {{expected component 'scales' of type 'tensor<4x1xf16>' but got 'tensor<4xf16>'}}
  %0 = quanta.constant {codes = dense<0> : tensor<4x4xi8>, scales = dense<0.0> : tensor<4xf16>} : tensor<4x4xf32, #quanta.uniform<bits = 4>>
  return
}

// -----

func.func @constant_part() {
  // expected-error@+1 {{expected component 'high.codes' of type 'tensor<4x1xi8>' but got 'tensor<4x4xi8>'}}
  %0 = quanta.constant {mask = dense<0> : tensor<4xi8>, high.codes = dense<0> : tensor<4x4xi8>, high.scales = dense<0.0> : tensor<4x1xf16>,
                        low.codes = dense<0> : tensor<4x3xi8>, low.scales = dense<0.0> : tensor<4x1xf16>}
    : tensor<4x4xf32, #quanta.split<columns, count = 1, high = #quanta.uniform<bits = 8>, low = #quanta.uniform<bits = 1>>>
  return
}

// -----

func.func @constant_bytes() {
  // expected-error@+1 {{expected 16 bytes in component 'codes' but got 3}}
  %0 = quanta.constant {codes = dense_resource<short> : tensor<4x4xi8>, scales = dense<0.0> : tensor<4x1xf16>} : tensor<4x4xf32, #quanta.uniform<bits = 4>>
  return
}
{-#
  dialect_resources: { builtin: { short: "0x08000000010203" } }
#-}

// -----

// expected-error@+1 {{expected a static [B, H, N, D] tensor of f32 but got 'tensor<1x2x?x8xf32>'}}
quanta.cache @k : tensor<1x2x?x8xf32>

// -----

quanta.cache @k : tensor<1x2x20x8xf32>
func.func @append(%x: tensor<1x2x?x4xf32>) {
  // expected-error@+1 {{expected positions of 'tensor<1x2x20x8xf32>' but got 'tensor<1x2x?x4xf32>'}}
  quanta.cache_append @k, %x : tensor<1x2x?x4xf32>
  return
}

// -----

func.func @read(%n: index) -> tensor<1x2x?x4xf32> {
  // expected-error@+1 {{expected a quanta.cache named @k}}
  %0 = quanta.cache_read @k, %n : tensor<1x2x?x4xf32>
  return %0 : tensor<1x2x?x4xf32>
}

// -----

// expected-error@+1 {{expected 1 to 8 bits but got 0}}
func.func private @cache_bits(tensor<1x2x64x8xf32, #quanta.cache<token, bits = 0>>)

// -----

// expected-error@+1 {{expected a sketch of 1 bit without groups but got 2 bits and a group of 0}}
func.func private @cache_sketch(tensor<1x2x64x8xf32, #quanta.cache<sketch, bits = 2>>)

// -----

// expected-error@+1 {{expected a group of a multiple of 32 positions but got 48}}
func.func private @cache_group(tensor<1x2x64x8xf32, #quanta.cache<channel, bits = 2, group = 48>>)

// -----

// expected-error@+1 {{expected a group of a multiple of 32 channels, or 0 for all, but got 16}}
func.func private @cache_channels(tensor<1x2x64x64xf32, #quanta.cache<token, bits = 2, group = 16>>)

// -----

// expected-error@+1 {{expected a window of 0 to 2^30 positions but got -1}}
func.func private @cache_window(tensor<1x2x64x8xf32, #quanta.cache<token, bits = 2, window = -1>>)

// -----

// expected-error@+1 {{expected f32 keys or values [B, H, N, D] with fixed H and D for a cache encoding}}
func.func private @cache_shape(tensor<64x8xf32, #quanta.cache<token, bits = 2>>)

// -----

// expected-error@+1 {{expected a scale and a zero point for each segment, one more than splits, but got 1, 1 and 1}}
func.func private @affine_scales(tensor<64x8xf32, #quanta.affine<bits = 8, splits = [4], scales = [1.0], zeros = [0]>>)

// -----

// expected-error@+1 {{expected splits to increase from 1 on but got 4}}
func.func private @affine_splits(tensor<64x8xf32, #quanta.affine<bits = 8, splits = [4, 4], scales = [1.0, 1.0, 1.0], zeros = [0, 0, 0]>>)

// -----

// expected-error@+1 {{expected positive scales with finite inverses but got 0}}
func.func private @affine_scale(tensor<64x8xf32, #quanta.affine<bits = 8, scales = [0.0], zeros = [0]>>)

// -----

// expected-error@+1 {{expected zero points of magnitude 1048576 at most but got 2097152}}
func.func private @affine_zero(tensor<64x8xf32, #quanta.affine<bits = 8, scales = [1.0], zeros = [2097152]>>)

// -----

// expected-error@+1 {{expected more than 8 columns, a fixed number, for splits}}
func.func private @affine_columns(tensor<64x8xf32, #quanta.affine<bits = 8, splits = [8], scales = [1.0, 1.0], zeros = [0, 0]>>)

// -----

func.func @quantize_rank(%x: tensor<8xf32>) {
  // expected-error@+1 {{expected an operand of rank 2 or more, tokens and channels, but got 'tensor<8xf32>'}}
  %q = quanta.quantize %x : tensor<8xf32> to tensor<8xf32, #quanta.uniform<bits = 8>>
  return
}

// -----

func.func @quantize_nothing(%x: tensor<?x8xf32>) {
  // expected-error@+1 {{expected a result with an encoding but got 'tensor<?x8xf32>'}}
  %q = quanta.quantize %x : tensor<?x8xf32> to tensor<?x8xf32>
  return
}

// -----

// expected-error@+1 {{expected bf16 but got 'f16'}}
func.func private @narrow_type(tensor<8xf32, #quanta.narrow<f16>>)

// -----

// expected-error@+1 {{expected f32 activations of rank 1 or more for a narrow encoding}}
func.func private @narrow_element(tensor<8xf16, #quanta.narrow<bf16>>)

// -----

// expected-error@+1 {{expected 2 to 8 bits but got 9}}
func.func private @twin_bits(tensor<8xf32, #quanta.twin<bits = 9, scale = 1.0 : f32, shift = 1>>)

// -----

// expected-error@+1 {{expected a shift of 0 to 15 but got 16}}
func.func private @twin_shift(tensor<8xf32, #quanta.twin<bits = 8, scale = 1.0 : f32, shift = 16>>)

// -----

// expected-error@+1 {{expected a finite scale of f32 above 0 but got -1.000000e+00 : f32}}
func.func private @twin_scale(tensor<8xf32, #quanta.twin<bits = 8, scale = -1.0 : f32, shift = 1>>)

// -----

// expected-error@+1 {{expected 2 to 7 bits but got 8}}
func.func private @log_bits(tensor<8xf32, #quanta.log2<bits = 8, scale = 1.0 : f32>>)

// -----

// expected-error@+1 {{expected activations of f32 but got 'f16'}}
func.func private @log_type(tensor<8xf16, #quanta.log2<bits = 4, scale = 1.0 : f32>>)
