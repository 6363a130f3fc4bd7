import zipfile, io
b = io.BytesIO()
with zipfile.ZipFile(b, "w", zipfile.ZIP_DEFLATED) as z:
    z.writestr("a.txt", "alpha" * 50); z.writestr("d/b.txt", "beta")
with zipfile.ZipFile(b) as z:
    print([(i.filename, i.file_size) for i in z.infolist()], z.read("d/b.txt"), z.testzip())
