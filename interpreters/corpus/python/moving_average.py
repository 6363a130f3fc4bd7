from collections import deque
def ma(xs, n):
    w = deque(maxlen=n)
    for x in xs:
        w.append(x)
        if len(w) == n: yield round(sum(w) / n, 3)
print(list(ma([1, 5, 2, 8, 3, 9, 4], 3)))
