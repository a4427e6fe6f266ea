package auth

import (
	"crypto"
	_ "crypto/sha512" // SHA-384 and SHA-512 of certificates
	"crypto/tls"
	"crypto/x509"
)

// Names of channel bindings.
const (
	exporterBinding = "tls-exporter"         // RFC 9266
	endPointBinding = "tls-server-end-point" // RFC 5929 4
)

// bindings are what a client of the connection can bind an exchange to. tls-exporter
// is TLS 1.3's: with 1.2 libraries differ about the context, which is empty or absent.
func bindings(state *tls.ConnectionState, own []byte) map[string][]byte {
	m := map[string][]byte{}
	if state.Version >= tls.VersionTLS13 {
		if b, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32); err == nil {
			m[exporterBinding] = b
		}
	}
	if b := endPoint(own); b != nil {
		m[endPointBinding] = b
	}
	return m
}

// endPoint hashes a certificate by the hash of its signature, or by SHA-256 where that
// is MD5 or SHA-1 (RFC 5929 4.1). nil for a signature of none, such as Ed25519's.
func endPoint(der []byte) []byte {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil
	}
	var h crypto.Hash
	switch cert.SignatureAlgorithm {
	case x509.MD5WithRSA, x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.DSAWithSHA1,
		x509.SHA256WithRSA, x509.SHA256WithRSAPSS, x509.ECDSAWithSHA256, x509.DSAWithSHA256:
		h = crypto.SHA256
	case x509.SHA384WithRSA, x509.SHA384WithRSAPSS, x509.ECDSAWithSHA384:
		h = crypto.SHA384
	case x509.SHA512WithRSA, x509.SHA512WithRSAPSS, x509.ECDSAWithSHA512:
		h = crypto.SHA512
	default:
		return nil
	}
	sum := h.New()
	_, _ = sum.Write(der) // a hash never fails
	return sum.Sum(nil)
}
