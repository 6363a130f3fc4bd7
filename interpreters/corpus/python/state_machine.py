T = {("idle", "coin"): "ready", ("ready", "push"): "idle", ("ready", "coin"): "ready"}
s = "idle"
for e in "push coin coin push push".split():
    s, old = T.get((s, e), s), s
    print(f"{old} --{e}--> {s}")
