from graphlib import TopologicalSorter, CycleError
g = {"app": {"lib", "log"}, "lib": {"core"}, "log": {"core"}, "core": set()}
o = list(TopologicalSorter(g).static_order())
print(o[0], o[-1], sorted(o))
try: list(TopologicalSorter({"a": {"b"}, "b": {"a"}}).static_order())
except CycleError as e: print("cycle", len(e.args[1]))
