import math, cmath
print(math.gcd(84, 36), math.lcm(4, 6), math.comb(10, 3), math.isqrt(99), pow(3, 200, 13), 2 ** 100, divmod(-7, 3), round(2.5), math.hypot(3, 4), math.prod([1, 2, 3, 4]))
print(0.1 + 0.2, math.fsum([.1] * 10), 7 // -2, -7 % 3, complex(1, 2) * 3j, abs(3 + 4j), float("inf"), int("ff", 16), bin(10), math.floor(-1.5))
