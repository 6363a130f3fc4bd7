import base64, binascii
print(base64.b64encode(b"hello?>"), base64.urlsafe_b64encode(b"\xff\xfe"), base64.b32encode(b"hi"), base64.b85encode(b"data"), binascii.crc32(b"123456789"), base64.b64decode("aGk="))
