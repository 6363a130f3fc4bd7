m = [[r * 3 + c for c in range(3)] for r in range(3)]
print([list(r) for r in zip(*m)], {k: v for k, v in zip("abc", range(3))}, {x % 3 for x in range(9)}, [y for r in m if sum(r) > 3 for y in r if y % 2])
print((n := 10), [n := n + 1 for _ in range(3)], n)
