users = {1: "ann", 2: "bob"}
orders = [(1, "x", 5), (2, "y", 7), (1, "z", 2), (3, "q", 1)]
joined = [(users.get(u, "?"), i, n) for u, i, n in orders]
print(joined, {u: sum(n for v, _, n in joined if v == u) for u in sorted({j[0] for j in joined})})
