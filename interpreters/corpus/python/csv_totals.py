import csv, io
src = "name,qty,price\nbolt,10,0.25\n\"nut, hex\",4,0.10\ngear,1,12.5\n"
rows = list(csv.DictReader(io.StringIO(src)))
total = sum(int(r["qty"]) * float(r["price"]) for r in rows)
out = io.StringIO()
w = csv.writer(out, lineterminator="\n")
w.writerows([r["name"], int(r["qty"]) * 2] for r in rows)
print(f"{total:.2f}", out.getvalue())
