import re
log = "2024-01-02 ERROR db: timeout=30s\n2024-01-03 INFO web: ok\n2024-02-01 ERROR web: status=500"
for m in re.finditer(r"(?P<d>\d{4}-\d\d)-\d\d (?P<l>\w+) (?P<s>\w+): (?P<m>.*)", log):
    print(m.groupdict())
print(re.sub(r"(\w+)=(\d+)", lambda m: f"{m[1].upper()}<{int(m[2]) * 2}>", log).splitlines()[0])
