import difflib
a, b = "one\ntwo\nthree".split(), "one\ntoo\nthree\nfour".split()
print(*difflib.unified_diff(a, b, lineterm=""), sep="\n")
print(difflib.get_close_matches("appel", ["ape", "apple", "peach"]), round(difflib.SequenceMatcher(None, "abcd", "bcde").ratio(), 3))
