import string
def shift(t, k):
    a = string.ascii_lowercase
    return t.translate(str.maketrans(a + a.upper(), a[k:] + a[:k] + a.upper()[k:] + a.upper()[:k]))
s = "The Quick Brown Fox"
print(shift(s, 3), shift(shift(s, 3), 23) == s)
