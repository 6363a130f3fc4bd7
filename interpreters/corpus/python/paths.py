from pathlib import PurePosixPath as P
import os.path
p = P("/a/b/../c.tar.gz")
print(p.suffixes, p.stem, p.parent, p.with_suffix(".zip"), P("a") / "b", os.path.normpath(p), os.path.splitext("x.y.z"), P("/a/b").relative_to("/a"), p.match("*.gz"))
