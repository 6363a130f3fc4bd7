from collections import OrderedDict, defaultdict, ChainMap
o = OrderedDict(a=1, b=2, c=3); o.move_to_end("a")
t = lambda: defaultdict(t)
tree = t(); tree["x"]["y"]["z"] = 1
print(list(o), o.popitem(last=False), list(tree["x"]), dict(ChainMap({"a": 1}, {"a": 2, "b": 3})))
