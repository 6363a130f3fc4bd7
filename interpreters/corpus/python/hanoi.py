def hanoi(n, a, b, c):
    return [] if n == 0 else hanoi(n - 1, a, c, b) + [(a, c)] + hanoi(n - 1, b, a, c)
m = hanoi(5, "A", "B", "C")
print(len(m), *("".join(x) for x in m))
