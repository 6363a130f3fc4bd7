import zlib, gzip
d = b"abc" * 1000
z = zlib.compress(d)
print(len(z) < 50, zlib.decompress(z) == d, gzip.decompress(gzip.compress(d)) == d, zlib.adler32(d), zlib.crc32(d))
