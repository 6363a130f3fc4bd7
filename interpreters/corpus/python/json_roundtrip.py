import json
d = {"b": [1, 2.5, None, True], "a": {"nested": "é\n\"q\""}, "c": []}
t = json.dumps(d, sort_keys=True, indent=2)
print(t)
print(json.loads(t) == d, json.dumps(d, separators=(",", ":"), ensure_ascii=False))
