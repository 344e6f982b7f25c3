package ingest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
)

// AllowAddr decides whether an address that a user gives may be connected to. It sees the address that a name was resolved
// to, right before the connection is made. Its error says why not. Behind a proxy, it sees the address of the proxy.
type AllowAddr func(netip.Addr) error

// RefuseLinkLocal is an AllowAddr that refuses addresses that are only reachable from this machine's link, such as the metadata
// services of clouds, which give away credentials, and addresses that stand for no single machine. An IPv6 address that leads to
// an IPv4 address is judged like that one.
func RefuseLinkLocal(addr netip.Addr) error {
	addr = addr.Unmap().WithZone("")

	switch {
	case addr.IsLinkLocalUnicast(), addr.IsLinkLocalMulticast(), addr.IsInterfaceLocalMulticast():
		return fmt.Errorf("address %s is link-local", addr)
	case addr.IsMulticast(), addr.IsUnspecified(), addr.Is4() && (addr.As4()[0] == 0 || addr.As4() == [4]byte{255, 255, 255, 255}):
		return fmt.Errorf("address %s is no single machine", addr)
	case slices.Contains(metadataAddrs(), addr):
		return fmt.Errorf("address %s is a metadata service", addr)
	}

	if inner, ok := embedded(addr); ok {
		if err := RefuseLinkLocal(inner); err != nil {
			return fmt.Errorf("address %s leads to another: %w", addr, err)
		}
	}

	return nil
}

// metadataAddrs are the services that give away credentials and are not link-local: the metadata of AWS, EKS Pod Identity,
// Google Cloud, Oracle Cloud and Scaleway on IPv6, of Alibaba Cloud and of Oracle Cloud as it was, and the wire server of Azure.
func metadataAddrs() []netip.Addr {
	return []netip.Addr{
		netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("fd00:ec2::23"), netip.MustParseAddr("fd20:ce::254"),
		netip.MustParseAddr("fd00:c1::a9fe:a9fe"), netip.MustParseAddr("fd00:42::42"), netip.MustParseAddr("100.100.100.200"),
		netip.MustParseAddr("192.0.0.192"), netip.MustParseAddr("168.63.129.16"),
	}
}

// embedded returns the IPv4 address that an IPv6 address leads to through a translator or a tunnel: NAT64 (RFC 6052, RFC 8215),
// IPv4-translated and IPv4-compatible addresses (RFC 2765, RFC 4291), 6to4 (RFC 3056) and Teredo (RFC 4380).
func embedded(addr netip.Addr) (netip.Addr, bool) {
	if !addr.Is6() {
		return netip.Addr{}, false
	}

	b := addr.As16()
	last := netip.AddrFrom4([4]byte(b[12:16]))

	for _, prefix := range []string{"64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96", "::/96"} {
		if netip.MustParsePrefix(prefix).Contains(addr) {
			return last, !addr.IsLoopback()
		}
	}

	switch {
	case netip.MustParsePrefix("2002::/16").Contains(addr):
		return netip.AddrFrom4([4]byte(b[2:6])), true
	case netip.MustParsePrefix("2001::/32").Contains(addr):
		return netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]}), true
	}

	return netip.Addr{}, false
}

// NewDialer returns a dialer for addresses that users give. A nil allow means any address.
func NewDialer(allow AllowAddr) *net.Dialer {
	d := &net.Dialer{Timeout: dialTimeout, KeepAlive: dialTimeout}
	if allow == nil {
		return d
	}

	d.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("parse address %q: %w", address, err)
		}

		return allow(ap.Addr())
	}

	return d
}

// guardProxy lets a proxy only be asked for hosts that may be connected to, as far as that can be told: names are resolved by the
// proxy, but for those that are known to be metadata services.
func guardProxy(proxy func(*http.Request) (*url.URL, error), allow AllowAddr) func(*http.Request) (*url.URL, error) {
	if proxy == nil || allow == nil {
		return proxy
	}

	return func(req *http.Request) (*url.URL, error) {
		by, err := proxy(req)
		if by == nil || err != nil {
			return by, err
		}

		return by, allowHost(req.URL.Hostname(), allow)
	}
}

// allowHost decides on a host by its name.
func allowHost(host string, allow AllowAddr) error {
	host = strings.ToLower(strings.TrimRight(host, "."))

	if addr, err := netip.ParseAddr(host); err == nil {
		return allow(addr)
	}

	// Many resolvers take numbers of other forms for addresses: 0xa9fea9fe, 2852039166, 169.254.43518.
	if isNumber(host[strings.LastIndexByte(host, '.')+1:]) {
		return fmt.Errorf("host %q is no valid address", host)
	}

	if slices.Contains(metadataNames(), host) {
		return errors.New("host is a metadata service")
	}

	return nil
}

// metadataNames are the names of services that give away credentials.
func metadataNames() []string {
	return []string{
		"metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal",
		"metadata.azure.internal", "metadata.tencentyun.com",
	}
}

// isNumber tells whether a label is a number, decimal, octal or hexadecimal.
func isNumber(label string) bool {
	digits, hex := strings.CutPrefix(label, "0x")

	return label != "" && strings.Trim(digits, "0123456789") == "" || hex && strings.Trim(digits, "0123456789abcdef") == ""
}
