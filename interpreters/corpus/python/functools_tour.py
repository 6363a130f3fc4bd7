from functools import reduce, partial, singledispatch, cached_property, total_ordering, cmp_to_key
@singledispatch
def show(x): return "any"
@show.register
def _(x: int): return "int"
@show.register(list)
def _(x): return "list"
print(show(1), show([]), show("s"), reduce(lambda a, b: a * 10 + b, [1, 2, 3]), partial(int, base=2)("1010"))
print(sorted(["10", "9", "1"], key=cmp_to_key(lambda a, b: int(a) - int(b))))
