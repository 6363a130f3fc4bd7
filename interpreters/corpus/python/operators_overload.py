class Vec:
    def __init__(s, *c): s.c = c
    def __add__(s, o): return Vec(*map(sum, zip(s.c, o.c)))
    def __mul__(s, k): return Vec(*(x * k for x in s.c))
    __rmul__ = __mul__
    def __matmul__(s, o): return sum(a * b for a, b in zip(s.c, o.c))
    def __eq__(s, o): return s.c == o.c
    def __getitem__(s, i): return s.c[i]
    def __repr__(s): return f"<{', '.join(map(str, s.c))}>"
print(Vec(1, 2) + 3 * Vec(1, 0), Vec(1, 2) @ Vec(3, 4), Vec(1) == Vec(1), *Vec(7, 8))
