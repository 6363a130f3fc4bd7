from decimal import Decimal, ROUND_HALF_EVEN, getcontext, localcontext
print(Decimal("0.1") + Decimal("0.2"), Decimal("2.675").quantize(Decimal("0.01"), ROUND_HALF_EVEN))
with localcontext() as c:
    c.prec = 50
    print(Decimal(2).sqrt(), Decimal(1) / 7)
print(getcontext().prec, Decimal("1E+5").normalize(), Decimal("NaN").is_nan())
