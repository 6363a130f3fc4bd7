import random
r = random.Random(42)
print([r.randint(1, 6) for _ in range(8)], round(r.random(), 10), r.sample(range(20), 4), r.choices("abc", weights=[5, 1, 1], k=5))
