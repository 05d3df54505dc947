"""Makes hll.txt: sketches of the Python package `datasketches`, for the test of our images of them.

Run in an environment with that package (5.2.0 made the file): python datasketches.py > hll.txt

A line is: kind of values, how many, lg k, mode, the package's estimate, the image of an HLL_8 sketch of them, in hex. The image is
marked out of order, as after most unions; its coupons are sorted; of registers, which are long, there is a MurmurHash3.
"""

import struct

import datasketches as ds

MASK = (1 << 64) - 1
MODES = ["list", "set", "hll"]


def values(kind, n):
    if kind == "ints":
        return range(n)
    if kind == "doubles":
        special = [float("nan"), -float("nan"), 0.0, -0.0, float("inf")]
        return special + [i / 8.0 - 100.0 for i in range(n)]
    return [f"naïve visitor {i}{'·' * (i % 20)}" for i in range(n)]


def image(kind, n, lg_k):
    sketch = ds.hll_sketch(lg_k, ds.tgt_hll_type.HLL_8)
    for value in values(kind, n):
        sketch.update(value)
    # In two parts, so that the union has something to merge.
    union = ds.hll_union(lg_k)
    union.update(sketch)
    again = ds.hll_sketch(lg_k, ds.tgt_hll_type.HLL_8)
    for value in list(values(kind, n))[: n // 2]:
        again.update(value)
    union.update(again)
    result = union.get_result(ds.tgt_hll_type.HLL_8)
    return result.get_estimate(), result.serialize_compact()


def rotate(x, r):
    return ((x << r) | (x >> (64 - r))) & MASK


def murmur(data, seed=9001):
    """MurmurHash3 x64 128 of whole blocks of 16 bytes."""
    c1, c2 = 0x87C37B91114253D5, 0x4CF5AD432745937F
    h1 = h2 = seed
    for k1, k2 in struct.iter_unpack("<QQ", data):
        h1 ^= (rotate((k1 * c1) & MASK, 31) * c2) & MASK
        h1 = ((rotate(h1, 27) + h2) * 5 + 0x52DCE729) & MASK
        h2 ^= (rotate((k2 * c2) & MASK, 33) * c1) & MASK
        h2 = ((rotate(h2, 31) + h1) * 5 + 0x38495AB5) & MASK

    def avalanche(k):
        k = ((k ^ (k >> 33)) * 0xFF51AFD7ED558CCD) & MASK
        k = ((k ^ (k >> 33)) * 0xC4CEB9FE1A85EC53) & MASK
        return k ^ (k >> 33)

    h1, h2 = h1 ^ len(data), h2 ^ len(data)
    h1 = (h1 + h2) & MASK
    h2 = (h2 + h1) & MASK
    h1, h2 = avalanche(h1), avalanche(h2)
    h1 = (h1 + h2) & MASK
    return struct.pack("<QQ", h1, (h2 + h1) & MASK)


def comparable(data):
    mode = MODES[data[7] & 3]
    if mode == "hll":
        # Its estimator for values in order, and whether it holds, tell of the way that the values came.
        return mode, data[:5] + bytes([data[5] | 16]) + data[6:8] + bytes(8) + data[16:40] + murmur(data[40:])
    at = 8 if mode == "list" else 12
    coupons = sorted(c for (c,) in struct.iter_unpack("<I", data[at:]))
    return mode, data[:at] + b"".join(struct.pack("<I", c) for c in coupons)


for kind in ["ints", "doubles", "texts"]:
    for n in [1, 6, 7, 8, 20, 100, 380, 2000, 50_000]:
        for lg_k in [4, 8, 12, 14]:
            estimate, data = image(kind, n, lg_k)
            mode, data = comparable(data)
            print(kind, n, lg_k, mode, repr(estimate), data.hex())
