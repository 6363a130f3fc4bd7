def counter():
    n = 0
    def inc(by=1):
        nonlocal n
        n += by
        return n
    return inc
c = counter(); fs = [lambda x, i=i: x + i for i in range(3)]
print(c(), c(5), c(), [f(10) for f in fs])
