def step(cells):
    from collections import Counter
    n = Counter((x + i, y + j) for x, y in cells for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j)
    return {p for p, k in n.items() if k == 3 or k == 2 and p in cells}
g = {(1, 0), (2, 1), (0, 2), (1, 2), (2, 2)}
for _ in range(8):
    g = step(g)
print(sorted(g))
