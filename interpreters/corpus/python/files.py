import os, pathlib, tempfile
p = pathlib.Path(tempfile.mkdtemp(dir="."))
(p / "sub").mkdir(); (p / "sub" / "x.txt").write_text("one\ntwo\n"); (p / "y.md").write_bytes(b"z")
print(sorted(str(f.relative_to(p)) for f in p.rglob("*")), (p / "sub/x.txt").read_text().split(), (p / "y.md").stat().st_size)
with open(p / "sub/x.txt", "a") as f:
    f.write("three\n")
with open(p / "sub/x.txt", "r+") as f:
    print(sum(1 for _ in f)); f.seek(0); print(f.read(3))
for f in sorted(p.rglob("*"), reverse=True): f.rmdir() if f.is_dir() else f.unlink()
p.rmdir(); print(p.exists())
