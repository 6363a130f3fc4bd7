def root(f, x, h=1e-7):
    for _ in range(60):
        d = (f(x + h) - f(x - h)) / (2 * h)
        x -= f(x) / d
    return round(x, 6)
print(root(lambda x: x * x - 2, 1), root(lambda x: x ** 3 - x - 2, 1.5))
