s = "  Hello, Wörld  "
print(s.strip().swapcase(), s.split(), "a-b-c".rpartition("-"), "x".join("123"), "abc".zfill(5), "Straße".casefold(), "tést".encode(), "abcabc".replace("b", "B", 1))
print("title case it".title(), "a\tb".expandtabs(4), "prefix_x".removeprefix("prefix_"), "mississippi".count("ss"), "b" in "abc", "é".isalpha(), "line1\nline2".splitlines())
