"""Fields of quant-bench's rows; numbers are positive, and those that follow from others do."""
import json
import sys

result = json.load(open(sys.argv[1]))
lines = [json.loads(line) for line in open(sys.argv[2])]
assert len(lines) == 2 and lines[0] == result, "the history holds a line for each run"
rows = result["rows"]
assert [(r["suite"], r["format"], r["threads"]) for r in rows] == [
    (s, f, t) for s in ("gemv-cold", "gemm") for f in ("f32", "s4g128") for t in (1, 2)], rows
for row in rows:
    assert row["shape"] == [3, 40, 72] and row["activation"] == "f32" and row["target"], row
    # Three tiles of 16 rows: floats, or 4-bit codes in blocks of 8 columns with an f16 scale for each row.
    assert row["bytes"] == (48 * 72 * 4 if row["format"] == "f32" else 48 * 72 // 2 + 48 * 2), row
    assert row["layers"] == (-(-(1 << 20) // row["bytes"]) if row["suite"] == "gemv-cold" else 1), row
    assert row["where"] in ("l2", "l3"), row
    for field in ("ns", "ns_best", "GB/s", "GOP/s", "read_GB/s", "peak_GOP/s", "fraction_of_read_bandwidth", "fraction_of_peak",
                  "fraction_of_read_bandwidth_best", "fraction_of_peak_best"):
        assert row[field] > 0, (field, row)
    assert row["ns_best"] <= row["ns"], row
    assert abs(row["GB/s"] * row["ns"] / row["bytes"] - 1) < 1e-6, row
    assert abs(row["fraction_of_peak"] * row["peak_GOP/s"] / row["GOP/s"] - 1) < 1e-6, row
