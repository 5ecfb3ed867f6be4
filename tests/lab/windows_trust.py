"""Put a certificate into the ROOT store of Windows. For the Python of the bundle, which knows nothing of the tests."""

import ctypes
import ssl
import sys
from pathlib import Path

_X509_ASN_ENCODING = 1
_REPLACE = 3  # CERT_STORE_ADD_REPLACE_EXISTING, <wincrypt.h>

der = ssl.PEM_cert_to_DER_cert(Path(sys.argv[1]).read_text(encoding="ascii"))
crypt = ctypes.WinDLL("crypt32")  # type: ignore[attr-defined] # of Windows
crypt.CertOpenSystemStoreW.restype = ctypes.c_void_p
store = ctypes.c_void_p(crypt.CertOpenSystemStoreW(None, "ROOT"))
added = crypt.CertAddEncodedCertificateToStore(store, _X509_ASN_ENCODING, der, len(der), _REPLACE, None)
crypt.CertCloseStore(store, 0)
sys.exit(0 if added else "the certificate was not taken")
