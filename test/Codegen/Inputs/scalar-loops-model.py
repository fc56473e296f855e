"""A model of linear layers with weights of odd sizes in several formats, on floats, on bytes and on signs."""
import sys

formats = ["bits = 8", "bits = 4, group = 24", "bits = 3, group = 100, zero = point", "bits = 1, group = 32, zero = offset", "bits = 2, levels = 3"]
body, types = ["%q = quanta.quantize %x : tensor<?x100xf32> to tensor<?x100xf32, #act>"], []
for i, text in enumerate(formats):
    group = int(text.split("group = ")[1].split(",")[0]) if "group" in text else 100
    groups = -(-100 // group)
    extra = (f", zeros = dense<1> : tensor<37x{groups}xi8>" if "point" in text
             else f", offsets = dense<0.5> : tensor<37x{groups}xf16>" if "offset" in text else "")
    weight = f"tensor<37x100xf32, #quanta.uniform<{text}>>"
    body.append(f"%w{i} = quanta.constant {{codes = dense<1> : tensor<37x100xi8>, scales = dense<0.5> : tensor<37x{groups}xf16>{extra}}} : {weight}")
    body.append(f"%f{i} = quanta.linear %x, %w{i} : (tensor<?x100xf32>, {weight}) -> tensor<?x37xf32>")
    body.append(f"%b{i} = quanta.linear %q, %w{i} : (tensor<?x100xf32, #act>, {weight}) -> tensor<?x37xf32>")
    types += ["tensor<?x37xf32>"] * 2
results = [f"%{kind}{i}" for i in range(len(formats)) for kind in "fb"]
sign = "#quanta.uniform<bits = 1>"
body.append(f"""%c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  %plus = arith.constant 1.0 : f32
  %minus = arith.constant -1.0 : f32
  %rows = tensor.dim %x, %c0 : tensor<?x100xf32>
  %e = tensor.empty(%rows) : tensor<?x100xf32>
  %s = linalg.generic {{indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, d1)>],
      iterator_types = ["parallel", "parallel"]}} ins(%x : tensor<?x100xf32>) outs(%e : tensor<?x100xf32>) {{
  ^bb0(%v: f32, %o: f32):
    %p = arith.cmpf oge, %v, %zero : f32
    %r = arith.select %p, %plus, %minus : f32
    linalg.yield %r : f32
  }} -> tensor<?x100xf32>
  %ws = quanta.constant {{codes = dense<1> : tensor<37x100xi8>, scales = dense<0.5> : tensor<37x1xf16>}} : tensor<37x100xf32, {sign}>
  %signs = quanta.linear %s, %ws : (tensor<?x100xf32>, tensor<37x100xf32, {sign}>) -> tensor<?x37xf32>""")
results.append("%signs")
types.append("tensor<?x37xf32>")
names = ", ".join(f'"{name[1:]}"' for name in results)
with open(sys.argv[1], "w") as file:
    file.write("#act = #quanta.uniform<bits = 8, scale = f32>\n"
               f"func.func @main(%x: tensor<?x100xf32>) -> ({', '.join(types)}) attributes {{quanta.inputs = [\"x\"], quanta.outputs = [{names}],\n"
               "    quanta.dims = [[\"rows\", 100]]} {\n  " + "\n  ".join(body) + f"\n  return {', '.join(results)} : {', '.join(types)}\n}}\n")
