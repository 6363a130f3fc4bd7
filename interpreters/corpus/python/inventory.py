items = [("apple", 3, .5), ("pear", 0, .75), ("fig", 12, 1.2)]
print(f"{'item':<8}{'qty':>5}{'value':>9}"); print("-" * 22)
for n, q, p in sorted(items, key=lambda i: -i[1] * i[2]):
    print(f"{n:<8}{q:>5}{q * p:>9.2f}")
