from itertools import groupby
enc = lambda s: "".join(f"{len(list(g))}{c}" for c, g in groupby(s))
import re
dec = lambda s: "".join(int(n) * c for n, c in re.findall(r"(\d+)(\D)", s))
s = "WWWWBBBWWC"
print(enc(s), dec(enc(s)) == s)
