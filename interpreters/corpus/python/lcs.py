def lcs(a, b):
    t = {}
    for i in range(len(a) + 1):
        for j in range(len(b) + 1):
            t[i, j] = "" if not i or not j else t[i-1, j-1] + a[i-1] if a[i-1] == b[j-1] else max(t[i-1, j], t[i, j-1], key=len)
    return t[len(a), len(b)]
print(lcs("AGGTABQRX", "GXTXAYBRX"))
