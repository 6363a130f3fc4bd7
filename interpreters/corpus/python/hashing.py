import hashlib, hmac
print(hashlib.sha256(b"abc").hexdigest(), hashlib.md5(b"").hexdigest(), hashlib.sha1(b"x").hexdigest(), hashlib.blake2b(b"q", digest_size=8).hexdigest())
print(hmac.new(b"k", b"m", "sha256").hexdigest(), hashlib.sha3_256(b"").hexdigest()[:16])
