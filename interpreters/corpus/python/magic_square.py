def magic(n):
    return [[n * ((i + j + 1 + n // 2) % n) + (i + 2 * j + 2) % n + 1 for j in range(n)] for i in range(n)]
m = magic(5)
print(*m, sep="\n"); print({sum(r) for r in m} | {sum(c) for c in zip(*m)})
