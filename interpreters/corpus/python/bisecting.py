import bisect
grades = lambda s: "FDCBA"[bisect.bisect([60, 70, 80, 90], s)]
a = []
for x in [5, 1, 4, 2, 3]:
    bisect.insort(a, x)
print([grades(s) for s in (33, 99, 77, 70, 89, 90)], a, bisect.bisect_left(a, 3))
