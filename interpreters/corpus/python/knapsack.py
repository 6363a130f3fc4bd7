items = [(60, 10), (100, 20), (120, 30), (75, 15)]
best = [0] * 51
for v, w in items:
    for c in range(50, w - 1, -1):
        best[c] = max(best[c], best[c - w] + v)
print(best[50], best[::10])
