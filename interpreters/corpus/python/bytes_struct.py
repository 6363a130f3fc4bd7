import struct
p = struct.pack("<IhB4s", 0xDEADBEEF, -2, 7, b"ab")
print(p.hex(), struct.unpack("<IhB4s", p), struct.calcsize("!dI"), int.from_bytes(b"\x01\x00", "big"), (1000).to_bytes(2, "little"), bytearray(b"abc").upper())
