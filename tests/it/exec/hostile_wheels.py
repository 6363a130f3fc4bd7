"""Writes malicious wheels, and a good one, into the folder given as the first argument."""

import io, os, struct, sys, zipfile
folder = sys.argv[1]
def wheel(name):
    return zipfile.ZipFile(f"{folder}/{name}-1.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED)
with wheel("good") as z:
    z.writestr("good/__init__.py", "x = 1")
with wheel("bomb") as z:
    with z.open("bomb.py", "w", force_zip64=True) as f:
        piece = b"#" * (1 << 20)
        for _ in range(1024):
            f.write(piece)
with wheel("climber") as z:
    z.writestr("../climber.py", "x = 1")
    z.writestr("../../../../etc/cron.d/x", "x = 1")
    z.writestr("climber/../../climber.py", "x = 1")
with wheel("absolute") as z:
    z.writestr("/absolute.py", "x = 1")
    z.writestr("/work/absolute.py", "x = 1")
with wheel("linked") as z:
    info = zipfile.ZipInfo("linked.py")
    info.external_attr = 0o120777 << 16
    z.writestr(info, "/etc/passwd")
with wheel("crowd") as z:
    for n in range(60000):
        z.writestr(f"crowd/m{n}.py", "")
with wheel("native") as z:
    z.writestr("native.cpython-314-wasm32-wasi.so", b"\x7fELF" + b"\0" * 100)
    z.writestr("native.so", b"\x7fELF" + b"\0" * 100)
whole = io.BytesIO()
with zipfile.ZipFile(whole, "w") as z:
    z.writestr("cut.py", "x = 1")
whole = whole.getvalue()
open(f"{folder}/cut-1.0-py3-none-any.whl", "wb").write(whole[:-10])
open(f"{folder}/noise-1.0-py3-none-any.whl", "wb").write(os.urandom(10000))
open(f"{folder}/empty-1.0-py3-none-any.whl", "wb").write(b"")
os.symlink("/etc/passwd", f"{folder}/away-1.0-py3-none-any.whl")
os.mkfifo(f"{folder}/pipe-1.0-py3-none-any.whl")
os.mkdir(f"{folder}/folder-1.0-py3-none-any.whl")
