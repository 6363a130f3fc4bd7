from collections import defaultdict
T = lambda: defaultdict(T)
root = T()
for w in "car card care cat dog".split():
    n = root
    for c in w: n = n[c]
    n["$"] = w
def under(n): return ([n["$"]] if "$" in n else []) + [w for c in sorted(n) if c != "$" for w in under(n[c])]
n = root
for c in "car": n = n[c]
print(under(n), under(root))
