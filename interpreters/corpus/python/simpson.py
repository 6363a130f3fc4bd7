import math
def simpson(f, a, b, n=200):
    h = (b - a) / n
    return h / 3 * (f(a) + f(b) + sum((4 if i % 2 else 2) * f(a + i * h) for i in range(1, n)))
print(round(simpson(math.sin, 0, math.pi), 8), round(simpson(lambda x: x * x, 0, 3), 8))
