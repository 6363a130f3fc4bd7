"""The parts of `hashlib` that CPython takes from OpenSSL, which is absent here."""

import hashlib
import hmac

_NO_SCRYPT = (
    "hashlib.scrypt is not available here, because it needs OpenSSL; hashlib.pbkdf2_hmac and "
    "hashlib.blake2b are"
)


def pbkdf2_hmac(hash_name, password, salt, iterations, dklen=None):
    """Password based key derivation function 2 (PKCS #5 v2.0) with HMAC as pseudorandom function."""
    if not isinstance(hash_name, str):
        raise TypeError(f"argument 'hash_name' must be str, not {type(hash_name).__name__}")
    password, salt = bytes(memoryview(password)), bytes(memoryview(salt))
    if iterations < 1:
        raise ValueError("iteration value must be greater than 0.")
    size = hashlib.new(hash_name).digest_size
    if dklen is None:
        dklen = size
    if dklen < 1:
        raise ValueError("key length must be greater than 0.")
    keyed = hmac.new(password, None, hash_name)

    def digest(message):
        turn = keyed.copy()
        turn.update(message)
        return turn.digest()

    key = b""
    number = 0
    while len(key) < dklen:
        number += 1
        block = digest(salt + number.to_bytes(4, "big"))
        mixed = int.from_bytes(block)
        for _ in range(iterations - 1):
            block = digest(block)
            mixed ^= int.from_bytes(block)
        key += mixed.to_bytes(size)
    return key[:dklen]


def _missing(name):
    if name == "scrypt":
        raise AttributeError(_NO_SCRYPT)
    raise AttributeError(f"module 'hashlib' has no attribute {name!r}")


def install():
    hashlib.pbkdf2_hmac = pbkdf2_hmac
    hashlib.__getattr__ = _missing
