"""The part of the module `ssl` that HTTP clients use. The host speaks TLS and checks certificates, always,
so contexts hold settings that change nothing."""

import enum
import sys
import types


class SSLError(OSError):
    library = reason = None


class SSLCertVerificationError(SSLError, ValueError):
    verify_code, verify_message = 0, ""


class SSLZeroReturnError(SSLError):
    pass


class SSLWantReadError(SSLError):
    pass


class SSLWantWriteError(SSLError):
    pass


class SSLSyscallError(SSLError):
    pass


class SSLEOFError(SSLError):
    pass


class VerifyMode(enum.IntEnum):
    CERT_NONE, CERT_OPTIONAL, CERT_REQUIRED = range(3)


class TLSVersion(enum.IntEnum):
    MINIMUM_SUPPORTED, SSLv3, TLSv1, TLSv1_1, TLSv1_2, TLSv1_3, MAXIMUM_SUPPORTED = -2, 768, 769, 770, 771, 772, -1


class Purpose(enum.Enum):
    SERVER_AUTH, CLIENT_AUTH = "1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"


class SSLContext:
    sslsocket_class = None
    keylog_filename = None

    def __init__(self, protocol=None):
        self.protocol = protocol
        self.check_hostname, self.verify_mode = True, VerifyMode.CERT_REQUIRED
        self.minimum_version, self.maximum_version = TLSVersion.TLSv1_2, TLSVersion.MAXIMUM_SUPPORTED
        self.options = self.verify_flags = 0
        self.post_handshake_auth = self.hostname_checks_common_name = False

    def wrap_socket(self, sock, *args, server_hostname=None, **kwargs):
        sock.secure = True
        sock.getpeercert = lambda binary_form=False: b"" if binary_form else {}
        sock.version = lambda: "TLSv1.3"
        sock.cipher = sock.selected_alpn_protocol = lambda: None
        return sock

    def _kept(self, *args, **kwargs):
        return None

    load_verify_locations = load_default_certs = set_default_verify_paths = set_ciphers = _kept
    set_alpn_protocols = load_cert_chain = set_ecdh_curve = _kept

    def get_ca_certs(self, binary_form=False):
        return []

    def cert_store_stats(self):
        return {"x509": 0, "crl": 0, "x509_ca": 0}


def create_default_context(purpose=Purpose.SERVER_AUTH, *, cafile=None, capath=None, cadata=None):
    return SSLContext()


def module():
    """What `import ssl` gives."""
    made = types.ModuleType("ssl", __doc__)
    own = {name: value for name, value in globals().items() if isinstance(value, type) and value.__module__ == __name__}
    made.__dict__.update(own, create_default_context=create_default_context, CertificateError=SSLCertVerificationError)
    made.__dict__.update({mode.name: mode for mode in VerifyMode})
    made.__dict__.update(
        SSLSocket=type("SSLSocket", (), {}), SSLObject=type("SSLObject", (), {}), MemoryBIO=type("MemoryBIO", (), {}),
        _create_default_https_context=create_default_context, _create_unverified_context=create_default_context,
        PROTOCOL_TLS=2, PROTOCOL_SSLv23=2, PROTOCOL_TLS_CLIENT=16, PROTOCOL_TLS_SERVER=17,
        OP_ALL=0, OP_NO_SSLv2=0, OP_NO_SSLv3=0, OP_NO_TLSv1=0, OP_NO_TLSv1_1=0, OP_NO_COMPRESSION=0, OP_NO_TICKET=0,
        VERIFY_DEFAULT=0, VERIFY_X509_STRICT=0, VERIFY_X509_PARTIAL_CHAIN=0, VERIFY_X509_TRUSTED_FIRST=0,
        HAS_SNI=True, HAS_ALPN=True, HAS_NEVER_CHECK_COMMON_NAME=True, HAS_TLSv1_3=True,
        OPENSSL_VERSION="OpenSSL 3.0.0, in name only: the host speaks TLS", OPENSSL_VERSION_NUMBER=0x30000000, OPENSSL_VERSION_INFO=(3, 0, 0, 0, 0),
    )
    return made


def install():
    sys.modules["ssl"] = module()
