import unicodedata
s = "café"
d = unicodedata.normalize("NFD", s)
print(len(s), len(d), unicodedata.name("é"), "".join(c for c in d if not unicodedata.combining(c)), unicodedata.category("A"), "😀".encode("utf-16-le").hex(), ascii("ñ"))
