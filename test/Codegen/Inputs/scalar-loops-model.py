"""A model of linear layers with weights of odd sizes in several formats, on floats and on bytes."""
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
names = ", ".join(f'"{name[1:]}"' for name in results)
with open(sys.argv[1], "w") as file:
    file.write("#act = #quanta.uniform<bits = 8, scale = f32>\n"
               f"func.func @main(%x: tensor<?x100xf32>) -> ({', '.join(types)}) attributes {{quanta.inputs = [\"x\"], quanta.outputs = [{names}],\n"
               "    quanta.dims = [[\"rows\", 100]]} {\n  " + "\n  ".join(body) + f"\n  return {', '.join(results)} : {', '.join(types)}\n}}\n")
