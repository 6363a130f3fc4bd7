def luhn(s): return sum(sum(divmod(int(d) * (1 + i % 2), 10)) for i, d in enumerate(reversed(s))) % 10 == 0
print([luhn(x) for x in ("4539578763621486", "79927398713", "79927398710")])
