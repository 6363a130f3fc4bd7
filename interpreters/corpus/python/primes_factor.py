def factor(n):
    out, p = [], 2
    while p * p <= n:
        while n % p == 0: out.append(p); n //= p
        p += 1
    return out + [n] * (n > 1)
print({n: factor(n) for n in (12, 97, 360, 1001, 65536, 999983, 600851475143)})
