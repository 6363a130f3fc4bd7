import re
print(re.split(r"[,;]\s*", "a, b;c,  d"), re.fullmatch(r"[\w.]+@[\w.]+\.\w+", "x.y@z.org") is not None)
print(re.findall(r"(?<=\$)\d+(?:\.\d\d)?", "cost $5 or $12.50"), re.escape("a.b*c"))
print(re.sub(r"(?m)^\s+|\s+$", "", "  a \n  b  "), re.match(r"(a)?b", "b").groups())
