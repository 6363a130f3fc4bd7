def chunks(it, n):
    buf = []
    for x in it:
        buf.append(x)
        if len(buf) == n:
            yield buf; buf = []
    if buf: yield buf
def avg():
    t = n = 0; r = None
    while True:
        x = yield r
        t += x; n += 1; r = t / n
g = avg(); next(g)
print(list(chunks(range(7), 3)), [g.send(x) for x in (10, 20, 60)])
