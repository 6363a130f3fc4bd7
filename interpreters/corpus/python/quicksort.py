def qs(a):
    if len(a) < 2:
        return a
    p, *r = a
    return qs([x for x in r if x < p]) + [p] + qs([x for x in r if x >= p])
data = [(i * 7919) % 101 for i in range(60)]
print(qs(data), qs(data) == sorted(data))
