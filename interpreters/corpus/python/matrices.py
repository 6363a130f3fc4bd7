def mul(a, b): return [[sum(x * y for x, y in zip(r, c)) for c in zip(*b)] for r in a]
def det(m): return m[0][0] if len(m) == 1 else sum((-1) ** j * m[0][j] * det([r[:j] + r[j+1:] for r in m[1:]]) for j in range(len(m)))
print(mul([[1, 2], [3, 4]], [[0, 1], [1, 0]]), det([[2, 0, 1], [1, 3, 2], [1, 1, 4]]))
