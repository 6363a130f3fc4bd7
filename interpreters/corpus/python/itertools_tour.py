import itertools as it
print(list(it.accumulate([1, 2, 3, 4], lambda a, b: a * b)), list(it.pairwise("abcd")), list(it.islice(it.cycle("ab"), 5)))
print(list(it.combinations("abc", 2)), list(it.permutations([1, 2, 3], 2)), list(it.product("ab", [0, 1])))
print(list(it.zip_longest("ab", "xyz", fillvalue="-")), list(it.takewhile(lambda x: x < 3, it.count())), list(it.chain.from_iterable(["ab", "c"])))
