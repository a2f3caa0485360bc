"""Certificates for `[api.tcp]`: an authority, the node's and a case system's. For tests; with openssl the same is three
commands (README.md in the folder above)."""
import datetime, ipaddress, os

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LENGTH = datetime.timedelta(days=30)


class Authority:
    def __init__(self, folder):
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = name("authority of the case systems")
        signs = x509.BasicConstraints(ca=True, path_length=0)
        self.file, _ = self.make("ca", self.name, self.key, signs, critical=True)

    def certificate(self, who, host="127.0.0.1"):
        """A certificate and its key, as files."""
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host)), x509.DNSName("localhost")])
        return self.make(who, name(who), ec.generate_private_key(ec.SECP256R1()), names, critical=False)

    def make(self, file, subject, key, extension, critical):
        now = datetime.datetime.now(datetime.timezone.utc)
        made = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - LENGTH).not_valid_after(now + LENGTH)
            .add_extension(extension, critical).sign(self.key, hashes.SHA256()))
        form = serialization.Encoding.PEM
        private = key.private_bytes(form, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return self.write(f"{file}.pem", made.public_bytes(form)), self.write(f"{file}.key", private)

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        # The node takes no key that others may read.
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(text)
        return path


def name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
