class N:
    def __init__(s, v): s.v, s.l, s.r = v, None, None
    def add(s, v):
        k = "l" if v < s.v else "r"; c = getattr(s, k)
        c.add(v) if c else setattr(s, k, N(v))
    def __iter__(s):
        if s.l: yield from s.l
        yield s.v
        if s.r: yield from s.r
    def depth(s): return 1 + max((c.depth() for c in (s.l, s.r) if c), default=0)
t = N(50)
for v in (30, 70, 20, 40, 60, 80, 10): t.add(v)
print(list(t), t.depth())
