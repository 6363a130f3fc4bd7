from fractions import Fraction as F
print(F(3, 6) + F("0.125"), F(3.5), F(22, 7).limit_denominator(5), sum(F(1, n) for n in range(1, 11)))
