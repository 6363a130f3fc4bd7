import argparse
p = argparse.ArgumentParser(prog="t")
p.add_argument("n", type=int); p.add_argument("-v", action="count", default=0); p.add_argument("--m", choices=["a", "b"], default="a")
print(p.parse_args(["3", "-vv", "--m", "b"]), p.parse_known_args(["1", "--zz"])[1])
